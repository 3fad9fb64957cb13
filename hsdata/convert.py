"""The stage `convert`: every cube of the catalog as a Zarr store that is read by crops."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hsdata import catalog as catalogs
from hsdata import paths, raw
from hsdata.formats import zarr
from hsdata.params import DataParams
from hsengine.base import incremental
from hsengine.base import workers as processes
from hsengine.base.definitions import function_hash

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Summary(incremental.Summary):
    """What a conversion did; `worst_error` is the largest difference in reflectance of any cube to its store."""

    worst_error: float

    what = "cubes converted"

    def __str__(self) -> str:
        worst = self.worst_error
        return f"{super().__str__()}; {f'reflectance off by {worst:.1e} at most' if worst else 'every bit kept'}"


def run(params: DataParams, *, workers: int | None = None, scheduler: str | None = None, full: bool = False) -> Summary:
    """The stage: bring the stores in `paths.ZARR` up to date; see `update`."""
    return update(
        catalogs.load(paths.CATALOG),
        paths.ZARR,
        chunk=params.convert.chunk,
        dtype=params.convert.dtype,
        workers=params.machine.workers if workers is None else workers,
        scheduler=scheduler,
        full=full,
    )


@dataclass(frozen=True)
class Work:
    """One cube to convert: from, to, the (bands, height, width) that is expected, and how."""

    name: str
    cube: str
    store: str
    shape: raw.Shape
    chunk: int
    dtype: zarr.Dtype


def update(
    catalog: pd.DataFrame,
    out: str | os.PathLike[str],
    *,
    chunk: int = 64,
    dtype: zarr.Dtype = "float32",
    workers: int = 0,
    scheduler: str | None = None,
    full: bool = False,
) -> Summary:
    """Bring the stores `<out>/<split>/<id>.zarr` up to date with the catalog.

    A store is written when its cube's content, `chunk`, `dtype` or the code that makes it differ from those it
    was made with, or when it is damaged. Stores of samples that the catalog no longer holds are removed.

    Args:
        catalog: rows with `id`, `split`, `cube` (the raw file; empty: no cube), `cube_hash`, `bands`, `height`
            and `width`.
        out: the folder of the stores.
        chunk: side of a chunk in pixels.
        dtype: how values are stored, see `hsdata.formats.zarr.write`.
        workers: processes, each with about one strip of a cube in memory (with uint16 one cube); 0 means one a core,
            or this process where the cubes are small.
        scheduler: a Dask scheduler, used instead of processes.
        full: write every store anew.

    Raises:
        UserError: a cube cannot be read or is not what the catalog says, or the stores cannot be written.
    """
    start = time.perf_counter()
    jobs = [_job(row, Path(out), chunk, dtype, scheduler) for row in catalog.to_dict("records") if row["cube"]]
    count = processes.sensible(workers, sum(4.0 * math.prod(job.work.shape) for job in jobs))
    done = incremental.update(out, jobs, convert, full=full, workers=count, scheduler=scheduler, label="converting")
    worst = max((float(facts["worst_error"]) for facts in done.facts.values()), default=0.0)
    return Summary.of(done, start, worst_error=worst)


def _job(row: raw.Row, out: Path, chunk: int, dtype: zarr.Dtype, scheduler: str | None) -> incremental.Job:
    name = f"{row['split']}/{row['id']}"
    store = f"{name}.zarr"
    cube, place = raw.location(row["cube"], scheduler), raw.location(out / store, scheduler)
    work = Work(str(row["id"]), cube, place, raw.shape_of(row), chunk, dtype)
    key = incremental.key_of(raw.content_of(row), chunk, dtype, function_hash(convert))
    return incremental.Job(name, key, (store,), work)


def convert(work: Work) -> dict[str, float]:
    """Convert one cube and return its `worst_error`."""
    with raw.opened(work.cube, work.shape) as cube:
        strips, scaling = cube.strips(work.chunk), None
        if work.dtype == "uint16":
            # The steps span the values of the whole cube, which decoding twice would cost more than keeping.
            values = cube.read()
            strips, scaling = iter([values]), zarr.scaling_of(values, work.cube)
        worst = zarr.write_strips(
            work.store,
            strips,
            shape=cube.shape,
            wavelengths=cube.wavelengths,
            chunk=work.chunk,
            dtype=work.dtype,
            scaling=scaling,
            source=work.name,
        )
    return {"worst_error": worst}
