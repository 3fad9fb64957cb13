"""From a capture's stored numbers to reflectance on the band grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsdata.cube import BAND_GRID, Cube
from hsdata.formats.capture import Capture
from hsengine.base.errors import UserError

Window = tuple[int, int, int, int]
"""(top, left, height, width) in pixels."""

_ROWS = 64
_SAMPLED_PIXELS = 40_000
_DEFAULT_PERCENTILE = 99.5
# Two lists of wavelengths mean the same bands when they differ by no more, in nm.
_SAME_BAND = 0.5
# A band whose white reference is no brighter than the dark one in this share of columns is useless.
_USELESS = 0.5


@dataclass(frozen=True, eq=False)
class Scaling:
    """How stored numbers become reflectance: (number - dark) / divisor.

    Attributes:
        divisor: one number, or (bands, 1, width or 1): NaN where a reference is unusable.
        dark: what is taken off first, in the same shapes.
        text: how it was found, in words.
    """

    divisor: float | NDArray[np.float32]
    dark: float | NDArray[np.float32]
    text: str

    def apply(
        self, stored: NDArray[Any], bands: NDArray[np.int64], columns: slice = slice(None)
    ) -> NDArray[np.float32]:
        """Reflectance of stored numbers (bands, rows, width) that are these bands and columns of the capture."""
        values = stored.astype(np.float32)
        values -= _part(self.dark, bands, columns)
        values /= _part(self.divisor, bands, columns)
        return values


@dataclass(frozen=True)
class Reflectance:
    """A part of a capture as a cube.

    Attributes:
        cube: on the band grid; pixels without data are 0 and masked.
        negative: stored numbers under 0 (dark reference taken off) in the bands used, in any pixel.
        below: values under 0 among the pixels with data, which are 0 now.
        above: values over 1 among the pixels with data, which stay.
        invalid: pixels without data.
    """

    cube: Cube
    negative: int
    below: int
    above: int
    invalid: int


def scaling(
    capture: Capture,
    *,
    scale: float | None = None,
    percentile: float | None = None,
    white: Capture | None = None,
    dark: Capture | None = None,
) -> Scaling:
    """Find how a capture's numbers become reflectance.

    Args:
        capture: the capture.
        scale: the number that means reflectance 1.
        percentile: take this percentile of the capture's own numbers for reflectance 1.
        white: a capture of a white reference, of the same bands and, for a calibration of each column,
            the same width.
        dark: a capture with the shutter closed.

    Without any of these the file's own declaration decides, else the numbers' type and size; what was
    decided is in the result's `text`.

    Raises:
        UserError: more than one is given, a reference does not fit, or nothing is above 0.
    """
    given = [name for name, value in (("scale", scale), ("percentile", percentile), ("white", white)) if value]
    if len(given) > 1:
        raise UserError(
            f"{capture.source}: {' and '.join(given)} are given; one of them decides what reflectance 1 is."
        )
    if scale is not None and scale <= 0:
        raise UserError(f"{capture.source}: the scale must be above 0, not {scale:g}.")
    if percentile is not None and not 0 < percentile <= 100:
        raise UserError(f"{capture.source}: the percentile must be above 0 and at most 100, not {percentile:g}.")
    offset: float | NDArray[np.float32] = 0.0 if dark is None else _reference(dark, capture, "dark")
    less = "" if dark is None else f", less the dark reference {dark.source}"
    if white is not None:
        span = _reference(white, capture, "white") - offset
        if not (span > 0).any():
            raise UserError(f"The white reference {white.source} is nowhere brighter than the dark one.")
        return Scaling(np.where(span > 0, span, np.nan), offset, f"white reference {white.source}{less}")
    if scale is not None:
        return Scaling(scale, offset, f"{scale:g} as given{less}")
    if percentile is None and capture.scale is not None:
        return Scaling(capture.scale, offset, f"{capture.scale:g} as the file declares{less}")
    sample = _sample(capture, offset)
    if percentile is None:
        divisor, reason = _usual(sample, capture.values.dtype)
        if divisor is not None:
            return Scaling(divisor, offset, f"{divisor:g}, {reason}{less}")
        percentile = _DEFAULT_PERCENTILE
    else:
        reason = "as asked"
    level = float(np.percentile(sample, percentile))
    return Scaling(level, offset, f"{level:g}, the {percentile:g}th percentile of its numbers ({reason}){less}")


def converted(
    capture: Capture,
    scale: Scaling,
    window: Window,
    *,
    grid: NDArray[np.float64] = BAND_GRID,
    resample: Literal["linear", "gaussian"] = "linear",
    fwhm: float = 10.0,
    extrapolate: bool = False,
) -> Reflectance:
    """A window of a capture as reflectance on the band grid, strip by strip.

    Args:
        capture: the capture.
        scale: how its numbers become reflectance.
        window: which pixels.
        grid: (bands,) band centres in nm, ascending.
        resample: see `Cube.resampled`.
        fwhm: see `Cube.resampled`.
        extrapolate: see `Cube.resampled`.

    Raises:
        UserError: the good bands do not reach over the grid, and `extrapolate` is false.
    """
    bands = used_bands(capture, scale, grid, fwhm if resample == "gaussian" else 0.0)
    top, left, height, width = window
    columns = slice(left, left + width)
    values = np.empty((len(grid), height, width), dtype=np.float32)
    mask = np.empty((height, width), dtype=np.bool_)
    negative = 0
    for row in range(0, height, _ROWS):
        rows = slice(row, min(row + _ROWS, height))
        stored = capture.values[:, top + rows.start : top + rows.stop, columns][bands]
        valid = capture.valid(stored, top + rows.start, left)
        strip = scale.apply(stored, bands, columns)
        valid &= np.isfinite(strip).all(axis=0)
        negative += int(np.count_nonzero(strip < 0.0))
        strip[:, ~valid] = 0.0
        cube = Cube(strip, capture.centres()[bands], capture.source)
        values[:, rows] = cube.resampled(grid, method=resample, fwhm=fwhm, extrapolate=extrapolate).values
        mask[rows] = valid
    below = int(np.count_nonzero(values < 0.0))
    np.maximum(values, 0.0, out=values)
    return Reflectance(
        Cube(values, grid, capture.source, None if mask.all() else mask),
        negative,
        below,
        int(np.count_nonzero(values > 1.0)),
        int(np.count_nonzero(~mask)),
    )


def known_bands(capture: Capture) -> NDArray[np.bool_]:
    """(bands,): whether a band's wavelength is known, a finite number above 0.

    Raises:
        UserError: no band's is.
    """
    centres = capture.centres()
    known: NDArray[np.bool_] = np.isfinite(centres) & (centres > 0)
    if not known.any():
        raise UserError(f"{capture.source}: none of its {len(centres)} wavelengths is a finite number above 0.")
    return known


def used_bands(
    capture: Capture, scale: Scaling, grid: NDArray[np.float64] = BAND_GRID, margin: float = 0.0
) -> NDArray[np.int64]:
    """Indices of the good bands that the grid needs, by ascending wavelength.

    A band is not good where the file says so, where its wavelength is not known, where it holds no data
    or only zeros, or where the white reference is useless.
    """
    centres = capture.centres()
    good = known_bands(capture)
    if capture.good is not None:
        good &= capture.good
    sample = capture.values[:, :: _step(capture), :: _step(capture)]
    if sample.dtype.kind == "f":
        good &= np.isfinite(sample).any(axis=(1, 2))
    # Bands that were not measured, such as those in water vapour, are often filled with zeros.
    for absent in {0.0, capture.ignore} - {None}:
        good &= (sample != absent).any(axis=(1, 2))
    if isinstance(scale.divisor, np.ndarray):
        good &= np.isnan(scale.divisor).mean(axis=(1, 2)) <= _USELESS
    order = np.argsort(centres, kind="stable")
    order = order[good[order]]
    if not len(order):
        raise UserError(f"{capture.source} has no band with data.")
    # One band beyond each end of the grid, and as many as a Gaussian response reaches.
    sorted_centres = centres[order]
    first = max(0, int(np.searchsorted(sorted_centres, grid[0] - 2.0 * margin, side="right")) - 1)
    last = int(np.searchsorted(sorted_centres, grid[-1] + 2.0 * margin, side="left")) + 1
    # All bands of equal wavelength at an end are averaged together.
    keep = (sorted_centres >= sorted_centres[first]) & (sorted_centres <= sorted_centres[min(last, len(order)) - 1])
    return np.asarray(order[keep], dtype=np.int64)


def _part(value: float | NDArray[np.float32], bands: NDArray[np.int64], columns: slice) -> float | NDArray[np.float32]:
    if not isinstance(value, np.ndarray):
        return value
    return value[bands][..., columns] if value.shape[-1] > 1 else value[bands]


def _reference(reference: Capture, capture: Capture, name: str) -> NDArray[np.float32]:
    """(bands, 1, width) mean over the lines of a reference as wide as the capture, else (bands, 1, 1) over all."""
    if len(reference.values) != len(capture.values):
        raise UserError(
            f"The {name} reference {reference.source} has {len(reference.values)} bands, "
            f"{capture.source} has {len(capture.values)}: they must be of the same bands."
        )
    if reference.wavelengths is not None and capture.wavelengths is not None:
        worst = float(np.abs(reference.wavelengths - capture.wavelengths).max())
        if worst > _SAME_BAND:
            raise UserError(
                f"The bands of the {name} reference {reference.source} differ by up to {worst:g} nm from those of "
                f"{capture.source}."
            )
    axes = (1,) if reference.shape[2] == capture.shape[2] else (1, 2)
    return np.asarray(reference.values.mean(axis=axes, dtype=np.float64, keepdims=True), dtype=np.float32)


def _step(capture: Capture) -> int:
    """Every how many pixels along an axis to look at, for some tens of thousands in all."""
    _, height, width = capture.shape
    return max(1, int(np.ceil(np.sqrt(height * width / _SAMPLED_PIXELS))))


def _sample(capture: Capture, dark: float | NDArray[np.float32]) -> NDArray[np.float32]:
    """Numbers of a regular choice of pixels that hold data, less the dark reference."""
    step = _step(capture)
    good = np.ones(len(capture.values), dtype=np.bool_) if capture.good is None else capture.good
    bands = np.flatnonzero(good)
    stored = capture.values[:, ::step, ::step][bands]
    valid = np.ones(stored.shape[1:], dtype=np.bool_) if capture.mask is None else capture.mask[::step, ::step]
    values = stored.astype(np.float32) - _part(dark, bands, slice(None, None, step))
    values = values[:, valid][np.isfinite(values[:, valid]) & (stored[:, valid] != _or_nan(capture.ignore))]
    if not values.size or values.max() <= 0:
        raise UserError(f"{capture.source} holds no number above 0: there is nothing to scale to reflectance.")
    return np.asarray(values, dtype=np.float32)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _usual(sample: NDArray[np.float32], dtype: np.dtype[Any]) -> tuple[float | None, str]:
    """The divisor that numbers of this type and size usually mean, if any, and why."""
    top = float(np.percentile(sample, 99.9))
    if dtype.kind == "f" and top <= 2.0:
        return 1.0, "the numbers are reflectance already"
    if dtype.kind == "f" and top <= 110.0:
        return 100.0, "the numbers look like percent"
    if dtype == np.uint8:
        return 255.0, "8-bit levels"
    if dtype == np.int16 and top <= 20_000:
        return 10_000.0, "usual for reflectance in 16-bit integers with sign"
    return None, f"raw counts in {dtype.name}, with no scale declared; better give a scale or a white reference"
