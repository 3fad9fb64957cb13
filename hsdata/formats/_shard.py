"""The one shard that holds a cube's values: written in one pass, read by crops.

Zarr's own reader decodes chunk after chunk through its event loop into fresh memory; for a crop of a few
megabytes that costs several times the decoding itself. This reader fetches a row of chunks at once and
decodes each into a small buffer. What it reads and writes is plain Zarr v3: inner chunks in C order, then an
index of (offset, length) pairs in unsigned 64-bit little-endian integers, then the index's CRC-32C.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

_EMPTY = np.iinfo(np.uint64).max
_CRC = 4
# More threads than this find no memory bandwidth left.
_MOST_THREADS = 8

Bytes = NDArray[np.uint8]


class DamagedError(Exception):
    """The shard is not what its index or a checksum says; the message completes 'the store is damaged: ...'."""


@dataclass(frozen=True)
class Grid:
    """How a cube is cut into chunks.

    Attributes:
        shape: (bands, height, width) of the cube.
        chunk: (bands, rows, columns) of an inner chunk; those at the edges are padded to it.
        dtype: of the stored values, little-endian.
        checksums: whether a CRC-32C follows each chunk.
    """

    shape: tuple[int, int, int]
    chunk: tuple[int, int, int]
    dtype: np.dtype[Any]
    checksums: bool

    @property
    def rows(self) -> int:
        """Chunks from top to bottom."""
        return -(-self.shape[1] // self.chunk[1])

    @property
    def columns(self) -> int:
        """Chunks from left to right."""
        return -(-self.shape[2] // self.chunk[2])

    @property
    def index_size(self) -> int:
        """Bytes of the index at the end of the shard."""
        return self.rows * self.columns * 16 + _CRC


class ShardWriter:
    """Append a cube's chunks, then the index."""

    def __init__(self, stream: BinaryIO, grid: Grid, *, compressor: str, level: int, shuffle: int) -> None:
        self._stream = stream
        self._grid = grid
        self._settings = (compressor.encode(), level, shuffle)
        self._index: list[tuple[int, int]] = []
        self._position = 0

    def append(self, part: NDArray[Any]) -> None:
        """Write the next chunk, in rows from the top.

        `part` is contiguous (bands, rows, columns) of the stored type, smaller than a chunk at the edges.
        """
        tile = part
        if part.shape != self._grid.chunk:
            tile = np.zeros(self._grid.chunk, dtype=self._grid.dtype)
            tile[:, : part.shape[1], : part.shape[2]] = part
        encoded = blosc.compress(tile, *self._settings, 0, self._grid.dtype.itemsize)
        if self._grid.checksums:
            encoded = encoded + _crc32c(encoded)
        self._stream.write(encoded)
        self._index.append((self._position, len(encoded)))
        self._position += len(encoded)

    def finish(self) -> None:
        """Write the index."""
        if len(self._index) != self._grid.rows * self._grid.columns:
            raise ValueError("the strips do not make up a cube of the stated height")
        index = np.array(self._index, dtype="<u8").tobytes()
        self._stream.write(index + _crc32c(index))


class _Buffer(threading.local):
    """Memory that a thread uses again: to a crop, fresh memory for each step costs more than the reading."""

    def __init__(self) -> None:
        self._bytes: Bytes = np.empty(0, dtype=np.uint8)

    def take(self, size: int) -> Bytes:
        if len(self._bytes) < size:
            self._bytes = np.empty(size, dtype=np.uint8)
        return self._bytes[:size]


_encoded = _Buffer()
_decoded = _Buffer()


class LocalFile:
    """Byte ranges of a file. It is opened for each read: nothing is shared with a forked process."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def state(self) -> tuple[int, int, int]:
        """What changes when the file is replaced."""
        found = self.path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def tail(self, size: int) -> tuple[Bytes, int]:
        """The last `size` bytes, and how many come before them."""
        before = self.path.stat().st_size - size
        if before < 0:
            raise DamagedError("the shard is shorter than its index")
        return self.read([(before, before + size)])[0].copy(), before

    def read(self, ranges: list[tuple[int, int]]) -> list[Bytes]:
        """The bytes from `start` up to `stop` of each range, which the thread's next call overwrites."""
        ends = np.cumsum([stop - start for start, stop in ranges])
        parts = np.split(_encoded.take(int(ends[-1])), ends[:-1])
        with self.path.open("rb", buffering=0) as stream:
            for (start, _), part in zip(ranges, parts, strict=True):
                stream.seek(start)
                if stream.readinto(part.data) != len(part):
                    raise DamagedError("the shard is truncated")
        return parts


class RemoteFile:
    """Byte ranges of a file on any file system that fsspec knows, all of a crop asked for together."""

    def __init__(self, url: str) -> None:
        self._fs, self._path = fsspec.core.url_to_fs(url)

    def state(self) -> tuple[int, int, int]:
        """Remote files are taken to stay as they are while they are open."""
        return 0, 0, 0

    def tail(self, size: int) -> tuple[Bytes, int]:
        """The last `size` bytes, and how many come before them where that is known (else -1)."""
        content = np.frombuffer(self._fs.cat_file(self._path, start=-size), dtype=np.uint8)
        if len(content) < size:
            raise DamagedError("the shard is shorter than its index")
        return content[-size:], len(content) - size if len(content) > size else -1

    def read(self, ranges: list[tuple[int, int]]) -> list[Bytes]:
        """The bytes from `start` up to `stop` of each range."""
        starts, stops = zip(*ranges, strict=True)
        paths = [self._path] * len(ranges)
        parts = self._fs.cat_ranges(paths, list(starts), list(stops), on_error="raise")
        return [self._exactly(part, start, stop) for part, start, stop in zip(parts, starts, stops, strict=True)]

    @staticmethod
    def _exactly(part: bytes, start: int, stop: int) -> Bytes:
        content = np.frombuffer(part, dtype=np.uint8)
        # A server that ignores range requests sends the whole file.
        if len(content) > stop - start:
            content = content[start:stop]
        if len(content) != stop - start:
            raise DamagedError("the shard is truncated")
        return content


class ShardReader:
    """Crops of a shard. Holds its index, no open file."""

    def __init__(self, file: LocalFile | RemoteFile, grid: Grid) -> None:
        self._file = file
        self._grid = grid
        self.state = file.state()
        tail, before = file.tail(grid.index_size)
        if _crc32c(tail[:-_CRC]) != tail[-_CRC:].tobytes():
            raise DamagedError("the index at the shard's end fails its checksum")
        index = tail[:-_CRC].view("<u8").reshape(grid.rows, grid.columns, 2)
        full = index[..., 0] != _EMPTY
        if before >= 0 and bool(np.any(index[full].sum(axis=-1) > before)):
            raise DamagedError("the index points beyond the shard's end")
        self._starts = np.where(full, index[..., 0], 0).astype(np.int64)
        self._lengths = np.where(full, index[..., 1], 0).astype(np.int64)

    def stale(self) -> bool:
        """Whether the file was replaced since it was opened."""
        return self._file.state() != self.state

    def read(self, top: int, left: int, height: int, width: int, scale: float, offset: float) -> NDArray[np.float32]:
        """The crop as float32 (bands, height, width): stored values times `scale` plus `offset`."""
        grid = self._grid
        values = np.empty((grid.shape[0], height, width), dtype=np.float32)
        if not values.size:
            return values
        _, chunk_rows, chunk_columns = grid.chunk
        columns = range(left // chunk_columns, (left + width - 1) // chunk_columns + 1)

        def one_row(row: int) -> None:
            first, last = max(top, row * chunk_rows), min(top + height, (row + 1) * chunk_rows)
            strip = values[:, first - top : last - top]
            inner = slice(first - row * chunk_rows, last - row * chunk_rows)
            tile = _decoded.take(math.prod(grid.chunk) * grid.dtype.itemsize).view(grid.dtype).reshape(grid.chunk)
            for column, encoded in zip(columns, self._fetch(row, columns), strict=True):
                begin, end = max(left, column * chunk_columns), min(left + width, (column + 1) * chunk_columns)
                self._decode(encoded, tile)
                part = tile[:, inner, begin - column * chunk_columns : end - column * chunk_columns]
                target = strip[:, :, begin - left : end - left]
                if scale == 1.0 and offset == 0.0:
                    target[...] = part
                else:
                    np.multiply(part, np.float32(scale), out=target)
                    target += np.float32(offset)

        _each(one_row, range(top // chunk_rows, (top + height - 1) // chunk_rows + 1))
        return values

    def _fetch(self, row: int, columns: range) -> list[Bytes]:
        """The encoded chunks of a row; neighbours in the file are read together."""
        starts, lengths = self._starts[row, columns], self._lengths[row, columns]
        stops = starts + lengths
        if np.array_equal(starts[1:], stops[:-1]):
            (joined,) = self._file.read([(int(starts[0]), int(stops[-1]))])
            return [joined[a:b] for a, b in zip(starts - starts[0], stops - starts[0], strict=True)]
        return self._file.read([(int(a), int(b)) for a, b in zip(starts, stops, strict=True)])

    def _decode(self, encoded: Bytes, tile: NDArray[Any]) -> None:
        if not len(encoded):
            tile[...] = 0
            return
        if self._grid.checksums:
            encoded, checksum = encoded[:-_CRC], encoded[-_CRC:]
            if _crc32c(encoded) != checksum.tobytes():
                raise DamagedError("a chunk fails its checksum")
        # Bytes 4 to 7 and 12 to 15 of a Blosc header are the decoded and the encoded size.
        sizes = encoded[:16].view("<u4") if len(encoded) >= 16 else None
        if sizes is None or int(sizes[1]) != tile.nbytes or int(sizes[3]) != len(encoded):
            raise DamagedError("a chunk has not the size it should have")
        try:
            blosc.decompress(encoded, tile)
        except RuntimeError as error:
            raise DamagedError("a chunk cannot be decompressed") from error


def _crc32c(content: Bytes | bytes) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(_CRC, "little")


def threads() -> int:
    """Threads for one read: one in a worker process, whose siblings use the other cores."""
    if multiprocessing.parent_process() is not None:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_THREADS)


_pools: dict[int, ThreadPoolExecutor] = {}


def _each(function: Any, items: Iterable[int]) -> None:
    tasks = list(items)
    count = threads()
    if count == 1 or len(tasks) == 1:
        for task in tasks:
            function(task)
        return
    # Threads do not survive a fork: each process has its own.
    pool = _pools.get(os.getpid())
    if pool is None:
        pool = _pools[os.getpid()] = ThreadPoolExecutor(count, thread_name_prefix="crop")
    for _ in pool.map(function, tasks):
        pass
