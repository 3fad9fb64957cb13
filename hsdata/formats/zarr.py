"""Cubes in Zarr v3: one array a cube, one shard an array, chunks that hold all bands of a square.

Values are (bands, height, width); the attributes hold `wavelengths` in nm, `source` and, for integers,
`scale_factor` and `add_offset`. A cube is two files, and a crop reads only the chunks under it.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
import zarr.codecs
import zarr.storage
from numpy.typing import NDArray

from hsdata.cube import Cube
from hsdata.formats._shard import DamagedError, Grid, LocalFile, RemoteFile, ShardReader, ShardWriter
from hsdata.formats.access import access_error, is_url
from hsdata.formats.capture import Capture
from hsengine.base.errors import UserError
from hsengine.base.files import replacing
from hsengine.base.reading import reason

Dtype = Literal["float32", "float16", "uint16"]

# LZ4 after a byte shuffle decodes more than twice as fast as after a bit shuffle and stores 8 % more.
_COMPRESSOR: Literal["lz4"] = "lz4"
_LEVEL = 5
_SHUFFLE: Literal["shuffle"] = "shuffle"
_SHUFFLE_NUMBER = 1

# Steps between the levels of uint16.
_LEVELS = 65535


def read(path: str | os.PathLike[str]) -> Cube:
    """Read a whole cube; `path` can be a URL of any file system that fsspec knows.

    Raises:
        UserError: the store is missing, incomplete or damaged.
    """
    store = ZarrCube(path)
    return Cube(store.read(), store.wavelengths, str(path))


def load(path: str | os.PathLike[str]) -> Capture:
    """Read a whole cube as a capture; see `read`."""
    return Capture.of(read(path))


def write(
    path: str | os.PathLike[str], cube: Cube, *, chunk: int = 64, dtype: Dtype = "float32", source: str | None = None
) -> float:
    """Write a cube; what stood at `path` is replaced, whole or not at all.

    Equal cubes give equal bytes (with the same versions of Zarr and Blosc).

    Args:
        path: the store, a folder.
        cube: values (bands, height, width), contiguous or not.
        chunk: side of a chunk in pixels.
        dtype: float32 keeps every bit; float16 and uint16 halve the size. uint16 spans the cube's own range
            in 65535 equal steps, see `scaling_of`.
        source: what the attribute `source` says; the store's name without suffix by default.

    Returns:
        The largest absolute difference between the cube and what a reader gets.

    Raises:
        UserError: the values do not fit `dtype`, the disk is full or the place cannot be written.
    """
    return write_strips(
        path,
        (cube.values[:, top : top + chunk] for top in range(0, cube.height, chunk)),
        shape=(cube.bands, cube.height, cube.width),
        wavelengths=cube.wavelengths,
        chunk=chunk,
        dtype=dtype,
        scaling=scaling_of(cube.values, path) if dtype == "uint16" else None,
        source=source,
    )


def scaling_of(values: NDArray[np.float32], path: str | os.PathLike[str]) -> tuple[float, float]:
    """Step and least value with which 65536 levels of uint16 span the values of a cube.

    Values that are multiples of a power of two already, such as counts of a sensor over 2**16, get that step
    and are then stored exactly.

    Args:
        values: (bands, height, width), the whole cube.
        path: where it is stored, for the message.

    Raises:
        UserError: a value is not finite.
    """
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise UserError(f"{path}: values that are not finite cannot be stored as uint16; choose dtype float32.")
    if low == high:
        return 1.0, low
    step = 2.0 ** math.ceil(math.log2((high - low) / _LEVELS))
    base = math.floor(low / step) * step
    if (high - base) / step <= _LEVELS and all(np.array_equal(band, np.rint(band / step) * step) for band in values):
        return step, base
    return (high - low) / _LEVELS, low


def write_strips(
    path: str | os.PathLike[str],
    strips: Iterable[NDArray[np.float32]],
    *,
    shape: tuple[int, int, int],
    wavelengths: NDArray[np.float64],
    chunk: int = 64,
    dtype: Dtype = "float32",
    scaling: tuple[float, float] | None = None,
    source: str | None = None,
) -> float:
    """Write a cube that comes in strips from top to bottom, so that it need not be in memory; see `write`.

    Args:
        path: the store, a folder.
        strips: (bands, rows, width) each; the rows of all but the last are a multiple of `chunk`.
        shape: (bands, height, width) of the whole.
        wavelengths: (bands,) in nm.
        chunk: side of a chunk in pixels.
        dtype: as in `write`.
        scaling: `scaling_of` the whole cube, which uint16 needs.
        source: as in `write`.

    Returns:
        The largest absolute difference between the cube and what a reader gets.
    """
    bands, height, width = shape
    grid = Grid(shape, (bands, min(chunk, height), min(chunk, width)), np.dtype(dtype).newbyteorder("<"), True)
    scale, offset = 1.0, 0.0
    attributes: dict[str, Any] = {
        "wavelengths": [float(x) for x in wavelengths],
        "wavelength_units": "nm",
        "source": Path(path).stem if source is None else source,
    }
    if dtype == "uint16":
        if scaling is None:
            raise ValueError("uint16 needs the scaling of the whole cube")
        scale, offset = scaling
        attributes |= {"scale_factor": scale, "add_offset": offset}
    worst = 0.0
    with replacing(path) as scratch:
        array = _create(scratch, grid, attributes)
        shard = scratch / array.metadata.encode_chunk_key((0, 0, 0))
        with shard.open("wb") as stream:
            writer = ShardWriter(stream, grid, compressor=_COMPRESSOR, level=_LEVEL, shuffle=_SHUFFLE_NUMBER)
            # Chunk by chunk: what is computed on the way stays in the processor's cache.
            for part in _cut(strips, grid.chunk[1], grid.chunk[2]):
                stored = _encoded(part, dtype, scale, offset)
                if dtype != "float32":
                    worst = max(worst, _worst(part, stored, scale, offset, path))
                writer.append(stored)
            writer.finish()
    return worst


class ZarrCube:
    """A cube in a store, read by crops.

    The store is opened at the first use in each process and forgotten on pickling, so that an object can
    be handed to worker processes of any kind.

    Args:
        path: the store: a folder, or a URL of any file system that fsspec knows.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path if is_url(path) else str(Path(path))
        self._owner = 0
        self._opened: _Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_owner": 0, "_opened": None}

    def __repr__(self) -> str:
        return f"ZarrCube({str(self.path)!r})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width)."""
        return self._open().shape

    @property
    def wavelengths(self) -> NDArray[np.float64]:
        """(bands,) band centres in nm."""
        return self._open().wavelengths

    @property
    def source(self) -> str:
        """The id of what the store was made from."""
        return self._open().source

    def read(
        self, top: int = 0, left: int = 0, height: int | None = None, width: int | None = None
    ) -> NDArray[np.float32]:
        """A crop as float32 (bands, height, width), reflectance; without arguments the whole cube.

        Raises:
            UserError: the crop reaches beyond the cube, or the store is missing, incomplete or damaged.
        """
        _, rows, columns = self.shape
        height = rows - top if height is None else height
        width = columns - left if width is None else width
        if min(top, left, height, width) < 0 or top + height > rows or left + width > columns:
            raise UserError(
                f"{self.path}: a crop of {height} x {width} pixels at ({top}, {left}) reaches beyond "
                f"the {rows} x {columns} pixels of the cube."
            )
        return self._open().read(top, left, height, width)

    def _open(self) -> _Opened:
        if self._opened is None or self._owner != os.getpid() or self._opened.stale():
            self._opened = _Opened(self.path)
            self._owner = os.getpid()
        return self._opened


class _Opened:
    """An open store: what its metadata says, and a reader of its shard."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        quiet_in_worker()
        with _Explaining(self.path):
            array = _open_array(path)
            attributes = dict(array.attrs)
            self._reader = _shard_reader(path, array)
        if array.ndim != 3:
            raise UserError(f"{path} holds an array of shape {array.shape}, not a cube (bands, height, width).")
        if "wavelengths" not in attributes:
            raise UserError(f"{path} has no attribute 'wavelengths' (nm, one a band); write it anew with its bands.")
        self.shape: tuple[int, int, int] = array.shape  # type: ignore[assignment]
        self.wavelengths = np.asarray(attributes["wavelengths"], dtype=np.float64).reshape(-1)
        if len(self.wavelengths) != self.shape[0]:
            raise UserError(f"{path} has {self.shape[0]} bands but {len(self.wavelengths)} wavelengths; write it anew.")
        self.source = str(attributes.get("source", Path(self.path).stem))
        self._scale = float(attributes.get("scale_factor", 1.0))  # type: ignore[arg-type]
        self._offset = float(attributes.get("add_offset", 0.0))  # type: ignore[arg-type]
        self._array = array

    def stale(self) -> bool:
        with _Explaining(self.path):
            return self._reader is not None and self._reader.stale()

    def read(self, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
        with _Explaining(self.path):
            if self._reader is not None:
                return self._reader.read(top, left, height, width, self._scale, self._offset)
            part = np.asarray(self._array[:, top : top + height, left : left + width])
        values = part.astype(np.float32, copy=False)
        if (self._scale, self._offset) != (1.0, 0.0):
            values = values * np.float32(self._scale) + np.float32(self._offset)
        return values


def quiet_in_worker() -> None:
    """In a worker process, keep Zarr to one thread: the sibling processes use the other cores."""
    if multiprocessing.parent_process() is not None:
        zarr.config.set({"async.concurrency": 1, "threading.max_workers": 1})


def _open_array(path: str | os.PathLike[str]) -> zarr.Array[Any]:
    if is_url(path):
        return zarr.open_array(zarr.storage.FsspecStore.from_url(str(path), read_only=True), mode="r")
    if not Path(path).is_dir():
        raise UserError(f"There is no store at {path}: check the path, or make it with 'hsdata convert'.")
    return zarr.open_array(zarr.storage.LocalStore(Path(path), read_only=True), mode="r")


def _shard_reader(path: str | os.PathLike[str], array: zarr.Array[Any]) -> ShardReader | None:
    """The fast reader, where the array is laid out as `write` does; else Zarr's own is used."""
    metadata = array.metadata
    codecs: tuple[Any, ...] = getattr(metadata, "codecs", ())
    if array.ndim != 3 or len(codecs) != 1 or not isinstance(codecs[0], zarr.codecs.ShardingCodec):
        return None
    sharding = codecs[0]
    grid = Grid(array.shape, sharding.chunk_shape, array.dtype, len(sharding.codecs) == 3)  # type: ignore[arg-type]
    whole = (grid.shape[0], grid.rows * grid.chunk[1], grid.columns * grid.chunk[2])
    kinds = tuple(type(codec) for codec in sharding.codecs)
    known: tuple[type, ...] = (zarr.codecs.BytesCodec, zarr.codecs.BloscCodec, zarr.codecs.Crc32cCodec)
    fits = (
        array.shards == whole
        and grid.chunk[0] == grid.shape[0]
        and kinds in (known, known[:2])
        and sharding.codecs[0].to_dict().get("configuration", {"endian": "little"}) == {"endian": "little"}
        and tuple(type(codec) for codec in sharding.index_codecs) == (known[0], known[2])
        and sharding.index_location.value == "end"
        and grid.dtype.name in ("float32", "float16", "uint16")
        and array.fill_value == 0
    )
    if not fits:
        return None
    key = metadata.encode_chunk_key((0, 0, 0))
    file = RemoteFile(f"{str(path).rstrip('/')}/{key}") if is_url(path) else LocalFile(Path(path) / key)
    return ShardReader(file, grid)


def _create(folder: Path, grid: Grid, attributes: dict[str, Any]) -> zarr.Array[Any]:
    """Write the metadata of an empty array."""
    bands, rows, columns = grid.chunk
    blosc = zarr.codecs.BloscCodec(
        cname=_COMPRESSOR, clevel=_LEVEL, shuffle=_SHUFFLE, typesize=grid.dtype.itemsize, blocksize=0
    )
    return zarr.create_array(
        zarr.storage.LocalStore(folder),
        shape=grid.shape,
        dtype=grid.dtype,
        chunks=grid.chunk,
        shards=(bands, rows * grid.rows, columns * grid.columns),
        filters=None,
        compressors=(blosc, zarr.codecs.Crc32cCodec()),
        fill_value=0,
        attributes=attributes,
        dimension_names=("band", "y", "x"),
        # One file beside the metadata instead of a file in three folders.
        chunk_key_encoding={"name": "default", "separator": "."},
        zarr_format=3,
    )


def _cut(strips: Iterable[NDArray[np.float32]], rows: int, columns: int) -> Iterator[NDArray[np.float32]]:
    """The parts of each strip that become chunks, in rows from the top."""
    for strip in strips:
        for top in range(0, strip.shape[1], rows):
            for left in range(0, strip.shape[2], columns):
                yield np.ascontiguousarray(strip[:, top : top + rows, left : left + columns])


def _encoded(part: NDArray[np.float32], dtype: Dtype, scale: float, offset: float) -> NDArray[Any]:
    if dtype == "uint16":
        steps: NDArray[np.float32] = np.rint((part - np.float32(offset)) / np.float32(scale))
        return np.clip(steps, 0, _LEVELS).astype(np.uint16)
    with np.errstate(over="ignore"):
        return part.astype(dtype, copy=False)


def _worst(
    part: NDArray[np.float32], stored: NDArray[Any], scale: float, offset: float, path: str | os.PathLike[str]
) -> float:
    decoded = stored.astype(np.float32)
    if (scale, offset) != (1.0, 0.0):
        decoded = decoded * np.float32(scale) + np.float32(offset)
    known = ~np.isnan(part)
    error = float(np.max(np.abs(decoded - part), initial=0.0, where=known))
    if not np.isfinite(error):
        raise UserError(f"{path}: values too large for {stored.dtype}; choose dtype float32.")
    return error


class _Explaining:
    """Turn what Zarr and file systems raise about a broken store into a `UserError`."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # Remote file systems and Zarr's versions have no common base of their errors.
        if error is None or isinstance(error, UserError) or not isinstance(error, Exception):
            return
        refused = access_error(self._source, error)
        if refused is not None:
            raise refused from error
        why = reason(error) if isinstance(error, DamagedError) else f"{type(error).__name__}: {reason(error)}"
        raise UserError(
            f"The store {self._source} is incomplete or damaged ({why}); make it again with 'hsdata convert'."
        ) from error
