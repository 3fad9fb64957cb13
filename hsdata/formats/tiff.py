"""Multi-band TIFF files, by the optional package tifffile."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from hsdata.cube import Cube
from hsdata.formats import wavelengths as lists
from hsdata.formats.capture import Capture, bands_first
from hsengine.base import reading
from hsengine.base.errors import UserError

_GDAL_METADATA = 42112
_GDAL_NODATA = 42113


def read(path: str | os.PathLike[str]) -> Cube:
    """Read a TIFF file with its wavelengths as a cube; see `load`."""
    return load(path).cube()


def load(
    path: str | os.PathLike[str], *, wavelengths: NDArray[np.float64] | None = None, axes: str | None = None
) -> Capture:
    """Open a TIFF file with one page or one sample a band.

    Args:
        path: the file.
        wavelengths: (bands,) in nm; else those of GDAL's metadata in the file, or of a list beside it
            (`<name>_wavelengths.csv`, `.txt` or `.npy`).
        axes: order of the image's axes, one of `hsdata.formats.capture.AXES`.

    Raises:
        UserError: tifffile is not installed, the file is missing or damaged, or the axes are ambiguous.
    """
    try:
        import tifffile
    except ImportError:
        raise UserError(f"{path}: TIFF files need the package tifffile: pip install tifffile") from None
    source = str(path)
    try:
        with tifffile.TiffFile(source) as file:
            # Counting finds pages that lead back to one before; going through them uncounted would not end.
            len(file.pages)
            page: Any = file.pages[0]
            tags = page.tags
            metadata = str(tags[_GDAL_METADATA].value) if _GDAL_METADATA in tags else ""
            ignore = str(tags[_GDAL_NODATA].value) if _GDAL_NODATA in tags else ""
            series = file.series[0]
            reading.check_size(source, series.size * series.dtype.itemsize, Path(path).stat().st_size)
            values = np.squeeze(series.asarray())
    except UserError:
        raise
    # The decoders of tifffile raise what their libraries raise.
    except Exception as error:
        raise UserError(f"{source} is damaged or no TIFF file ({error}); get the file again.") from error
    notes = []
    beside = lists.beside(Path(path))
    if wavelengths is None and metadata:
        wavelengths = _gdal_wavelengths(metadata)
    if wavelengths is None and beside is not None:
        wavelengths = lists.read_list(beside)
        notes.append(f"wavelengths: {beside.name}")
    if values.ndim != 3:
        raise UserError(f"{source}: an image with 3 axes is needed, not shape {values.shape}.")
    count = None if wavelengths is None else len(wavelengths)
    return Capture(
        bands_first(values, count, axes, source),
        wavelengths,
        source,
        ignore=_number(ignore),
        notes=tuple(notes),
    )


def _gdal_wavelengths(metadata: str) -> NDArray[np.float64] | None:
    """The wavelengths in nm that GDAL keeps for each band, in the order of the bands."""
    try:
        items = ElementTree.fromstring(metadata).iter("Item")
    except ElementTree.ParseError:
        return None
    found: dict[int, float] = {}
    units = None
    for item in items:
        name = re.sub(r"[^a-z]", "", item.get("name", "").lower())
        number = re.search(r"[0-9.]+(?:[eE][-+]?\d+)?", item.text or "")
        if name in ("wavelength", "centralwavelength", "centralwavelengthum") and "sample" in item.attrib and number:
            found[int(item.attrib["sample"])] = float(number.group())
            units = "um" if name.endswith("um") else units
        elif name in ("wavelengthunit", "wavelengthunits"):
            units = item.text
    if not found or sorted(found) != list(range(len(found))):
        return None
    return lists.in_nm(np.array([found[band] for band in sorted(found)]), units)[0]


def _number(text: str) -> float | None:
    try:
        return float(text.strip("\x00 "))
    except ValueError:
        return None
