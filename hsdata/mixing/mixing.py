"""One synthetic sample out of two: read, mixed and written by strips of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsdata import facts, layout, raw
from hsdata.camera.camera import Camera
from hsdata.camera.resize import bilinear, taps
from hsdata.cube import Cube
from hsdata.formats import hdf5, image, mosaic, zarr

# The least height of a strip of rows, in pixels, and the greatest that sparing a second decoding is worth.
_ROWS = 64
_MOST_ROWS = 512


@dataclass(frozen=True)
class Work:
    """One synthetic sample: where its sources are and how it is made of them."""

    name: str
    cubes: tuple[str, str]
    inputs: tuple[str, str]
    shapes: tuple[raw.Shape, raw.Shape]
    lam: float
    size: tuple[int, int]
    track: int
    normalize: Literal["none", "minmax"]
    rgb: Literal["render", "lerp"]
    chunk: int
    dtype: zarr.Dtype
    device: str
    camera: Camera
    cube_out: str
    input_out: str
    rgb_out: str


def make(work: Work) -> dict[str, Any]:
    """Make one synthetic sample and return what the catalog says of it."""
    pairs = zip(work.cubes, work.shapes, strict=True)
    with ExitStack() as stack:
        first, second = (stack.enter_context(raw.opened(cube, shape)) for cube, shape in pairs)
        sources = (_Source(first, work.size, work.normalize), _Source(second, work.size, work.normalize))
        content = facts.Content(first.shape[0])
        seen = _Seen([], [])
        rows = _rows_of_a_strip(work, first, second)
        strips = _observed(_mixed(sources, work, rows), first.wavelengths, work, content, seen)
        _write_cube(work, strips, first.wavelengths)
    image.write(work.rgb_out, np.concatenate(seen.rgb_full, axis=1))
    plane = _lerped_inputs(work) if work.rgb == "lerp" else np.concatenate(seen.inputs, axis=1)
    if work.track == 1:
        mosaic.write(work.input_out, plane)
    else:
        image.write(work.input_out, plane)
    entry = facts.read((layout.INPUT_MODALITY[work.track], work.input_out))
    found = content.facts() if work.dtype == "float32" else _stored(work.cube_out)
    return {
        "cube_hash": found.content,
        "input_hash": entry.content,
        "bands": found.bands,
        "height": found.height,
        "width": found.width,
        "below": found.below,
        "above": found.above,
    }


class _Source:
    """One cube of a pair, read by rows at the size and on the scale of the mixture."""

    def __init__(self, cube: hdf5.Opened, size: tuple[int, int], normalize: str) -> None:
        self._cube = cube
        self._size = size
        self._low, self._span = np.float32(0.0), np.float32(1.0)
        if normalize == "minmax":
            limits = [(strip.min(), strip.max()) for strip in cube.strips()]
            self._low = np.float32(min(low for low, _ in limits))
            # A constant cube becomes all zero.
            self._span = np.float32(max(high for _, high in limits) - self._low) or np.float32(1.0)
        self._normalize = normalize == "minmax"

    def rows(self, top: int, height: int) -> NDArray[np.float32]:
        """Rows of the mixture's frame, (bands, height, width), writable."""
        if self._size == self._cube.shape[1:]:
            values = self._cube.read(top, height)
        else:
            down = taps(self._cube.shape[1], self._size[0])[top : top + height]
            start = int(down.low.min())
            strip = self._cube.read(start, int(down.high.max()) + 1 - start)
            values = down.shifted(-start).apply(strip, axis=1)
            values = taps(self._cube.shape[2], self._size[1]).apply(values, axis=2)
        if self._normalize:
            values = (values - self._low) / self._span
        return values


@dataclass(frozen=True)
class _Seen:
    """What the camera has seen of the mixture so far, strip by strip: the input, and full-size 8-bit RGB."""

    inputs: list[NDArray[np.float32]]
    rgb_full: list[NDArray[np.uint8]]


def _rows_of_a_strip(work: Work, *cubes: hdf5.Opened) -> int:
    """Height of a strip of whole chunks and whole pairs of rows that cuts, where it can, no chunk of a source."""
    step = 2 * work.chunk
    step *= -(-_ROWS // step)
    uncut = math.lcm(step, *(cube.rows for cube in cubes if cube.shape[1:] == work.size))
    return uncut if uncut <= _MOST_ROWS else step


def _mixed(sources: tuple[_Source, _Source], work: Work, step: int) -> Iterator[NDArray[np.float32]]:
    """The mixture from top to bottom in strips of so many rows."""
    height = work.size[0]
    mix = _mixer(work.device)
    for top in range(0, height, step):
        rows = min(step, height - top)
        yield facts.contiguous(mix(sources[0].rows(top, rows), sources[1].rows(top, rows), work.lam))


def _mixer(device: str) -> Callable[[NDArray[np.float32], NDArray[np.float32], float], NDArray[np.float32]]:
    """`a + lam (b - a)`; both arrays may be overwritten."""

    def on_cpu(a: NDArray[np.float32], b: NDArray[np.float32], lam: float) -> NDArray[np.float32]:
        # In place, so that a strip is in memory twice and not four times.
        b -= a
        b *= np.float32(lam)
        b += a
        return b

    def on_gpu(a: NDArray[np.float32], b: NDArray[np.float32], lam: float) -> NDArray[np.float32]:
        import torch

        first, second = torch.from_numpy(a).to(device), torch.from_numpy(b).to(device)
        mixed: NDArray[np.float32] = torch.lerp(first, second, lam).cpu().numpy()
        return mixed

    return on_cpu if device == "cpu" else on_gpu


def _observed(
    strips: Iterator[NDArray[np.float32]],
    wavelengths: NDArray[np.float64],
    work: Work,
    content: facts.Content,
    seen: _Seen,
) -> Iterator[NDArray[np.float32]]:
    """The strips themselves, seen in passing by the hash and the camera."""
    for strip in strips:
        content.update(strip)
        cube = Cube(strip, wavelengths, work.name)
        seen.rgb_full.append(image.quantised(work.camera.rgb_full(cube)))
        if work.rgb == "render":
            seen.inputs.append(work.camera.mosaic(cube) if work.track == 1 else work.camera.rgb_2(cube))
        yield strip


def _write_cube(work: Work, strips: Iterator[NDArray[np.float32]], wavelengths: NDArray[np.float64]) -> None:
    shape = (len(wavelengths), *work.size)
    if work.cube_out.endswith(".h5") or work.dtype == "uint16":
        values = np.empty(shape, dtype=np.float32)
        top = 0
        for strip in strips:
            values[:, top : top + strip.shape[1]] = strip
            top += strip.shape[1]
        cube = Cube(values, wavelengths, work.name)
        if work.cube_out.endswith(".h5"):
            hdf5.write(work.cube_out, cube)
        else:
            zarr.write(work.cube_out, cube, chunk=work.chunk, dtype=work.dtype, source=work.name)
        return
    zarr.write_strips(
        work.cube_out,
        strips,
        shape=shape,
        wavelengths=wavelengths,
        chunk=work.chunk,
        dtype=work.dtype,
        source=work.name,
    )


def _lerped_inputs(work: Work) -> NDArray[np.float32]:
    read = mosaic.read if work.track == 1 else image.read
    scale = layout.SCALE[work.track]
    first, second = (bilinear(read(path), work.size[0] // scale, work.size[1] // scale) for path in work.inputs)
    return first + np.float32(work.lam) * (second - first)


def _stored(store: str) -> facts.Facts:
    """What a reader of a lossy store gets."""
    cube = zarr.ZarrCube(store)
    content = facts.Content(cube.shape[0])
    for top in range(0, cube.shape[1], _ROWS):
        content.update(cube.read(top, 0, min(_ROWS, cube.shape[1] - top)))
    return content.facts()
