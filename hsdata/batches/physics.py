"""Changes of training cubes whose inputs are rendered anew, so that cube and input stay a camera's pair.

Another light, mixtures with another scene, and other materials under the same colours. What is drawn is a
function of (seed, epoch, sample id, draw) and of whole cubes, never of the crop: changes commute with crops,
flips and turns. Values of cubes within [0, 1] stay there without being clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hsdata.batches.augment import Geometry, generator
from hsdata.camera import colour
from hsdata.camera.camera import STANDARD_OBSERVER, sampled
from hsdata.cube import Cube
from hsdata.formats import image
from hsdata.layout import INPUT_MODALITY
from hsdata.params import Augment
from hsengine.base.errors import UserError

Window = tuple[int, int, int, int]
"""(top, left, height, width) in pixels of a cube."""

# Beside those of hsdata.batches.augment.
_LIGHT, _MIX, _MATERIALS = range(3, 6)

# Rounding to 8 bits takes half a step; lossy storage of the cubes (convert.dtype) takes a part of the rest.
_TOLERANCE = 0.75 / 255.0

# Below the greatest value that is allowed, for the sake of rounding in single precision.
_MARGIN = 1e-6

# In nm; the camera takes light from the wavelengths up to there.
_BEYOND = colour.VISIBLE[1] + 1e-3

# Over so many nm beyond the visible, other materials come to differ in full.
_RISE = 100.0


class Cubes(Protocol):
    """Where the cubes are: in files and arrays, or in tensors on a device."""

    def cut(self, place: int, window: Window) -> Any:
        """A window (bands, h, w) of the cube of a sample."""

    def size(self, place: int) -> tuple[int, int]:
        """(height, width) of a cube in pixels."""

    def greatest(self, place: int) -> NDArray[np.float64]:
        """The greatest value of each band of a whole cube, (bands,)."""

    def like(self, values: NDArray[np.float32]) -> Any:
        """An array as this place has them."""

    def array(self, values: Any) -> NDArray[np.float32]:
        """The opposite of `like`."""


@dataclass(frozen=True)
class Partner:
    """What a sample is mixed with.

    Attributes:
        place: of the other sample among the training's.
        share: of it in the mixture, 0 to 1.
        shift: which part of its height, mirrored at its edges, lies at the sample's first row, 0 to 1.
    """

    place: int
    share: float
    shift: float


@dataclass(frozen=True)
class Physics:
    """What may be changed about cubes, and the camera that makes inputs of them.

    Attributes:
        augment: bounds of the changes: `light`, `mix` and `materials`.
        wavelengths: (bands,) nm, ascending.
        modality: of the input: `mosaic`, `rgb_2` or `rgb_full`.
        levels: whether inputs are rounded to 8 bits.
        pools: places of the samples that may be mixed with each other; each place is in one at most.
    """

    augment: Augment
    wavelengths: NDArray[np.float64]
    modality: str
    levels: bool
    pools: Sequence[Sequence[int]]

    @property
    def renders(self) -> bool:
        """Whether inputs change with the cubes; under other materials they stay."""
        return self.augment.light > 0.0 or self.augment.mix > 0.0

    @property
    def visible(self) -> int:
        """How many bands, from the first on, a camera may see."""
        return int(np.searchsorted(self.wavelengths, _BEYOND))

    def changed(self, key: tuple[int, ...], place: int, window: Window, cubes: Cubes) -> Any:
        """The window of a sample's cube, changed as its draw says; a new array, of the kind that `cubes` gives.

        Args:
            key: of the draw.
            place: of the sample.
            window: in pixels of the cube.
            cubes: the training's.
        """
        values, greatest = cubes.cut(place, window), cubes.greatest(place)
        partner = self.partner(key, place)
        if partner is not None:
            values = values + partner.share * (self._beside(partner, window, cubes) - values)
            greatest = greatest + partner.share * (cubes.greatest(partner.place) - greatest)
        limit = max(1.0, float(greatest.max()))
        if self.augment.light > 0.0:
            gains = 1.0 + self.light(key, greatest, limit)
            values = values * cubes.like(gains.astype(np.float32)[:, None, None])
            greatest = greatest * gains
        if self.augment.materials > 0.0:
            values = self._remade(values, self.materials(key, greatest, limit), cubes)
        return values

    def partner(self, key: tuple[int, ...], place: int) -> Partner | None:
        """What a sample is mixed with; None where nothing is mixed, or its pool has no other sample."""
        pool = next((pool for pool in self.pools if place in pool), ())
        others = [other for other in pool if other != place]
        if not self.augment.mix > 0.0 or not others:
            return None
        which, share, shift = generator(key, _MIX).random(3)
        # In single precision, as the arrays are.
        return Partner(others[int(which * len(others))], float(np.float32(share * self.augment.mix)), float(shift))

    def light(self, key: tuple[int, ...], greatest: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
        """Relative change of each band, (bands,): gain, tilt and curvature over the wavelengths.

        Args:
            key: of the draw.
            greatest: (bands,) value of each band in the whole cube.
            limit: which no value may exceed.
        """
        level, tilt, bend = 2.0 * generator(key, _LIGHT).random(3) - 1.0
        place = _spread(self.wavelengths)
        curve = level + tilt * place + bend * (2.0 * place * place - 1.0)
        return _bounded(curve, np.ones_like(place), greatest, limit, self.augment.light)

    def materials(self, key: tuple[int, ...], greatest: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
        """Relative change of each band for red, green and blue things, (3, bands), exactly 0 in the visible.

        Args:
            key: of the draw.
            greatest: (bands,) value of each band in the whole cube.
            limit: which no value may exceed.
        """
        beyond = np.arange(self.visible, len(self.wavelengths))
        changes = np.zeros((3, len(self.wavelengths)))
        if len(beyond):
            reached = np.minimum((self.wavelengths[beyond] - colour.VISIBLE[1]) / _RISE, 1.0)
            rise = reached * reached * (3.0 - 2.0 * reached)
            place = _spread(self.wavelengths[beyond])
            for change, (level, tilt) in zip(
                changes, 2.0 * generator(key, _MATERIALS).random((3, 2)) - 1.0, strict=True
            ):
                curve = level + tilt * place
                change[beyond] = _bounded(curve, rise, greatest[beyond], limit, self.augment.materials)
        return changes

    def seen(self, cube: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
        """The turned input (C, h, w), in [0, 1], that the camera makes of a window of a cube.

        Args:
            cube: (bands, H, W), the window that belongs to the input's, not turned; the first bands, those of
                `visible`, are enough.
            geometry: cuts and turns the input.
        """
        if self.modality == INPUT_MODALITY[1]:
            # A turned mosaic has the phase of any: of the turned picture the same pixels are kept.
            plane = sampled(geometry.turn(self._picture(cube)))
            return _rounded(plane) if self.levels else plane
        turned: NDArray[np.float32] = geometry.turn(_rounded(self._picture(cube)))
        return turned

    def _picture(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        cube = Cube(values, self.wavelengths[: len(values)], "an augmented sample")
        return STANDARD_OBSERVER.rgb_2(cube) if self.modality == INPUT_MODALITY[2] else STANDARD_OBSERVER.rgb_full(cube)

    def _beside(self, partner: Partner, window: Window, cubes: Cubes) -> Any:
        """What of a partner lies at a window: its rows shifted, its columns not, for a sensor's stripes to stay."""
        top, left, height, width = window
        size = cubes.size(partner.place)
        rows = _mirrored(np.arange(top, top + height) + int(partner.shift * 2 * size[0]), size[0])
        columns = _mirrored(np.arange(left, left + width), size[1])
        low, start = int(rows.min()), int(columns.min())
        cut = (low, start, int(rows.max()) + 1 - low, int(columns.max()) + 1 - start)
        return cubes.cut(partner.place, cut)[:, rows - low][:, :, columns - start]

    def _remade(self, values: Any, changes: NDArray[np.float64], cubes: Cubes) -> Any:
        seen = cubes.array(values[: self.visible])
        shares = cubes.like(_hues(colour.to_linear_rgb(seen, self.wavelengths[: len(seen)])))
        remade = values * 1.0
        for band in np.flatnonzero(changes.any(axis=0)):
            red, green, blue = (float(change) for change in changes[:, band].astype(np.float32))
            remade[band] *= red * shares[0] + green * shares[1] + blue * shares[2] + 1.0
        return remade


def wanted(augment: Augment) -> bool:
    """Whether any change of cubes is asked for."""
    return max(augment.light, augment.mix, augment.materials) > 0.0


def physics_of(
    augment: Augment, modality: str, name: str, pair: tuple[NDArray[np.float32], Cube], pools: Sequence[Sequence[int]]
) -> Physics:
    """What `augment` says of cubes, once one sample shows that its input is what the camera makes of its cube.

    Args:
        augment: bounds of the changes.
        modality: of the input.
        name: of the sample.
        pair: its whole input (C, h, w) and cube.
        pools: see `Physics`.

    Raises:
        UserError: the input is of another camera.
    """
    stored, cube = pair
    order = np.argsort(cube.wavelengths)
    if not np.array_equal(order, np.arange(len(order))):
        raise UserError(f"augment.light, mix and materials: the bands of {name} are not in ascending order.")
    height, width = stored.shape[-2:]
    levels = modality != INPUT_MODALITY[1] or bool(np.array_equal(stored, _rounded(stored)))
    made = Physics(augment, cube.wavelengths, modality, False, pools)
    picture = (
        made.seen(cube.values, Geometry(0, 0, height, width))
        if modality == INPUT_MODALITY[1]
        else made._picture(cube.values)
    )
    apart = float(np.abs(picture - stored).max())
    if apart > _TOLERANCE:
        raise UserError(
            f"augment.light, mix and materials render the {modality} anew from the changed cube with the standard "
            f"observer's camera, which does not make the input of {name}: they are {255.0 * apart:.1f} steps of 8 bits "
            "apart (at most 0.75). Set them to 0 for data of another camera, or with an input that JPEG has changed."
        )
    return Physics(augment, cube.wavelengths, modality, levels, pools)


def _bounded(
    curve: NDArray[np.float64], rise: NDArray[np.float64], greatest: NDArray[np.float64], limit: float, most: float
) -> NDArray[np.float64]:
    """A curve times `rise`, at most `most` either way, and lowered until no band's greatest value exceeds the limit.

    Lowering is by a multiple of `rise`: what was smooth stays smooth.
    """
    curve = most * curve / max(1.0, float(np.abs(curve).max()))
    room = (limit * (1.0 - _MARGIN) / np.maximum(greatest, _MARGIN) - 1.0) / rise
    curve = rise * (curve - max(0.0, float((curve - room).max())))
    lowest = -float(curve.min())
    return curve * (most / lowest) if lowest > most else curve


def _spread(wavelengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wavelengths from -1, the first, to 1, the last."""
    first, last = float(wavelengths[0]), float(wavelengths[-1])
    return 2.0 * (wavelengths - first) / ((last - first) or 1.0) - 1.0


def _mirrored(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Places on a line that is mirrored at its ends without end, as places on the line itself."""
    folded = places % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded)


def _hues(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far each pixel is red, green and blue, (3, h, w), adding up to 1, of linear colours.

    The fourth power tells hues apart; multiplication alone, so that processors agree.
    """
    share = rgb / np.maximum(rgb.sum(axis=0), np.float32(1e-12))
    share *= share
    share *= share
    share += np.float32(1e-12)
    hues: NDArray[np.float32] = share / share.sum(axis=0)
    return hues


def _rounded(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a file of 8 bits gives back."""
    return image.quantised(picture).astype(np.float32) / np.float32(255.0)
