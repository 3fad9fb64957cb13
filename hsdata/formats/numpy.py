"""NumPy files, `.npy` with a list of wavelengths beside it, or `.npz` with both."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsdata.cube import Cube
from hsdata.formats import wavelengths as lists
from hsdata.formats.capture import Capture, assemble
from hsengine.base import reading
from hsengine.base.errors import UserError

_MAGIC = b"\x93NUMPY"


def read(path: str | os.PathLike[str]) -> Cube:
    """Read a NumPy file with its wavelengths as a cube; see `load`."""
    return load(path).cube()


def load(
    path: str | os.PathLike[str],
    *,
    variable: str | None = None,
    wavelengths: NDArray[np.float64] | None = None,
    axes: str | None = None,
    mask: str | None = None,
) -> Capture:
    """Open a NumPy file; the values of a `.npy` are a memory map.

    Args:
        path: the file.
        variable: name of the image in a `.npz`.
        wavelengths: (bands,) in nm; else those in the `.npz`, or of a list beside the file
            (`<name>_wavelengths.csv`, `.txt` or `.npy`).
        axes: order of the image's axes, one of `hsdata.formats.capture.AXES`.
        mask: name of the mask of valid pixels in a `.npz`.

    Raises:
        UserError: the file is missing or damaged; or see `assemble`.
    """
    file = Path(path)
    source = str(path)
    arrays: dict[str, Any]
    try:
        arrays = _archived(file) if file.suffix.lower() == ".npz" else {file.stem: mapped(file)}
    except (OSError, ValueError) as error:
        raise UserError(f"{source} is missing, damaged or no NumPy file ({error}).") from None
    beside = lists.beside(file)
    if wavelengths is None and beside is not None:
        wavelengths = lists.read_list(beside)
    return assemble(arrays, source, variable=variable, wavelengths=wavelengths, axes=axes, mask=mask)


def mapped(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array of a `.npy` file as a memory map; objects are not loaded, as they could run code.

    Raises:
        UserError: the file is missing, damaged, or an archive of arrays.
    """
    reading.check_kind(path)
    with reading.explaining(path, "a NumPy array"), Path(path).open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise UserError(f"{path} is empty, damaged or no NumPy file of one array (.npy): get the file again.")
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _archived(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of numbers in an archive, each checked against the file's size before it is read."""
    if not zipfile.is_zipfile(file):
        raise UserError(f"{file} is truncated, damaged or no archive of NumPy arrays (.npz): get the file again.")
    stored = file.stat().st_size
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                if version not in headers:
                    raise ValueError(f"{member.filename} is of version {version} of the format")
                shape, _, dtype = headers[version](stream)
            reading.check_size(file, math.prod(shape) * dtype.itemsize, stored)
            if dtype.kind in "fiub":
                with archive.open(member) as stream:
                    array = np.lib.format.read_array(stream, allow_pickle=False)
                arrays[member.filename.removesuffix(".npy")] = array
    return arrays
