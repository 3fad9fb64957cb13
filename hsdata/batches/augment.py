"""Paired augmentation: the same geometry for an input and its target, phase kept for mosaics.

Every choice is a function of (seed, epoch, sample id, draw), so that it depends neither on the
worker nor on the process that makes it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hsdata.params import Augment

Values = TypeVar("Values")
"""A NumPy array or a torch tensor; rows and columns are the last two axes."""

# hsdata.batches.physics has further streams.
_GEOMETRY, _NOISE, _JITTER = range(3)


@dataclass(frozen=True)
class Geometry:
    """A window of the input, turned: first cut, then flipped, then transposed.

    Attributes:
        top: first row of the window, in input pixels.
        left: first column of the window, in input pixels.
        height: rows of the window, in input pixels.
        width: columns of the window, in input pixels.
        flip_rows: the order of rows is reversed.
        flip_columns: the order of columns is reversed.
        transpose: rows and columns change places after the flips.
        reflect_rows: reversed rows keep the RGGB phase by `mosaic_flip`.
        reflect_columns: reversed columns keep the RGGB phase by `mosaic_flip`.
    """

    top: int
    left: int
    height: int
    width: int
    flip_rows: bool = False
    flip_columns: bool = False
    transpose: bool = False
    reflect_rows: bool = False
    reflect_columns: bool = False

    def window(self, scale: int = 1) -> tuple[int, int, int, int]:
        """(top, left, height, width) in pixels of an image `scale` times as fine as the input."""
        return self.top * scale, self.left * scale, self.height * scale, self.width * scale

    def turn(self, window: NDArray[Any]) -> NDArray[Any]:
        """The turned content (..., h, w) of a window; (..., w, h) after a transposition."""
        window = _reverse(window, -2, self.flip_rows, self.reflect_rows)
        window = _reverse(window, -1, self.flip_columns, self.reflect_columns)
        return np.swapaxes(window, -1, -2) if self.transpose else window

    def columns(self, scale: int = 1) -> NDArray[np.int64]:
        """The original column of each output column, in pixels `scale` times as fine; (width,).

        After a transposition they belong to the output's rows.
        """
        _, left, _, width = self.window(scale)
        return _reverse(np.arange(left, left + width, dtype=np.int64), -1, self.flip_columns, self.reflect_columns)


@dataclass(frozen=True)
class Draw:
    """What augmentation does to one sample at one moment of training."""

    key: tuple[int, ...]
    geometry: Geometry
    noise: float = 0.0
    jitter: float = 0.0

    def input(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """The input's window (C, h, w), values in [0, 1], turned and with noise."""
        return self.noisy(self.geometry.turn(window))

    def noisy(self, turned: NDArray[np.float32]) -> NDArray[np.float32]:
        """An input (C, h, w) that is turned already, with noise."""
        if self.noise > 0.0:
            noise = generator(self.key, _NOISE).standard_normal(turned.shape, dtype=np.float32)
            noise *= np.float32(self.noise)
            noise += turned
            return np.clip(noise, 0.0, 1.0, out=noise)
        return turned

    def target(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """The target's window (bands, h, w) turned, each band times its own 1 + jitter * N(0, 1)."""
        turned: NDArray[np.float32] = self.geometry.turn(window)
        if self.jitter > 0.0:
            gains = 1.0 + self.jitter * generator(self.key, _JITTER).standard_normal(len(turned))
            return turned * gains.astype(np.float32)[:, None, None]
        return turned


def crop_at(augment: Augment, epoch: int) -> int | None:
    """The crop in input pixels at an epoch: the last step of `crop_steps` that has begun, else `crop`."""
    begun = [first for first in augment.crop_steps if first <= epoch]
    return augment.crop_steps[max(begun)] if begun else augment.crop


def draw(
    augment: Augment, sample_id: str, frame: tuple[int, int], *, seed: int, epoch: int, draw: int = 0, mosaic: bool
) -> Draw:
    """Choose an augmentation.

    Args:
        augment: what is allowed.
        sample_id: the sample; together with `seed`, `epoch` and `draw` it decides everything.
        frame: (height, width) of the input in pixels; both even for a mosaic.
        seed: the run's seed.
        epoch: number of the epoch.
        draw: how many times this epoch has had the sample before.
        mosaic: the input is an RGGB plane, whose phase must stay.
    """
    key = (seed, epoch, draw, *_words(sample_id))
    # All five are drawn, whatever is switched on: one option does not change another's choices.
    down, right, mirror_rows, mirror_columns, turn = generator(key, _GEOMETRY).random(5)
    height, width = frame
    crop = crop_at(augment, epoch)
    step = 2 if mosaic else 1
    rows, columns = (height, width) if crop is None else (crop, crop)
    top = step * int(down * ((height - rows) // step + 1))
    left = step * int(right * ((width - columns) // step + 1))
    flip_rows = bool(augment.flip and mirror_rows < 0.5)
    flip_columns = bool(augment.flip and mirror_columns < 0.5)
    # Quarter turns of an oblong frame would give a batch two shapes: only half turns are left.
    quarters = (int(turn * 4) if rows == columns else 2 * int(turn * 2)) if augment.rot90 else 0
    flip_rows ^= quarters in (2, 3)
    flip_columns ^= quarters in (1, 2)
    reflect_rows = reflect_columns = False
    if mosaic:
        top, reflect_rows = _in_phase(top, rows, height, flip_rows)
        left, reflect_columns = _in_phase(left, columns, width, flip_columns)
    geometry = Geometry(
        top, left, rows, columns, flip_rows, flip_columns, quarters in (1, 3), reflect_rows, reflect_columns
    )
    return Draw(key, geometry, augment.noise, augment.jitter)


def whole(frame: tuple[int, int]) -> Draw:
    """The draw that leaves an input of (height, width) pixels and its target as they are."""
    return Draw((), Geometry(0, 0, *frame))


def mosaic_dihedral(plane: Values, k: int) -> Values:
    """One of the eight flips and turns of an RGGB plane (..., H, W), H and W even, that is RGGB again.

    Bit 1 of `k` flips columns, bit 2 flips rows, bit 4 transposes afterwards.
    A flipped axis grows by a reflected line at both ends, which restores the phase and loses no
    pixel; `undo_mosaic_dihedral` takes them off what a model made of the plane.
    """
    array: Any = plane
    for bit, axis in ((1, -1), (2, -2)):
        if k & bit:
            size = array.shape[axis]
            array = _take(array, axis, [size - 2, *range(size - 1, -1, -1), 1])
    return array.swapaxes(-1, -2) if k & 4 else array  # type: ignore[no-any-return]


def undo_mosaic_dihedral(values: Values, k: int) -> Values:
    """What belongs to the original plane's pixels, in their order, of a result for `mosaic_dihedral`."""
    array: Any = values
    array = array.swapaxes(-1, -2) if k & 4 else array
    for bit, axis in ((1, -1), (2, -2)):
        if k & bit:
            array = _take(array, axis, list(range(array.shape[axis] - 2, 0, -1)))
    return array  # type: ignore[no-any-return]


def mosaic_flip(values: Values, axis: int) -> Values:
    """Reverse an axis of even length (-1 or -2) of an RGGB plane, or of its target, at unchanged size.

    The reversed lines are shifted by one, so that colours keep their parity; the line that this
    leaves free at the end is the reflected one.
    """
    array: Any = values
    size = array.shape[axis]
    return _take(array, axis, [*range(size - 2, -1, -1), 1])  # type: ignore[no-any-return]


def _in_phase(start: int, length: int, size: int, flip: bool) -> tuple[int, bool]:
    """Where an even window must start so that its reversal is in phase; else whether to reflect."""
    if not flip:
        return start, False
    if start + 1 + length <= size:
        return start + 1, False
    if start > 0:
        return start - 1, False
    return start, True


def _reverse(values: NDArray[Any], axis: int, flip: bool, reflect: bool) -> NDArray[Any]:
    if not flip:
        return values
    return mosaic_flip(values, axis) if reflect else np.flip(values, axis)


def _take(array: Any, axis: int, lines: list[int]) -> Any:
    return array[..., lines] if axis == -1 else array[..., lines, :]


def _words(text: str) -> tuple[int, ...]:
    """Four 32-bit words that stand for `text` on every machine."""
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return tuple(int.from_bytes(digest[at : at + 4], "little") for at in range(0, 16, 4))


def generator(key: tuple[int, ...], stream: int) -> np.random.Generator:
    """The random numbers of a draw's key for one purpose; `stream` tells purposes apart."""
    return np.random.default_rng([*key, stream])
