"""Cubes in HDF5: the challenge's `hsi_61/<id>.h5`, in either axis order."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import fsspec
import h5py
import numpy as np
from numpy.typing import NDArray

from hsdata.cube import Cube
from hsdata.formats.access import access_error, is_url
from hsdata.formats.capture import AXES, Capture, assemble, check_declared, hdf5_arrays
from hsdata.formats.heaps import text_attribute
from hsengine.base import locks, reading
from hsengine.base.errors import UserError
from hsengine.base.files import replacing

if TYPE_CHECKING:
    from typing_extensions import Buffer

BANDS_LAST = "height,width,bands"
BANDS_FIRST = "bands,height,width"

# Rows read at a time where the file does not suggest a number: a strip of a 1024-pixel frame is then 16 MB.
_STRIP = 64


@dataclass(frozen=True)
class Opened:
    """A cube in an open file, read by strips of whole rows.

    Attributes:
        shape: (bands, height, width).
        wavelengths: (bands,) float64 in nm.
        mask: (height, width) bool or None.
        rows: height of a strip that cuts through no storage chunk.
        bands_last: whether the file stores (height, width, bands).
    """

    source: str
    shape: tuple[int, int, int]
    wavelengths: NDArray[np.float64]
    mask: NDArray[np.bool_] | None
    rows: int
    bands_last: bool
    _chunk_rows: int
    _values: Any

    def read(self, top: int = 0, height: int | None = None) -> NDArray[np.float32]:
        """Rows `top` to `top + height` as float32 (bands, height, width), a transposed view if bands are last.

        Raises:
            UserError: the stored bytes cannot be decoded.
        """
        bottom = self.shape[1] if height is None else min(top + height, self.shape[1])
        selection = np.s_[top:bottom] if self.bands_last else np.s_[:, top:bottom]
        bands, _, width = self.shape
        extent = (bottom - top, width, bands) if self.bands_last else (bands, bottom - top, width)
        values = np.empty(extent, dtype=np.float32)
        if values.size:
            with _explaining(self.source):
                self._values.read_direct(values, selection)
        return np.moveaxis(values, 2, 0) if self.bands_last else values

    def strips(self, multiple: int = 1) -> Iterator[NDArray[np.float32]]:
        """The cube from top to bottom in strips as `read` gives them; all but the last have a multiple of rows.

        No storage chunk is decoded twice.
        """
        step = math.lcm(self._chunk_rows, multiple)
        step *= -(-_STRIP // step)
        for top in range(0, self.shape[1], step):
            yield self.read(top, step)


def read(path: str | os.PathLike[str], *, dataset: str = "cube", wavelengths: str = "wavelengths") -> Cube:
    """Read a cube stored as (height, width, bands) or (bands, height, width).

    The band axis is the one as long as the list of wavelengths, or what the dataset's attribute
    `axes` says (`height,width,bands` or `bands,height,width`).

    Args:
        path: a file, or a URL of any file system that fsspec knows.
        dataset: name of the dataset of values in the file.
        wavelengths: name of the dataset of band centres, in nm.

    Raises:
        UserError: the file is missing, truncated or not HDF5; a dataset is missing; or the axes do not
            tell which holds the bands.
    """
    with opened(path, dataset=dataset, wavelengths=wavelengths) as cube:
        reading.check_size(path, math.prod(cube.shape) * 4, math.prod(cube.shape))
        if not cube.bands_last:
            return Cube(cube.read(), cube.wavelengths, cube.source, cube.mask)
        values = np.empty(cube.shape, dtype=np.float32)
        # Transposed row by row, source and destination stay in the processor's cache.
        rows = (strip[:, row] for strip in cube.strips() for row in range(strip.shape[1]))
        for index, row in enumerate(rows):
            values[:, index] = row
        return Cube(values, cube.wavelengths, cube.source, cube.mask)


def load(
    path: str | os.PathLike[str],
    *,
    variable: str | None = None,
    wavelengths: NDArray[np.float64] | None = None,
    axes: str | None = None,
    mask: str | None = None,
) -> Capture:
    """Find image, wavelengths and mask among the datasets of any HDF5 file.

    Args:
        path: the file.
        variable: name of the image; `cube` where there is one.
        wavelengths: (bands,) in nm, in place of the file's.
        axes: order of the image's axes, one of `hsdata.formats.capture.AXES`, in place of what the file says.
        mask: name of the mask of valid pixels.

    Raises:
        UserError: the file is missing, damaged or not HDF5; or see `assemble`.
    """
    source = str(path)
    with _explaining(source), file_of(source) as file:
        arrays = hdf5_arrays(file)
        if variable is None and "cube" in arrays:
            variable = "cube"
        if axes is None and variable in arrays:
            stated = text_attribute(file[variable], "axes")
            axes = stated if stated in AXES else None
        return assemble(arrays, source, variable=variable, wavelengths=wavelengths, axes=axes, mask=mask)


def file_of(path: str | os.PathLike[str]) -> h5py.File:
    """An HDF5 file to read; without a lock against writers where the file system knows none."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno not in locks.UNKNOWN:
            raise
        return h5py.File(path, "r", locking=False)


@contextmanager
def opened(
    path: str | os.PathLike[str], *, dataset: str = "cube", wavelengths: str = "wavelengths"
) -> Iterator[Opened]:
    """Open a cube to read it by strips; see `read` for arguments and errors."""
    source = str(path)
    with ExitStack() as stack:
        with _explaining(source):
            local = _fetched(source, stack) if is_url(path) else source
            file = stack.enter_context(file_of(local))
            values = _dataset(file, dataset, source)
            for name in (dataset, wavelengths, "mask"):
                check_declared(file.get(name), source, whole=name != dataset)
            centres = np.asarray(_dataset(file, wavelengths, source)[()], dtype=np.float64).reshape(-1)
            mask = np.asarray(file["mask"][()], dtype=np.bool_) if "mask" in file else None
        if values.ndim != 3 or values.dtype.kind not in "fiu":
            raise UserError(
                f"{source}: dataset '{dataset}' must hold numbers on 3 axes, "
                f"not {values.dtype} of shape {values.shape}."
            )
        bands_last = _bands_last(values, len(centres), source)
        stored = values.shape
        shape = (stored[2], stored[0], stored[1]) if bands_last else stored
        chunk_rows = values.chunks[0 if bands_last else 1] if values.chunks else 1
        rows = -(-_STRIP // chunk_rows) * chunk_rows
        if 0 in shape or not (np.isfinite(centres) & (centres > 0)).all():
            fault = f"shape {values.shape}" if 0 in shape else "wavelengths that are not finite numbers above 0"
            raise UserError(f"{source} holds a cube with {fault}: mend or leave out the file.")
        yield Opened(source, shape, centres, mask, rows, bands_last, chunk_rows, values)


def write(path: str | os.PathLike[str], cube: Cube, *, gzip: int | None = None) -> None:
    """Write `cube` (height, width, bands), `wavelengths` and, where there is one, `mask`.

    Equal cubes give equal bytes as long as `gzip` is None; compressed bytes depend on the zlib build.

    Args:
        path: the file; what stood there before is replaced, whole or not at all.
        cube: the values to store, as float32.
        gzip: compression level 1 to 9, in chunks of 64 x 64 pixels; None stores the values plainly.

    Raises:
        UserError: the disk is full or the place cannot be written.
    """
    bands, height, width = cube.values.shape
    single = cube.wavelengths.astype(np.float32)
    centres = single if np.array_equal(single, cube.wavelengths) else cube.wavelengths
    layout: dict[str, Any] = {}
    if gzip is not None:
        layout = {"compression": "gzip", "compression_opts": gzip, "chunks": (min(64, height), min(64, width), bands)}
    with replacing(path) as scratch, scratch.open("w+b", buffering=0) as stream:
        sink = _Sink(stream)
        # Old object headers hold no times, so that equal cubes give equal files.
        with h5py.File(sink, "w", libver=("earliest", "v110")) as file:
            values = file.create_dataset("cube", (height, width, bands), np.float32, track_times=False, **layout)
            values.attrs["axes"] = BANDS_LAST
            for top in range(0, height, _STRIP):
                values[top : top + _STRIP] = np.ascontiguousarray(np.moveaxis(cube.values[:, top : top + _STRIP], 0, 2))
                sink.check()
            stored = file.create_dataset("wavelengths", data=centres, track_times=False)
            stored.attrs["units"] = "nm"
            if cube.mask is not None:
                file.create_dataset("mask", data=cube.mask.astype(np.uint8), track_times=False)
        sink.check()


class _Sink:
    """A file for HDF5 to write that never fails before its eyes.

    HDF5 takes the interpreter down when it cannot write what it holds back until a file is closed. The first
    error is kept here instead, for the caller to raise.
    """

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self._error: OSError | None = None
        self.seek, self.tell, self.read, self.readinto = stream.seek, stream.tell, stream.read, stream.readinto

    def check(self) -> None:
        """Raise the first error met in writing."""
        if self._error is not None:
            raise self._error

    def write(self, content: Buffer) -> int:
        view = memoryview(content).cast("B")
        written = 0
        try:
            while self._error is None and written < len(view):
                written += self._stream.write(view[written:])
        except OSError as error:
            self._error = error
        return len(view)

    def truncate(self, size: int) -> int:
        try:
            self._stream.truncate(size)
        except OSError as error:
            self._error = self._error or error
        return size

    def flush(self) -> None:
        """Nothing is buffered."""


def _fetched(url: str, stack: ExitStack) -> str:
    """A local copy of a remote file: all of it will be read, and not every server sends parts."""
    copy = Path(stack.enter_context(TemporaryDirectory(prefix="cube-"))) / "cube.h5"
    try:
        system, path = fsspec.core.url_to_fs(url)
        system.get_file(path, str(copy))
    except Exception as error:
        raise access_error(url, error) or error from error
    return str(copy)


def _bands_last(values: Any, bands: int, source: str) -> bool:
    """Whether the last axis holds the bands; else the first does."""
    first, last = values.shape[0] == bands, values.shape[2] == bands
    if first and last:
        stated = text_attribute(values, "axes")
        if stated in (BANDS_FIRST, BANDS_LAST):
            return stated == BANDS_LAST
        raise UserError(
            f"{source}: both the first and the last axis of {values.shape} could be the {bands} bands; "
            f"set the attribute 'axes' of the dataset to '{BANDS_LAST}' or '{BANDS_FIRST}'."
        )
    if not first and not last:
        raise UserError(
            f"{source}: the cube has shape {values.shape} but there are {bands} wavelengths; "
            "the first or the last axis must have one entry per wavelength."
        )
    return bool(last)


def _dataset(file: Any, name: str, source: str) -> Any:
    if name in file and isinstance(file[name], h5py.Dataset):
        return file[name]
    found: list[str] = []
    file.visititems(lambda key, item: found.append(key) if isinstance(item, h5py.Dataset) else None)
    raise UserError(
        f"{source} has no dataset '{name}' (it holds: {', '.join(sorted(found)) or 'none'}); "
        "bring it into the project's form with 'hsdata import', which can name the datasets."
    )


@contextmanager
def _explaining(source: str) -> Iterator[None]:
    """Turn what HDF5 and file systems raise about an unreadable file into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"There is no cube at {source}: check the path.") from None
    except PermissionError:
        raise UserError(f"{source} cannot be read: check its permissions.") from None
    # HDF5 and remote file systems have no common base of their errors.
    except Exception as error:
        raise UserError(
            f"{source} is truncated, damaged or not HDF5 ({reading.reason(error)}); get the file again "
            "('dvc pull' or download)."
        ) from error
