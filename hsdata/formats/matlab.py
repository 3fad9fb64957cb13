"""MATLAB files: v5 by a reader of this package, v4 by SciPy, v7.3 (which is HDF5) by h5py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsdata.cube import Cube
from hsdata.formats import _mat5
from hsdata.formats.capture import Capture, assemble, check_declared, hdf5_arrays
from hsdata.formats.hdf5 import file_of
from hsengine.base.errors import UserError


def read(path: str | os.PathLike[str]) -> Cube:
    """Read the image of a MATLAB file as a cube; see `load`."""
    return load(path).cube()


def load(
    path: str | os.PathLike[str],
    *,
    variable: str | None = None,
    wavelengths: NDArray[np.float64] | None = None,
    axes: str | None = None,
    mask: str | None = None,
) -> Capture:
    """Find image, wavelengths and mask among the variables of a MATLAB file, also inside structures.

    Args:
        path: the file.
        variable: name of the image; fields of structures are named `structure.field`.
        wavelengths: (bands,) in nm, in place of the file's.
        axes: order of the image's axes in MATLAB, one of `hsdata.formats.capture.AXES`.
        mask: name of the mask of valid pixels.

    Raises:
        UserError: the file is missing, damaged or no MATLAB file; or see `assemble`.
    """
    source = str(path)
    try:
        with Path(path).open("rb") as stream:
            start = stream.read(128)
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror}.") from None
    options: Any = {"variable": variable, "wavelengths": wavelengths, "axes": axes, "mask": mask}
    try:
        if start.startswith(b"MATLAB 7.3") or start.startswith(b"\x89HDF"):
            with file_of(path) as file:
                # MATLAB writes arrays by columns: seen from C, their axes are reversed.
                arrays = {name: _Reversed(array) for name, array in hdf5_arrays(file).items()}
                renamed = {name.replace("/", "."): array for name, array in arrays.items() if name[:1] != "#"}
                return assemble(renamed, source, **options)
        return assemble(_version_5(path, start), source, **options)
    except UserError:
        raise
    # SciPy and HDF5 have no common base of what they raise about a damaged file.
    except Exception as error:
        raise UserError(f"{source} is damaged or no MATLAB file ({error}); get the file again.") from error


class _Reversed:
    """A dataset of a v7.3 file with its axes in MATLAB's order, read when indexed."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.shape: tuple[int, ...] = tuple(reversed(dataset.shape))

    def __getitem__(self, key: Any) -> Any:
        check_declared(self._dataset, self._dataset.file.filename if hasattr(self._dataset, "file") else "")
        return np.asarray(self._dataset[()]).T[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[()], dtype=dtype)


def _version_5(path: str | os.PathLike[str], start: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of numbers of a file of version 5, or of version 4, which begins with a small number."""
    if 0 not in start[:4]:
        return _mat5.arrays(Path(path).read_bytes(), str(path))
    from scipy.io import loadmat

    found = loadmat(path)
    return {
        name: value for name, value in found.items() if isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    }
