"""NumPy files, `.npy` with a list of wavelengths beside it, or `.npz` with both."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsdata.cube import Cube
from hsdata.formats import wavelengths as lists
from hsdata.formats.capture import Capture, assemble
from hsengine.base.errors import UserError


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
        if file.suffix.lower() == ".npz":
            with np.load(file) as archive:
                arrays = {name: archive[name] for name in archive.files}
        else:
            arrays = {file.stem: np.load(file, mmap_mode="r")}
    except (OSError, ValueError) as error:
        raise UserError(f"{source} is missing, damaged or no NumPy file ({error}).") from None
    if any(array.dtype.kind not in "fiub" for array in arrays.values()):
        arrays = {name: array for name, array in arrays.items() if array.dtype.kind in "fiub"}
    beside = lists.beside(file)
    if wavelengths is None and beside is not None:
        wavelengths = lists.read_list(beside)
    return assemble(arrays, source, variable=variable, wavelengths=wavelengths, axes=axes, mask=mask)
