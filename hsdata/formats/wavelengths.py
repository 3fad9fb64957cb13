"""Lists of wavelengths: their names in files, their units, and files that hold nothing else."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsengine.base import reading
from hsengine.base.errors import UserError

NAMES = (
    "wavelengths", "wavelength", "wl", "wls", "wvl", "wvls", "wavelist", "lambda", "lambdas", "bandcenters",
    "bandcentres", "centralwavelengths", "centerwavelengths", "wave", "waves",
)  # fmt: skip
_MICROMETRES = ("um", "µm", "μm", "micrometers", "micrometres", "micrometer", "micrometre", "microns", "micron")
_NANOMETRES = ("nm", "nanometers", "nanometres", "nanometer", "nanometre")
# No imaging spectrometer measures below 100 nm or beyond 100 µm: smaller figures are µm.
_LEAST_NM = 100.0
# Longer lists are something else.
_MOST = 100_000


def in_nm(values: NDArray[np.float64], units: str | None) -> tuple[NDArray[np.float64], str | None]:
    """Wavelengths in nm, and what had to be inferred about their unit."""
    name = (units or "").strip().lower()
    if name in _NANOMETRES:
        return values, None
    if name in _MICROMETRES:
        return values * 1000.0, None
    if name in ("wavenumber", "cm-1"):
        with np.errstate(divide="ignore"):
            return 1e7 / values, None
    if name not in ("", "unknown", "index"):
        raise UserError(f"wavelengths in '{units}' cannot be read: give them in nm or µm.")
    if len(values) and np.max(values, initial=0.0, where=np.isfinite(values)) < _LEAST_NM:
        return values * 1000.0, "wavelengths taken for µm, by their size"
    return values, None


def read_list(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """A list of wavelengths in nm from a `.npy`, CSV or text file.

    In a table, the column is the one whose title says so (such as `wavelength` or `nm`), or the only one.

    Raises:
        UserError: the file is missing or no column of it can be told to be wavelengths.
    """
    file = Path(path)
    if file.suffix.lower() == ".npy":
        reading.check_kind(file)
        with reading.explaining(file, "a list of wavelengths"):
            stored = np.load(file, mmap_mode="r", allow_pickle=False)
            if stored.size > _MOST:
                raise UserError(f"{file} holds {stored.size:,} numbers: a list of wavelengths has at most {_MOST:,}.")
            return _finite(in_nm(np.asarray(stored, dtype=np.float64).reshape(-1), None)[0], file)
    try:
        rows = [row for row in _table(reading.text(file, "a list of wavelengths")) if row]
    except csv.Error as error:
        raise UserError(f"{file} holds no list of wavelengths ({error}).") from None
    rows = [row for row in rows if row[0][:1] not in ("#", ";", "%")]
    titles = rows.pop(0) if rows and not all(_is_number(cell) for cell in rows[0]) else []
    column = next((n for n, title in enumerate(titles) if _is_title(title)), None)
    if column is None and len(rows) == 1:
        rows, column = [[cell] for cell in rows[0]], 0
    if column is None and rows and all(len(row) == 1 for row in rows):
        column = 0
    try:
        if column is None or not rows:
            raise ValueError("no column titled 'wavelength'")
        numbers = np.array([float(row[column]) for row in rows])
    except (ValueError, IndexError) as error:
        raise UserError(f"{file} holds no list of wavelengths ({error}): put one number in nm on each line.") from None
    units = "um" if titles and re.search(r"\b[uµμ]m\b|_[uµμ]m\b|micro", titles[column].lower()) else None
    return _finite(in_nm(numbers, units)[0], file)


def _finite(values: NDArray[np.float64], file: Path) -> NDArray[np.float64]:
    if not np.isfinite(values).all():
        raise UserError(f"{file} holds wavelengths that are not finite numbers: mend the list.")
    return values


def beside(path: Path) -> Path | None:
    """The file with a capture's wavelengths that lies beside it, if there is one."""
    names = [
        f"{path.stem}_wavelengths",
        f"{path.stem}.wavelengths",
        f"{path.stem}-wavelengths",
        path.stem,
        "wavelengths",
    ]
    for name in names:
        for suffix in (".csv", ".txt", ".npy"):
            file = path.parent / f"{name}{suffix}"
            if file.is_file() and file != path:
                return file
    return None


def bare_name(name: str) -> str:
    """The last part of a variable's path without its unit, letters only, in lower case."""
    last = re.split(r"[./@]", name)[-1].lower()
    return re.sub(r"[^a-z]", "", re.sub(r"[^a-z](nm|um|µm|μm)\W*$", "", last))


def is_wavelengths(name: str) -> bool:
    """Whether a variable of that name holds wavelengths."""
    return bare_name(name) in NAMES or "wavelength" in bare_name(name)


def _is_title(title: str) -> bool:
    units = title.strip().lower() in (*_NANOMETRES, *_MICROMETRES)
    return units or is_wavelengths(title) or bare_name(title) in ("center", "centre")


def _table(text: str) -> list[list[str]]:
    """The cells of each line, whatever separates them."""
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = next((mark for mark in (",", ";", "\t") if mark in text), None)
    if delimiter is None:
        return [line.split() for line in lines]
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    # A comma at the end of each line makes no second column.
    return [row[:-1] if len(row) > 1 and not row[-1] else row for row in rows]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
