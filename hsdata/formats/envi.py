"""ENVI: a text header (`.hdr`) beside a file of bare numbers, in any interleave."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsdata.cube import Cube
from hsdata.formats import wavelengths as lists
from hsdata.formats.capture import Capture
from hsengine.base import reading
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_array, write_text

Interleave = Literal["bsq", "bil", "bip"]

_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = {6, 9}
# Which of the file's axes bands, height and width are.
_ORDER = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (2, 0, 1)}
_NOT_DATA = {".hdr", ".txt", ".csv", ".xml", ".png", ".jpg", ".jpeg", ".json", ".enp", ".sta", ".aux", ".md", ".kml"}
_NO_DATA = -9999.0
# Bytes of a header: thousands of bands with their names need less.
_LONGEST = 16 << 20


def read(path: str | os.PathLike[str]) -> Cube:
    """Read an ENVI image as a cube; a scale factor in the header is applied.

    Args:
        path: the header or the file of data.

    Raises:
        UserError: see `load`; or the header names no wavelengths.
    """
    return load(path).cube()


def load(path: str | os.PathLike[str], *, wavelengths: NDArray[np.float64] | None = None) -> Capture:
    """Open an ENVI image; its values are a memory map.

    Args:
        path: the header or the file of data.
        wavelengths: (bands,) in nm, in place of the header's.

    Raises:
        UserError: one of the two files is missing, the header is incomplete, or the data are shorter
            than the header says.
    """
    header_path, data_path = files(Path(path))
    header = read_header(header_path)
    source = str(header_path)
    samples, lines, bands = (_integer(header, key, source) for key in ("samples", "lines", "bands"))
    interleave = str(header.get("interleave", "bsq")).lower()
    if interleave not in _ORDER:
        raise UserError(f"{source}: interleave '{interleave}' is not one of {', '.join(_ORDER)}.")
    dtype = _dtype(header, source)
    offset = _integer(header, "header offset", source, 0)
    _check_size(data_path, header, offset, samples * lines * bands * dtype.itemsize, source)
    sizes = (bands, lines, samples)
    order = _ORDER[interleave]
    stored = np.memmap(data_path, dtype, "r", offset, tuple(sizes[sizes_axis] for sizes_axis in _places(order)))
    notes = [f"{interleave}, {np.dtype(dtype).name}"]
    if wavelengths is None and "wavelength" in header:
        # A band of unknown wavelength is left out when the capture is brought to a grid.
        numbers = _numbers(header, "wavelength", bands, source, finite=False)
        wavelengths, told = lists.in_nm(numbers, str(header.get("wavelength units", "")))
        notes += [told] if told else []
    good = _numbers(header, "bbl", bands, source) != 0 if "bbl" in header else None
    scale = _number(header, "reflectance scale factor", source)
    if scale is not None and scale < 0.0:
        raise UserError(f"{source}: 'reflectance scale factor = {scale:g}' is not above 0.")
    return Capture(
        np.transpose(stored, order),
        wavelengths,
        str(data_path),
        scale=None if scale in (None, 0.0) else scale,
        good=good,
        ignore=_number(header, "data ignore value", source, finite=False),
        notes=tuple(notes),
    )


def write(
    path: str | os.PathLike[str], cube: Cube, *, interleave: Interleave = "bil", description: str = ""
) -> tuple[Path, Path]:
    """Write a cube as float32 reflectance with its wavelengths; masked pixels get the header's ignore value.

    Args:
        path: the header, `.hdr`; the data go beside it under the suffix `.img`.
        cube: the cube.
        interleave: order of the numbers.
        description: free text for the header.

    Returns:
        The header and the file of data.

    Raises:
        UserError: the suffix is another, the disk is full or the place cannot be written.
    """
    header_path = Path(path)
    if header_path.suffix.lower() != ".hdr":
        raise UserError(f"{header_path}: the header of an ENVI image ends in .hdr.")
    if interleave not in _ORDER:
        raise UserError(f"interleave '{interleave}' is not one of {', '.join(_ORDER)}.")
    data_path = header_path.with_suffix(".img")
    values = cube.values
    if cube.mask is not None:
        values = np.where(cube.mask[None], values, np.float32(_NO_DATA))
    lines = [
        "ENVI",
        f"description = {{{re.sub('[{}]', '', description) or cube.source}}}",
        f"samples = {cube.width}",
        f"lines = {cube.height}",
        f"bands = {cube.bands}",
        "header offset = 0",
        "file type = ENVI Standard",
        "data type = 4",
        f"interleave = {interleave}",
        "byte order = 0",
        *([f"data ignore value = {_NO_DATA:g}"] if cube.mask is not None else []),
        "wavelength units = Nanometers",
        "wavelength = {" + ",\n ".join(f"{wavelength:.10g}" for wavelength in cube.wavelengths) + "}",
    ]
    with replacing(data_path) as scratch:
        write_array(scratch, np.transpose(values, _places(_ORDER[interleave])).astype("<f4"), header=False)
        # In place before the numbers are: should a run end between the two, it says whose they are.
        write_text(header_path, "\n".join(lines) + "\n")
    return header_path, data_path


def read_header(path: str | os.PathLike[str]) -> dict[str, str | list[str]]:
    """The entries of an ENVI header, keys in lower case; lists in braces come as lists of strings.

    Raises:
        UserError: the file is no ENVI header.
    """
    try:
        reading.check_kind(path)
        with Path(path).open("rb") as stream:
            text = stream.read(_LONGEST).decode("utf-8", errors="replace").lstrip("\ufeff")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if not text.lstrip().upper().startswith("ENVI"):
        raise UserError(f"{path} is not an ENVI header: its first line must be 'ENVI'.")
    entries: dict[str, str | list[str]] = {}
    body = "\n".join(line for line in text.splitlines()[1:] if not line.lstrip().startswith(";"))
    for key, braced, plain in re.findall(
        r"^[ \t]*([^=\n{}]+?)[ \t]*=[ \t]*(?:\{([^}]*)\}|([^\n{]*))", body, re.MULTILINE
    ):
        name = re.sub(r"\s+", " ", key).lower()
        entries[name] = [part.strip() for part in braced.split(",") if part.strip()] if braced else plain.strip()
    return entries


def files(path: Path) -> tuple[Path, Path]:
    """The header and the file of data, given either."""
    if path.suffix.lower() != ".hdr":
        for header in (path.with_suffix(".hdr"), path.with_suffix(".HDR"), Path(f"{path}.hdr"), Path(f"{path}.HDR")):
            if header.is_file():
                return header, path
        raise UserError(f"{path} has no ENVI header beside it: {path.stem}.hdr is missing.")
    if not path.is_file():
        raise UserError(f"There is no ENVI header at {path}: check the path.")
    stem = path.with_suffix("")
    if stem.is_file():
        return path, stem
    beside = [
        file
        for file in sorted(path.parent.iterdir())
        if file.is_file() and file.stem == stem.name and file.suffix.lower() not in _NOT_DATA
    ]
    if len(beside) != 1:
        found = f"there are several: {', '.join(file.name for file in beside)}" if beside else "there is none"
        raise UserError(f"{path}: one file of data named {stem.name} must lie beside the header; {found}.")
    return path, beside[0]


def _places(order: tuple[int, ...]) -> tuple[int, ...]:
    """The axis of (bands, height, width) that stands at each place of the file."""
    return tuple(order.index(place) for place in range(3))


def _dtype(header: dict[str, Any], source: str) -> np.dtype[Any]:
    code = _integer(header, "data type", source)
    if code in _COMPLEX:
        raise UserError(f"{source}: complex numbers (data type {code}) are no reflectance.")
    if code not in _TYPES:
        raise UserError(f"{source}: data type {code} is not one of ENVI's: {', '.join(map(str, _TYPES))}.")
    order = _integer(header, "byte order", source, 0)
    if order not in (0, 1):
        raise UserError(f"{source}: 'byte order = {order}' is neither 0 (little-endian) nor 1 (big-endian).")
    return np.dtype(("<", ">")[order] + _TYPES[code])


def _check_size(data: Path, header: dict[str, Any], offset: int, needed: int, source: str) -> None:
    if str(header.get("file compression", "0")).strip() == "1":
        raise UserError(f"{source}: compressed ENVI data cannot be read; unpack them first.")
    frames = [key for key in ("major frame offsets", "minor frame offsets") if key in header]
    if any(_numbers(header, key, None, source).any() for key in frames):
        raise UserError(f"{source}: frame offsets are not supported; save the image without them.")
    size = data.stat().st_size
    if size < offset + needed:
        raise UserError(
            f"{data} has {size} bytes but {source} describes {offset + needed}: the data are truncated "
            "or the header belongs to another file."
        )


def _integer(header: dict[str, Any], key: str, source: str, default: int | None = None) -> int:
    if key not in header and default is None:
        raise UserError(f"{source} has no entry '{key}', which an image needs.")
    number = _number(header, key, source)
    value = default if number is None else int(number)
    if value is None or value != (number or value) or value < 0 or (default is None and value == 0):
        raise UserError(f"{source}: '{key} = {header.get(key)}' is not a positive whole number.")
    return value


def _number(header: dict[str, Any], key: str, source: str, *, finite: bool = True) -> float | None:
    entry = header.get(key)
    if entry in (None, "", []):
        return None
    if isinstance(entry, list):
        return float(_numbers(header, key, 1, source, finite=finite)[0])
    try:
        number = float(entry)
    except ValueError:
        raise UserError(f"{source}: '{key} = {entry}' is not a number.") from None
    if finite and not math.isfinite(number):
        raise UserError(f"{source}: '{key} = {entry}' is not a finite number.")
    return number


def _numbers(
    header: dict[str, Any], key: str, count: int | None, source: str, *, finite: bool = True
) -> NDArray[np.float64]:
    entry = header[key]
    try:
        numbers = np.array([float(part) for part in ([entry] if isinstance(entry, str) else entry)])
    except ValueError as error:
        raise UserError(f"{source}: '{key}' holds something that is not a number ({error}).") from None
    if finite and not np.isfinite(numbers).all():
        raise UserError(f"{source}: '{key}' holds a number that is not finite.")
    if count is not None and len(numbers) != count:
        wanted = "where one is needed" if count == 1 else f"for {count} bands"
        raise UserError(f"{source}: '{key}' lists {len(numbers)} numbers {wanted}.")
    return numbers
