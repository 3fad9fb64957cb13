"""The stage `render`: every cube of the catalog as a full-size sRGB picture, `rgb_full`."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsdata import catalog as catalogs
from hsdata import paths, raw
from hsdata.camera import colour
from hsdata.formats import image
from hsdata.params import DataParams
from hsengine.base import incremental
from hsengine.base import workers as processes
from hsengine.base.definitions import function_hash

if TYPE_CHECKING:
    import pandas as pd


class Summary(incremental.Summary):
    """What a rendering did."""

    what = "pictures rendered"


def run(params: DataParams, *, workers: int | None = None, scheduler: str | None = None, full: bool = False) -> Summary:
    """The stage: bring the pictures in `paths.RENDERED` up to date; see `update`."""
    count = params.machine.workers if workers is None else workers
    return update(catalogs.load(paths.CATALOG), paths.RENDERED, workers=count, scheduler=scheduler, full=full)


@dataclass(frozen=True)
class Work:
    """One cube to render: from, to, and the (bands, height, width) that is expected."""

    cube: str
    picture: str
    shape: raw.Shape


def update(
    catalog: pd.DataFrame,
    out: str | os.PathLike[str],
    *,
    workers: int = 0,
    scheduler: str | None = None,
    full: bool = False,
) -> Summary:
    """Bring the pictures `<out>/<split>/<id>.png` up to date with the catalog.

    A picture is made when its cube's content or the code that makes it differ from those it was made with, or
    when it is damaged. Pictures of samples that the catalog no longer holds are removed.

    Args:
        catalog: rows with `id`, `split`, `cube` (the raw file; empty: no cube), `cube_hash`, `bands`, `height`
            and `width`.
        out: the folder of the pictures.
        workers: processes, each with one strip of a cube in memory; 0 means one a core, or this process where
            the cubes are small.
        scheduler: a Dask scheduler, used instead of processes.
        full: make every picture anew.

    Raises:
        UserError: a cube cannot be read or is not what the catalog says, or the pictures cannot be written.
    """
    start = time.perf_counter()
    jobs = [_job(row, Path(out), scheduler) for row in catalog.to_dict("records") if row["cube"]]
    count = processes.sensible(workers, sum(4.0 * math.prod(job.work.shape) for job in jobs))
    done = incremental.update(out, jobs, render, full=full, workers=count, scheduler=scheduler, label="rendering")
    return Summary.of(done, start)


def _job(row: raw.Row, out: Path, scheduler: str | None) -> incremental.Job:
    name = f"{row['split']}/{row['id']}"
    picture = f"{name}.png"
    cube, place = raw.location(row["cube"], scheduler), raw.location(out / picture, scheduler)
    work = Work(cube, place, raw.shape_of(row))
    return incremental.Job(name, incremental.key_of(raw.content_of(row), function_hash(render)), (picture,), work)


def render(work: Work) -> None:
    """Render one cube, strip by strip."""
    with raw.opened(work.cube, work.shape) as cube:
        pixels = np.empty((3, *cube.shape[1:]), dtype=np.uint8)
        top = 0
        for strip in cube.strips():
            rows = strip.shape[1]
            pixels[:, top : top + rows] = image.quantised(colour.to_srgb(strip, cube.wavelengths))
            top += rows
    image.write(work.picture, pixels)
