"""The comparison of spectra and its gradient in float32, compiled for this machine's processor.

A block of pixels is walked over band by band while it is in the processor's nearest cache, where PyTorch's operations
would carry each of some twenty intermediate results to the next cache and back. Numba compiles the functions when they
are first called, in seconds, and keeps them on disk for later processes. They hold no lock of Python's.

What is computed is said in `hsmodels.score.spectral`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numba import njit
from torch import Tensor

from hsengine.base.files import file_hash
from hsmodels.score.operations import SAM_EPSILON, SID_EPSILON, Found, Incoming, Spectra, loaded

Function = TypeVar("Function", bound=Callable[..., Any])

# Pixels of a block: its sums fit in the nearest cache.
_BLOCK: Final = 512
# Of a block of which every band is kept.
_KEPT_BLOCK: Final = 256

_ZERO, _HALF, _ONE, _TWO = (np.float32(value) for value in (0.0, 0.5, 1.0, 2.0))
_THIRD, _FIFTH, _SEVENTH, _NINTH = (np.float32(1.0 / value) for value in (3.0, 5.0, 7.0, 9.0))
_LN2: Final = np.float32(math.log(2.0))
_TINY: Final = np.finfo(np.float32).tiny
_SID_EPSILON: Final = np.float32(SID_EPSILON)
_SAM_EPSILON: Final = SAM_EPSILON
# Of a float32: bits after the exponent, and the bits of 2/3, about which a mantissa lies within a third.
_MANTISSA: Final = np.int32(23)
_TWO_THIRDS: Final = np.int32(0x3F2AAAAB)
# Of this file, as it decides the machine code.
_SOURCE: Final = file_hash(__file__)


def _compiled(function: Function, **options: Any) -> Function:
    """The function in machine code; sums may be taken in any order, but NaN and infinity stay what they are."""
    # Names the kept files. Their list is written before they are: who is killed or reads in between would take what an
    # earlier source has left under the same name.
    function.__qualname__ += f"_{_SOURCE}"
    options |= {"nogil": True, "fastmath": {"reassoc", "contract", "nsz", "arcp"}, "error_model": "numpy"}
    try:
        made: Function = njit(cache=True, **options)(function)
    except RuntimeError:
        # Nowhere to keep it.
        made = njit(**options)(function)
    return made


def _part_of(function: Function) -> Function:
    """A function that becomes part of those that call it.

    Called as a function of its own it would be there twice, and a process that compiles would sum in another order
    than one that finds the kept code: which of the two is called is the linker's choice.
    """
    return _compiled(function, inline="always")


@_part_of
def _positive(value: Any, bend: Any, smooth: bool) -> Any:
    """max(value, 0), or (value + sqrt(value² + bend)) / 2."""
    if smooth:
        return _HALF * (value + np.sqrt(value * value + bend))
    return max(value, _ZERO)


@_part_of
def _part(bits: Any, mantissas: Any, size: int) -> None:
    """Take the exponents out of floats, given as their bits, and leave them there; the mantissas are bits too.

    Apart from the loops over numbers, so that either is taken many at a time.
    """
    for i in range(size):
        exponent = (bits[i] - _TWO_THIRDS) >> _MANTISSA
        mantissas[i] = bits[i] - (exponent << _MANTISSA)
        bits[i] = exponent


@_part_of
def _logarithm(mantissa: Any, exponent: Any) -> Any:
    """ln(mantissa · 2^exponent) for a mantissa within a third of 1, as 2 artanh((m - 1) / (m + 1)), 2e-8 off."""
    ratio = (mantissa - _ONE) / (mantissa + _ONE)
    square = ratio * ratio
    series = _ONE + square * (_THIRD + square * (_FIFTH + square * (_SEVENTH + square * _NINTH)))
    return _TWO * ratio * series + np.float32(exponent) * _LN2


@_part_of
def _sums(a: Any, b: Any, bend: Any, smooth: bool, start: int, size: int, sums: Any) -> None:
    """Of a block's pixels Σ max(a, 0), Σ max(b, 0), Σ a² and Σ b² into the rows of `sums` (4, block)."""
    sums[:] = _ZERO
    positive_a, positive_b, square_a, square_b = sums[0], sums[1], sums[2], sums[3]
    for band in range(a.shape[0]):
        of_a, of_b = a[band, start : start + size], b[band, start : start + size]
        for i in range(size):
            x, y = of_a[i], of_b[i]
            positive_a[i] += _positive(x, bend, smooth)
            positive_b[i] += _positive(y, bend, smooth)
            square_a[i] += x * x
            square_b[i] += y * y


@_part_of
def _inverted(sums: Any, size: int, inverse: Any) -> None:
    """1 / (Σa + ε), 1 / (Σb + ε), 1 / |a| and 1 / |b| of `_sums`."""
    for i in range(size):
        inverse[0, i] = _ONE / (sums[0, i] + _SID_EPSILON)
        inverse[1, i] = _ONE / (sums[1, i] + _SID_EPSILON)
        inverse[2, i] = _ONE / np.sqrt(max(sums[2, i], _TINY))
        inverse[3, i] = _ONE / np.sqrt(max(sums[3, i], _TINY))


@_part_of
def _errors(a: Any, b: Any, masks: Any, start: int, size: int, errors: Any) -> None:
    """Add a block's Σ (b - a)² and Σ a of each band, under each mask, to `errors` (2, max(masks, 1), bands)."""
    for band in range(a.shape[0]):
        of_a, of_b = a[band, start : start + size], b[band, start : start + size]
        if len(masks) == 0:
            squared, total = _ZERO, _ZERO
            for i in range(size):
                change = of_b[i] - of_a[i]
                squared += change * change
                total += of_a[i]
            errors[0, 0, band] += squared
            errors[1, 0, band] += total
        for mask in range(len(masks)):
            weights = masks[mask, start : start + size]
            squared, total = _ZERO, _ZERO
            for i in range(size):
                change = of_b[i] - of_a[i]
                squared += weights[i] * change * change
                total += weights[i] * of_a[i]
            errors[0, mask, band] += squared
            errors[1, mask, band] += total


@_part_of
def _colours(a: Any, b: Any, seen: Any, first: int, start: int, size: int, rgb: Any) -> None:
    """Linear sRGB of a block's `a`, and of b - a, into `rgb` (6, block)."""
    rgb[:] = _ZERO
    for band in range(seen.shape[1]):
        of_a, of_b = a[first + band, start : start + size], b[first + band, start : start + size]
        red, green, blue = seen[0, band], seen[1, band], seen[2, band]
        for i in range(size):
            x = of_a[i]
            change = of_b[i] - x
            rgb[0, i] += red * x
            rgb[1, i] += green * x
            rgb[2, i] += blue * x
            rgb[3, i] += red * change
            rgb[4, i] += green * change
            rgb[5, i] += blue * change


@_compiled
def _compare(
    a: Any,
    b: Any,
    masks: Any,
    seen: Any,
    first: int,
    floor: Any,
    start: int,
    stop: int,
    found: Any,
    rgb: Any,
    errors: Any,
) -> None:
    """Compare the pixels from `start` to `stop` of two images.

    Args:
        a: (bands, n) float32, the truth, one band after the other in memory.
        b: (bands, n) float32, the prediction.
        masks: (K, n) float32 of 0 and 1; K is 0 where every pixel counts.
        seen: (3, visible) float32 from reflectance to linear sRGB, of the bands from number `first` on.
        first: see `seen`.
        floor: float32, of the shares; see `hsmodels.score.spectral.spectral_maps`.
        start: the first pixel.
        stop: the one after the last.
        found: (4, stop - start) float32, written: |a|², |b|², |a/|a| - b/|b||² and the divergence.
        rgb: (6, stop - start) float32, written: linear sRGB of the truth, and of the difference.
        errors: (2, max(K, 1), bands) float64, added to: Σ (b - a)² and Σ a.
    """
    smooth, bend = floor > _ZERO, np.float32(4.0) * floor * floor
    sums, inverse = np.empty((4, _BLOCK), np.float32), np.empty((4, _BLOCK), np.float32)
    colours = np.empty((6, _BLOCK), np.float32)
    chord, divergence = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    ratio, apart = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    mantissa = np.empty(_BLOCK, np.float32)
    bits, kept = ratio.view(np.int32), mantissa.view(np.int32)
    share_a, share_b, norm_a, norm_b = inverse[0], inverse[1], inverse[2], inverse[3]
    for left in range(start, stop, _BLOCK):
        size, at = min(_BLOCK, stop - left), left - start
        _sums(a, b, bend, smooth, left, size, sums)
        _inverted(sums, size, inverse)
        _errors(a, b, masks, left, size, errors)
        _colours(a, b, seen, first, left, size, colours)
        chord[:] = _ZERO
        divergence[:] = _ZERO
        for band in range(a.shape[0]):
            of_a, of_b = a[band, left : left + size], b[band, left : left + size]
            for i in range(size):
                x, y = of_a[i], of_b[i]
                between = x * norm_a[i] - y * norm_b[i]
                chord[i] += between * between
                p = _positive(x, bend, smooth) * share_a[i] + _SID_EPSILON
                q = _positive(y, bend, smooth) * share_b[i] + _SID_EPSILON
                ratio[i] = p / q
                apart[i] = p - q
            _part(bits, kept, size)
            for i in range(size):
                divergence[i] += apart[i] * _logarithm(mantissa[i], bits[i])
        for i in range(size):
            found[0, at + i] = sums[2, i]
            found[1, at + i] = sums[3, i]
            found[2, at + i] = chord[i]
            found[3, at + i] = divergence[i]
        for channel in range(6):
            for i in range(size):
                rgb[channel, at + i] = colours[channel, i]


@_compiled
def _pull_back(
    a: Any, b: Any, seen: Any, first: int, floor: Any, of_sam: Any, of_sid: Any, of_squared: Any, of_rgb: Any,
    start: int, stop: int, result: Any, place: int,
) -> None:  # fmt: skip
    """The gradient in the prediction of the pixels from `start` to `stop`, from that in what `_compare` finds.

    Args:
        a: see `_compare`.
        b: see `_compare`.
        seen: see `_compare`.
        first: see `_compare`.
        floor: see `_compare`.
        of_sam: (m,) float64, gradient in the angle in radians, of the m pixels.
        of_sid: (m,) float64, in the divergence.
        of_squared: (bands,) float64, in Σ (b - a)² of each band.
        of_rgb: (3, m) float32, in the colour of the difference.
        start: the first pixel.
        stop: the one after the last.
        result: (bands, k) float32, written from pixel `place` on.
        place: see `result`.
    """
    smooth, bend = floor > _ZERO, np.float32(4.0) * floor * floor
    sums, inverse = np.empty((4, _KEPT_BLOCK), np.float32), np.empty((4, _KEPT_BLOCK), np.float32)
    slopes = np.empty((a.shape[0], _KEPT_BLOCK), np.float32)
    chord, mean = np.empty(_KEPT_BLOCK, np.float32), np.empty(_KEPT_BLOCK, np.float32)
    ratio, share = np.empty(_KEPT_BLOCK, np.float32), np.empty(_KEPT_BLOCK, np.float32)
    mantissa, scale = np.empty(_KEPT_BLOCK, np.float32), np.empty(_KEPT_BLOCK, np.float32)
    along, back = np.empty(_KEPT_BLOCK, np.float32), np.empty(_KEPT_BLOCK, np.float32)
    bits, kept = ratio.view(np.int32), mantissa.view(np.int32)
    share_a, share_b, norm_a, norm_b = inverse[0], inverse[1], inverse[2], inverse[3]
    for left in range(start, stop, _KEPT_BLOCK):
        size, at = min(_KEPT_BLOCK, stop - left), left - start
        _sums(a, b, bend, smooth, left, size, sums)
        _inverted(sums, size, inverse)
        chord[:] = _ZERO
        mean[:] = _ZERO
        for band in range(a.shape[0]):
            of_a, of_b, slope = a[band, left : left + size], b[band, left : left + size], slopes[band]
            for i in range(size):
                x, y = of_a[i], of_b[i]
                between = x * norm_a[i] - y * norm_b[i]
                chord[i] += between * between
                # With r = p/q, d/dq of the divergence is 1 - r - ln r; q = b / (Σb + ε) for positive b.
                share[i] = _positive(y, bend, smooth) * share_b[i]
                ratio[i] = (_positive(x, bend, smooth) * share_a[i] + _SID_EPSILON) / (share[i] + _SID_EPSILON)
                slope[i] = _ONE - ratio[i]
            _part(bits, kept, size)
            for i in range(size):
                slope[i] -= _logarithm(mantissa[i], bits[i])
                mean[i] += slope[i] * share[i]
        for i in range(size):
            # The angle: dcos/db = (a - cos |a|/|b| b) / (|a||b| + ε), dθ/dcos = -1 / sin θ.
            product = np.sqrt(np.float64(sums[2, i])) * np.sqrt(np.float64(sums[3, i]))
            bounded = product + _SAM_EPSILON
            gap = min(max((0.5 * np.float64(chord[i]) * product + _SAM_EPSILON) / bounded, 0.0), 2.0)
            sine = np.sqrt(gap * (2.0 - gap))
            direct, turned = 0.0, 0.0
            if sums[3, i] > _ZERO and sine > 0.0:
                direct = -of_sam[at + i] / (bounded * sine)
                turned = direct * (gap - 1.0) * np.sqrt(np.float64(sums[2, i]) / np.float64(sums[3, i]))
            along[i] = direct
            back[i] = turned
            scale[i] = share_b[i] * of_sid[at + i]
        for band in range(a.shape[0]):
            of_a, of_b, slope = a[band, left : left + size], b[band, left : left + size], slopes[band]
            made = result[band, place + at : place + at + size]
            twice = np.float32(2.0 * of_squared[band])
            for i in range(size):
                x, y = of_a[i], of_b[i]
                rise = (slope[i] - mean[i]) * scale[i]
                if smooth:
                    rise *= _HALF * (_ONE + y / np.sqrt(y * y + bend))
                else:
                    rise = rise if y > _ZERO else _ZERO
                made[i] = x * along[i] + y * back[i] + rise + twice * (y - x)
        for band in range(seen.shape[1]):
            made = result[first + band, place + at : place + at + size]
            red, green, blue = seen[0, band], seen[1, band], seen[2, band]
            for i in range(size):
                made[i] += red * of_rgb[0, at + i] + green * of_rgb[1, at + i] + blue * of_rgb[2, at + i]


def comparing(pair: Spectra) -> Callable[[slice, Found], None]:
    """What compares some pixels of a pair, in any thread."""
    visible, seen = _to_colours(pair)
    batch, _, pixels = pair.truth.shape
    masks = torch.empty(batch, 0, pixels) if pair.weights is None else pair.weights.float().contiguous()

    def compare(at: slice, found: Found) -> None:
        start, cubes = _in_place(at, pair.truth, pair.prediction, masks)
        for image in range(batch):
            a, b, weights, *results = (x[image].numpy() for x in (*cubes, *found))
            stop = start + at.stop - at.start
            _compare(a, b, weights, seen, visible.start, np.float32(pair.floor), start, stop, *results)

    return compare


def pulling_back(pair: Spectra, incoming: Incoming, result: Tensor) -> Callable[[slice], None]:
    """What writes the gradient in some pixels of the prediction into `result`, like it, in any thread."""
    visible, seen = _to_colours(pair)

    def pull_back(at: slice) -> None:
        start, cubes = _in_place(at, pair.truth, pair.prediction)
        first, made = _to_fill(at, result)
        of = (
            incoming.sam[:, at].double(),
            incoming.sid[:, at].double(),
            incoming.squared.double(),
            incoming.rgb_change[:, :, at].float(),
        )
        for image in range(len(made)):
            given = [x[image].contiguous().numpy() for x in (*cubes, *of, made)]
            a, b, of_sam, of_sid, of_squared, of_rgb, written = given
            stop, floor = start + at.stop - at.start, np.float32(pair.floor)
            _pull_back(
                a, b, seen, visible.start, floor, of_sam, of_sid, of_squared, of_rgb, start, stop, written, first
            )
        if made is not result:
            result[:, :, at] = made

    return pull_back


def _to_colours(pair: Spectra) -> tuple[slice, Any]:
    """The bands that have a colour, and the matrix (3, bands) from these to linear sRGB."""
    visible = pair.visible
    return visible, pair.colour[:, visible].float().contiguous().numpy()


def _in_place(at: slice, *cubes: Tensor) -> tuple[int, Sequence[Tensor]]:
    """The place of the slice in cubes (B, bands, n) of the kernels' form: the cubes themselves, or copies of it."""
    if all(map(_is_plain, cubes)):
        return at.start, cubes
    return 0, [loaded(cube, at, torch.float32).contiguous() for cube in cubes]


def _to_fill(at: slice, result: Tensor) -> tuple[int, Tensor]:
    """The place of the slice in a result (B, bands, n) of the kernels' form: the result itself, or memory for it."""
    return (at.start, result) if _is_plain(result) else (0, torch.empty(result[:, :, at].shape))


def _is_plain(cube: Tensor) -> bool:
    """Whether a cube is as the kernels walk over it: float32, each band's pixels one after the other."""
    return cube.dtype == torch.float32 and cube.is_contiguous()
