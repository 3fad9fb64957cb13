"""What a file of hyperspectral data holds, and what is odd about it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsdata import formats
from hsdata.captures.reflectance import known_bands, scaling
from hsdata.cube import BAND_GRID
from hsdata.formats import READERS, wavelengths
from hsdata.formats.capture import Capture
from hsengine.base.errors import UserError

_ROWS = 64
# The share of values that may lie a little outside [0, 1] in sound reflectance.
_MANY = 0.001
_GAP_FACTOR = 3.0


@dataclass
class Description:
    """A description of a file.

    Attributes:
        path: the file.
        facts: what it holds, by name.
        odd: what is odd about it, in words; empty for a cube that training can use as it is.
    """

    path: str
    facts: dict[str, str] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        widest = max(map(len, self.facts), default=0)
        lines = [self.path, *(f"  {name:<{widest}}  {value}" for name, value in self.facts.items())]
        if self.odd:
            lines += ["odd:", *(f"  {text}" for text in self.odd)]
        else:
            lines.append("nothing odd")
        return "\n".join(lines)


@dataclass
class _Counts:
    """What one pass over the values counts."""

    total: int = 0
    below: int = 0
    above: int = 0
    zero: int = 0
    not_finite: int = 0
    invalid: int = 0
    constant: int = 0
    least: float = float("inf")
    greatest: float = float("-inf")


def describe(
    path: str | os.PathLike[str],
    *,
    variable: str | None = None,
    wavelengths_file: str | os.PathLike[str] | None = None,
    axes: str | None = None,
) -> Description:
    """Describe any file that a reader of the package knows.

    Args:
        path: the file or store.
        variable: name of the image in files with several arrays.
        wavelengths_file: a list of wavelengths.
        axes: order of the image's axes, where the file does not tell.

    Raises:
        UserError: there is no such file, or no reader for it.
    """
    file = Path(path)
    found = Description(str(path))
    listed = None if wavelengths_file is None else wavelengths.read_list(wavelengths_file)
    try:
        if file.exists() and file.suffix.lower() in READERS:
            found.facts["format"] = READERS[file.suffix.lower()]
            size = sum(part.stat().st_size for part in formats.files(file))
            found.facts["format"] += f", {size:,} bytes"
        opened = formats.load(path, variable=variable, wavelengths=listed, axes=axes)
    except UserError as error:
        if not found.facts:
            raise
        found.odd.append(f"it cannot be read as it is: {error}")
        return found
    bands, height, width = opened.shape
    found.facts["shape"] = f"{bands} bands, {height} x {width} pixels"
    found.facts["numbers"] = opened.values.dtype.name
    for note in opened.notes:
        name, _, text = note.partition(": ")
        found.facts.setdefault(name if text else "stored", text or note)
    _describe_bands(opened, found)
    _describe_values(opened, found)
    if height % 2 or width % 2:
        found.odd.append("an odd height or width: neither a mosaic nor a half-size picture can be made of all of it")
    return found


def _describe_bands(opened: Capture, found: Description) -> None:
    centres = opened.wavelengths
    if centres is None:
        found.odd.append("no wavelengths: give a list of them")
        return
    try:
        known = centres[known_bands(opened)]
    except UserError as error:
        found.odd.append(str(error))
        return
    ordered = np.unique(known)
    steps = np.diff(ordered)
    found.facts["wavelengths"] = f"{ordered[0]:g} to {ordered[-1]:g} nm" + (
        f" in steps of {_range(steps)} nm" if len(steps) else ""
    )
    if len(known) < len(centres):
        found.odd.append(f"{len(centres) - len(known)} wavelengths are not finite numbers above 0")
    backwards = np.flatnonzero(np.diff(centres) < 0)
    if len(backwards) == len(centres) - 1 > 0:
        found.odd.append("wavelengths run backwards")
    elif len(backwards):
        at = backwards[0]
        found.odd.append(
            f"wavelengths are not in order: they step back {len(backwards)} times, "
            f"first from {centres[at]:g} to {centres[at + 1]:g} nm"
        )
    if len(ordered) < len(known):
        found.odd.append(f"{len(known) - len(ordered)} bands have the wavelength of another one")
    if len(steps) > 2 and steps.max() > _GAP_FACTOR * np.median(steps):
        at = int(steps.argmax())
        found.odd.append(f"a gap in the bands from {ordered[at]:g} to {ordered[at + 1]:g} nm")
    if opened.good is not None and not opened.good.all():
        found.odd.append(f"{int((~opened.good).sum())} bands are declared bad")
    if len(centres) == len(BAND_GRID) and np.abs(centres - BAND_GRID).max() <= 0.5:
        found.facts["band grid"] = "matches"
    elif ordered[0] <= BAND_GRID[0] and ordered[-1] >= BAND_GRID[-1]:
        found.facts["band grid"] = "does not match; can be resampled ('hsdata import')"
        found.odd.append(f"other bands than the {len(BAND_GRID)} of {BAND_GRID[0]:g} to {BAND_GRID[-1]:g} nm")
    else:
        found.facts["band grid"] = "does not match, nor reach over it; an import would have to extrapolate"
        found.odd.append(f"does not measure all of {BAND_GRID[0]:g} to {BAND_GRID[-1]:g} nm")


def _describe_values(opened: Capture, found: Description) -> None:
    counts = _counted(opened)
    pixels = opened.shape[1] * opened.shape[2]
    if counts.least > counts.greatest:
        found.odd.append("no value is finite")
        return
    found.facts["values"] = f"{counts.least:g} to {counts.greatest:g}"
    try:
        scale = scaling(opened)
    except UserError as error:
        found.odd.append(str(error))
        return
    found.facts["likely scale"] = f"reflectance 1 is {scale.text}"
    unscaled = isinstance(scale.divisor, float | int) and scale.divisor == 1.0
    if not unscaled:
        found.odd.append("the numbers are not reflectance in [0, 1]: see the likely scale")
    for count, total, text in (
        (counts.below, counts.total, "values are negative"),
        (counts.above if unscaled else 0, counts.total, "values are above 1"),
        (counts.not_finite, counts.total, "values are NaN or infinite"),
        (counts.zero if counts.zero > _MANY * counts.total else 0, counts.total, "values are exactly 0"),
        (counts.invalid, pixels, "pixels are marked as without data"),
        (counts.constant, pixels, "pixels have the same value in all bands"),
    ):
        if count:
            found.odd.append(f"{count:,} {text} ({100.0 * count / total:.2g} %)")


def _counted(opened: Capture) -> _Counts:
    counts = _Counts()
    for top in range(0, opened.shape[1], _ROWS):
        stored = opened.values[:, top : top + _ROWS]
        finite = np.isfinite(stored)
        measured = finite if opened.ignore is None else finite & (stored != opened.ignore)
        counts.total += stored.size
        counts.not_finite += int(np.count_nonzero(~finite))
        counts.below += int(np.count_nonzero((stored < 0) & measured))
        counts.above += int(np.count_nonzero((stored > 1) & measured))
        counts.zero += int(np.count_nonzero((stored == 0) & measured))
        counts.invalid += int(np.count_nonzero(~opened.valid(stored, top)))
        counts.constant += (
            int(np.count_nonzero(((stored == stored[:1]) & measured).all(axis=0))) if len(stored) > 1 else 0
        )
        if measured.any():
            counts.least = min(counts.least, float(stored[measured].min()))
            counts.greatest = max(counts.greatest, float(stored[measured].max()))
    return counts


def _range(steps: NDArray[np.float64]) -> str:
    low, high = float(steps.min()), float(steps.max())
    return f"{low:.4g}" if np.isclose(low, high, rtol=1e-3) else f"{low:.3g} to {high:.3g}"
