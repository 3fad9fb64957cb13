"""The stage `convert`: the cut-outs of the catalog as a sharded Zarr store, read by object."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base import incremental
from hsengine.base import workers as processes
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_text
from hsengine.base.paths import CATALOG, DERIVED
from hsengine.base.reading import parsed_json
from hstasks.lenses import catalog as catalogs
from hstasks.lenses.layout import BANDS, SIDE, Found
from hstasks.lenses.params import LensSections

STORE = DERIVED / "cutouts.zarr"

VERSION = 1
"""Raise it when the same files come to give other bytes: every shard is then made anew."""

_SHAPE = (len(BANDS), SIDE, SIDE)
_BYTES = 4 * len(BANDS) * SIDE * SIDE
_AGAIN = "run 'convert' after 'catalog'."


@dataclass(frozen=True)
class Summary:
    """What a conversion did: shards made, kept and removed, objects and files in the store, files read for it."""

    made: int
    kept: int
    removed: int
    objects: int
    files: int
    read: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.objects} objects ({self.files} files) stored: {self.made} shards made, {self.kept} up to date, "
            f"{self.removed} removed, in {self.seconds:.1f} s ({self.read / max(self.seconds, 1e-9):.0f} files/s)"
        )


@dataclass(frozen=True)
class _Shard:
    """A shard to write: where, how many rows it has, and its objects.

    Objects are (row in the shard, id, bands, content, folder, files) as the catalog states them: texts alone, since
    hundreds of thousands are held.
    """

    name: str
    path: str
    rows: int
    objects: tuple[tuple[int, str, str, str, str, str], ...]


@dataclass(frozen=True)
class _Text:
    """A small file of metadata to write."""

    name: str
    path: str
    text: str


def run(
    params: LensSections,
    *,
    catalog: str | os.PathLike[str] = CATALOG,
    out: str | os.PathLike[str] = STORE,
    workers: int = 0,
    full: bool = False,
) -> Summary:
    """Bring the store up to date with the catalog.

    The store is a Zarr group of one array (objects, 5, 41, 41) float32 for each bucket, one chunk an object, a shard
    a file. An object's row is its number in the bucket, so that objects that come or go touch their own shard only.
    Values are the files' to the last bit of float32, NaN and infinities with them; bands that cannot be read and
    rows without an object are NaN. Nothing is compressed: noise hardly shrinks.

    A shard is written when an object in it, `convert.shard` or this module's version differ from those it was made
    with, or when it is damaged. A run that was killed is taken up at the shard where it stopped; memory holds one
    shard a worker.

    Args:
        params: `convert` is used.
        catalog: the catalog.
        out: the store.
        workers: processes; 0 means one a core, or this process where there is little to do.
        full: write every shard anew.

    Raises:
        UserError: a file changed since the catalog was made or cannot be read any more, or the store cannot be written.
    """
    start = time.perf_counter()
    frame = catalogs.load(catalog)
    jobs, files = _jobs(frame, Path(out), params.convert.shard)
    count = processes.sensible(workers, float(_BYTES * len(frame)))
    done = incremental.update(out, jobs, _make, full=full, workers=count, label="converting")
    shards = [job.name for job in jobs if isinstance(job.work, _Shard)]
    made = set(done.made)
    return Summary(
        made=sum(name in made for name in shards),
        kept=sum(name not in made for name in shards),
        removed=sum("/c/" in name for name in done.removed),
        objects=int((frame["bands"] != "").sum()),
        files=sum(files.values()),
        read=sum(files[name] for name in shards if name in made),
        seconds=time.perf_counter() - start,
    )


def _jobs(frame: pd.DataFrame, out: Path, shard: int) -> tuple[list[incremental.Job], dict[str, int]]:
    """The shards and metadata that the store should hold, and how many files each shard is read from."""
    jobs = [_text(out, "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {}})]
    files: dict[str, int] = {}
    held = frame[frame["bands"] != ""]
    for bucket, part in held.groupby("bucket", sort=False):
        jobs.append(_text(out, f"{bucket}/zarr.json", _metadata(int(part["row"].max()) + 1, shard)))
        for block, rows in part.groupby(part["row"] // shard, sort=True):
            name = f"{bucket}/c/{block}/0/0/0"
            places = [int(number) % shard for number in rows["row"]]
            columns = (rows[column] for column in ("id", "bands", "content", "folder", "files"))
            objects = tuple(zip(places, *columns, strict=True))
            key = incremental.key_of([(place, content) for place, _, _, content, *_ in objects], shard, VERSION)
            jobs.append(incremental.Job(name, key, (name,), _Shard(name, str(out / name), shard, objects)))
            files[name] = int(rows["bands"].str.len().sum())
    return jobs, files


def _text(out: Path, name: str, content: dict[str, Any]) -> incremental.Job:
    text = json.dumps(content, indent=2) + "\n"
    return incremental.Job(name, incremental.key_of(text, VERSION), (name,), _Text(name, str(out / name), text))


def _metadata(rows: int, shard: int) -> dict[str, Any]:
    """What Zarr 3 says of an array of uncompressed objects in shards with their index at the end."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    sharding = {
        "chunk_shape": [1, *_SHAPE],
        "codecs": [little],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [rows, *_SHAPE],
        "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [shard, *_SHAPE]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {"bands": list(BANDS), "unit": "counts", "missing": "NaN"},
        "dimension_names": ["object", "band", "y", "x"],
    }


def _make(work: _Shard | _Text) -> None:
    if isinstance(work, _Text):
        write_text(work.path, work.text)
        return
    index = np.full((work.rows, 2), np.iinfo(np.uint64).max, "<u8")
    with replacing(work.path) as scratch, scratch.open("wb") as stream:
        for place, (at, name, bands, content, folder, tokens) in enumerate(work.objects):
            files = {token[0]: f"{name}_{token}" for token in tokens.split()}
            found = Found(name, "", "", -1, at, folder, files)
            stream.write(_checked(bands, content, found).astype("<f4", copy=False).tobytes())
            index[at] = place * _BYTES, _BYTES
        stream.write(index.tobytes() + _crc32c(index.tobytes()))


def _checked(bands: str, content: str, found: Found) -> NDArray[np.float32]:
    reading, image = catalogs.read(found)
    if (reading.bands, reading.content) != (bands, content):
        why = next(iter(reading.problems.values()), f"the files of {found.id} in {found.folder} hold other values")
        raise UserError(f"{why.rstrip('.')}. They changed since the catalog was made: run 'catalog' again.")
    return image


def _crc32c(content: bytes) -> bytes:
    import google_crc32c

    return int(google_crc32c.value(content)).to_bytes(4, "little")


class Store:
    """Reads objects from a store: a shard's file is mapped into memory once, an object is one slice of it."""

    def __init__(self, folder: str | os.PathLike[str] = STORE) -> None:
        """Open the store.

        Raises:
            UserError: there is none.
        """
        self.folder = Path(folder)
        if not (self.folder / "zarr.json").is_file():
            raise UserError(f"There is no store of cut-outs at {self.folder}: make it with the stage 'convert'.")
        self._rows: dict[str, int] = {}
        self._shards: dict[tuple[str, int], tuple[Any, NDArray[np.uint64]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapped files, which another process maps for itself."""
        return {"folder": self.folder, "_rows": {}, "_shards": {}}

    def read(self, bucket: str, row: int) -> NDArray[np.float32]:
        """The image (5, 41, 41) float32 in counts of the object with this number in its bucket.

        Raises:
            UserError: the store does not hold it, or its file is damaged.
        """
        rows = self._rows.get(bucket) or self._rows.setdefault(bucket, self._rows_of(bucket))
        block, at = divmod(row, rows)
        content, index = self._shards.get((bucket, block)) or self._opened(bucket, block, rows)
        start, length = (int(number) for number in index[at])
        if length != _BYTES:
            raise UserError(f"{self.folder}/{bucket} holds no object of number {row}: {_AGAIN}")
        values = np.frombuffer(content, "<f4", _BYTES // 4, start)
        return values.astype(np.float32).reshape(_SHAPE)

    def read_many(self, places: Sequence[tuple[str, int]]) -> NDArray[np.float32]:
        """The images (objects, 5, 41, 41) of several (bucket, row)."""
        return np.stack([self.read(bucket, row) for bucket, row in places])

    def _rows_of(self, bucket: str) -> int:
        path = self.folder / bucket / "zarr.json"
        fault = f"The store {self.folder} has no bucket {bucket}: {_AGAIN}"
        if not path.is_file():
            raise UserError(fault)
        try:
            return int(
                parsed_json(path, "a bucket's description", _AGAIN)["chunk_grid"]["configuration"]["chunk_shape"][0]
            )
        except (ValueError, KeyError, TypeError):
            raise UserError(fault) from None

    def _opened(self, bucket: str, block: int, rows: int) -> tuple[Any, NDArray[np.uint64]]:
        path = self.folder / bucket / "c" / str(block) / "0" / "0" / "0"
        try:
            content: Any = np.memmap(path, np.uint8, "r")
        except (OSError, ValueError):
            raise UserError(f"{path} is missing or empty: run the stage 'convert' again.") from None
        tail = bytes(content[-(16 * rows + 4) :])
        index = np.frombuffer(tail[:-4], "<u8") if len(tail) == 16 * rows + 4 else np.empty(0, "<u8")
        if not index.size or _crc32c(tail[:-4]) != tail[-4:]:
            raise UserError(f"{path} is damaged: run the stage 'convert' again.")
        return self._shards.setdefault((bucket, block), (content, index.reshape(rows, 2)))
