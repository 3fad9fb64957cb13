"""Readers and writers, one module a file format.

A module that reads cubes has `read(path) -> Cube` for cubes of this project's kind and `load(path, **options) ->
Capture` for an image as stored; where a capture is more than one file, also `files(path)`. Add a format by writing
the module and naming its suffixes in `READERS`; it is imported when the first file of that kind is opened.
"""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsdata.cube import Cube
from hsdata.formats.access import is_url
from hsdata.formats.capture import Capture
from hsengine.base import reading
from hsengine.base.errors import UserError

__all__ = ["READERS", "files", "is_url", "load", "open_cube"]
__loads__ = ("hsdata.formats.*",)

READERS: dict[str, str] = {
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".zarr": "zarr",
    ".hdr": "envi",
    ".raw": "envi",
    ".img": "envi",
    ".dat": "envi",
    ".bil": "envi",
    ".bip": "envi",
    ".bsq": "envi",
    ".mat": "matlab",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".npy": "numpy",
    ".npz": "numpy",
}
"""File suffix, in lower case, to the module of this package that reads it."""


def open_cube(path: str | os.PathLike[str]) -> Cube:
    """Read a cube, whatever its format.

    Args:
        path: a file or a folder; HDF5 and Zarr can also be URLs of any file system that fsspec knows.

    Returns:
        The cube with values (bands, height, width) as they stand in the file and wavelengths in nm.

    Raises:
        UserError: nothing is there, no reader knows the suffix, or the content is not a sound cube.
    """
    module = _module(path)
    with reading.explaining(path, _kind(module)):
        cube: Cube = module.read(path)
        return cube


def load(
    path: str | os.PathLike[str],
    *,
    variable: str | None = None,
    wavelengths: NDArray[np.float64] | None = None,
    axes: str | None = None,
    mask: str | None = None,
) -> Capture:
    """Open any image that a reader of this package knows, as stored.

    Args:
        path: the file, the folder of a Zarr store, or a URL of one that `open_cube` reads.
        variable: name of the image, for files with several arrays.
        wavelengths: (bands,) in nm, in place of the file's.
        axes: order of the image's axes, one of `hsdata.formats.capture.AXES`, where the file does not say.
        mask: name of the mask of valid pixels, for files with several arrays.

    Raises:
        UserError: the file is missing or damaged, something in it is ambiguous, or an option does not
            apply to files of its kind.
    """
    given: dict[str, Any] = {"variable": variable, "wavelengths": wavelengths, "axes": axes, "mask": mask}
    options = {name: value for name, value in given.items() if value is not None}
    if is_url(path):
        if options:
            raise UserError(f"{path}: the option '{next(iter(options))}' does not apply to URLs; get the file first.")
        return Capture.of(open_cube(path))
    module = _module(path)
    known = inspect.signature(module.load).parameters
    for name in options:
        if name not in known:
            raise UserError(f"{path}: the option '{name}' does not apply to {Path(path).suffix} files.")
    with reading.explaining(path, _kind(module)):
        capture: Capture = module.load(path, **options)
        return capture


def files(path: str | os.PathLike[str]) -> list[Path]:
    """All the files that a capture consists of: an ENVI header with its data, what a store holds, or the file."""
    place = Path(path)
    if is_url(path):
        return []
    if place.is_dir():
        return sorted(file for file in place.rglob("*") if file.is_file())
    own = getattr(_module(path), "files", None) if place.suffix.lower() in READERS else None
    return [place] if own is None else list(own(place))


def _module(path: str | os.PathLike[str]) -> Any:
    """The module that reads a file that is there."""
    remote = is_url(path)
    # A URL may carry a query behind the file's name.
    name = PurePosixPath(str(path).partition("?")[0]).name if remote else Path(path).name
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in READERS:
        raise UserError(
            f"{path}: no reader for '{suffix or name}'; known are {', '.join(sorted(READERS))}. "
            "Convert the file to one of these."
        )
    if not remote and not Path(path).exists():
        raise UserError(f"There is no cube at {path}: check the path.")
    if not remote:
        reading.check_kind(path, folder=True)
    return importlib.import_module(f"hsdata.formats.{READERS[suffix]}")


def _kind(module: Any) -> str:
    return str(module.__name__.rpartition(".")[2])
