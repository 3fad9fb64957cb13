"""The stage `render`: every cube of the catalog as a full-size sRGB picture, `rgb_full`."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsdata import colour, incremental
from hsdata.errors import UserError
from hsdata.formats import hdf5, image

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
"""Raise it when the same cube comes to give other pixels: every picture is then made anew."""

# Starting worker processes takes as long as rendering this many bytes of cubes in this one.
_WORTH_PROCESSES = 100e6


@dataclass(frozen=True)
class Summary:
    """What a rendering did.

    Attributes:
        made: pictures written.
        kept: pictures that were up to date.
        removed: pictures of samples that are gone.
        seconds: how long it took.
    """

    made: int
    kept: int
    removed: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.made} pictures rendered, {self.kept} up to date, {self.removed} removed, in {self.seconds:.1f} s"


@dataclass(frozen=True)
class Work:
    """One cube to render: from, to, and the (bands, height, width) that is expected."""

    cube: str
    picture: str
    shape: tuple[int, int, int]


def run(
    catalog: pd.DataFrame,
    out: str | os.PathLike[str],
    *,
    workers: int = 0,
    scheduler: str | None = None,
    full: bool = False,
) -> Summary:
    """Bring the pictures `<out>/<split>/<id>.png` up to date with the catalog.

    A picture is made when its cube's content or this module's version differ from those it was made with, or
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
    # Workers on other machines start in other folders.
    base = Path.cwd() if scheduler else Path()
    jobs = [_job(row, base, Path(out)) for row in catalog.itertuples(index=False) if row.cube]
    if not workers and sum(4.0 * math.prod(job.work.shape) for job in jobs) < _WORTH_PROCESSES:
        workers = 1
    done = incremental.update(out, jobs, render, full=full, workers=workers, scheduler=scheduler, label="rendering")
    return Summary(len(done.made), len(done.kept), len(done.removed), time.perf_counter() - start)


def _job(row: Any, base: Path, out: Path) -> incremental.Job:
    split, sample, cube = str(row.split), str(row.id), str(row.cube)
    if not row.cube_hash:
        raise UserError(f"The catalog has no content hash for {cube}: make it again with 'hsdata catalog'.")
    shape = (int(row.bands), int(row.height), int(row.width))
    picture = f"{split}/{sample}.png"
    key = incremental.key_of(str(row.cube_hash), VERSION)
    return incremental.Job(
        f"{split}/{sample}", key, (picture,), Work(str(base / cube), str(base / out / picture), shape)
    )


def render(work: Work) -> None:
    """Render one cube, strip by strip."""
    with hdf5.opened(work.cube) as cube:
        if cube.shape != work.shape:
            raise UserError(
                f"{work.cube} has (bands, height, width) {cube.shape}, but the catalog says {work.shape}: "
                "make the catalog again with 'hsdata catalog'."
            )
        pixels = np.empty((3, *cube.shape[1:]), dtype=np.uint8)
        top = 0
        for strip in cube.strips():
            rows = strip.shape[1]
            pixels[:, top : top + rows] = image.quantised(colour.to_srgb(strip, cube.wavelengths))
            top += rows
    image.write(work.picture, pixels)
