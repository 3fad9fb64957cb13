"""Readers and writers, one module a file format.

A module that reads cubes has `read(path) -> Cube`. Add a format by writing the module and naming its
suffixes in `READERS`; it is imported when the first file of that kind is opened.
"""

from __future__ import annotations

import importlib
import os
from io import BytesIO
from pathlib import Path, PurePosixPath

from hsdata.cube import Cube
from hsengine.base.errors import UserError

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


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether `path` names a place that fsspec reads (`http://`, `s3://`, `memory://`) rather than a local file."""
    return isinstance(path, str) and "://" in path


def fetched(url: str) -> BytesIO:
    """All the bytes of a file at a URL."""
    import fsspec

    system, path = fsspec.core.url_to_fs(url)
    return BytesIO(system.cat_file(path))


def access_error(source: str, error: Exception) -> UserError | None:
    """What to tell the user where a file could not be got at; None where its content is to blame."""
    if isinstance(error, PermissionError):
        return UserError(f"{source} cannot be read: check its permissions.")
    if isinstance(error, ImportError):
        return UserError(f"{source} needs a package that is not installed: {error}")
    if is_url(source) and isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return UserError(f"{source} cannot be reached ({error}): check the address and the connection.")
    return None


def open_cube(path: str | os.PathLike[str]) -> Cube:
    """Read a cube, whatever its format.

    Args:
        path: a file or a folder; HDF5 and Zarr can also be URLs of any file system that fsspec knows.

    Returns:
        The cube with values (bands, height, width) as they stand in the file and wavelengths in nm.

    Raises:
        UserError: nothing is there, no reader knows the suffix, or the content is not a sound cube.
    """
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
    module = importlib.import_module(f"hsdata.formats.{READERS[suffix]}")
    cube: Cube = module.read(path)
    return cube
