"""One folder of originals and synthetic samples in the published layout, for tools that want files."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hsdata import catalog as catalogs
from hsdata import layout, paths, raw, smote
from hsdata.formats import hdf5, zarr
from hsengine.base import workers as processes
from hsengine.base.errors import UserError
from hsengine.base.files import check_own, replacing, write_text

# Marks a merged folder, and is its catalog.
CATALOG_FILE = "merged.csv"


@dataclass(frozen=True)
class Summary:
    """What a merge made.

    Attributes:
        folder: where it is.
        originals: samples that were there before.
        synthetic: samples that were made of two others.
        linked: files that are links.
        written: files that are copies or, for synthetic cubes, exports.
    """

    folder: Path
    originals: int
    synthetic: int
    linked: int
    written: int

    def __str__(self) -> str:
        return (
            f"{self.originals} originals and {self.synthetic} synthetic samples in {self.folder}: "
            f"{self.linked} files linked, {self.written} written"
        )


def run(out: str | os.PathLike[str], *, link: bool = True, workers: int = 0, scheduler: str | None = None) -> Summary:
    """Merge the project's catalog with that of its synthetic samples, where there are any; see `merge`."""
    frames = [catalogs.load(paths.CATALOG)]
    if (paths.SMOTE / smote.CATALOG_FILE).exists():
        frames.append(catalogs.load(paths.SMOTE / smote.CATALOG_FILE, empty=True))
    return merge(frames, out, link=link, workers=workers, scheduler=scheduler)


def merge(
    frames: Sequence[pd.DataFrame],
    out: str | os.PathLike[str],
    *,
    link: bool = True,
    workers: int = 0,
    scheduler: str | None = None,
) -> Summary:
    """Make a data folder of several catalogs' samples: `<out>/track<N>/<split>/<modality>/<id>.<suffix>`.

    Synthetic cubes are exported as HDF5 as published. A merged folder that stands there is replaced,
    whole or not at all.

    Args:
        frames: catalogs of one track.
        out: the folder to make.
        link: make symbolic links to the files instead of copies, where the file system has them.
        workers: processes that export and copy; 0 means one a core, or this process where the cubes are small.
        scheduler: a Dask scheduler instead of processes.

    Raises:
        UserError: `out` holds something else than a merged folder, a file is missing, or it cannot be written.
    """
    frame = catalogs.concatenated(frames)
    target = Path(out)
    check_own(target, CATALOG_FILE, "a merged folder", (catalogs.GROUPS_FILE, "track[12]"))
    with replacing(target) as scratch:
        scratch.mkdir()
        rows = frame.to_dict("records")
        tasks = [task for row in rows for task in _tasks(row, scratch.absolute(), target)]
        missing = [str(task.source) for task in tasks if not task.source.exists()]
        if missing:
            raise UserError(
                f"{len(missing)} files of the catalogs are missing, {missing[0]} for one: "
                "make the catalogs again with 'hsdata catalog'."
            )
        links = [task for task in tasks if link and not task.export and _linked(task)]
        rest = [task for task in tasks if not task.place.is_symlink()]
        size = sum(4.0 * math.prod(raw.shape_of(row)) for row in rows if row["synthetic"] or not link)
        count = processes.sensible(workers, size)
        processes.run(carry_out, rest, workers=count, scheduler=scheduler, label="merging")
        catalogs.save(_moved(frame, tasks), scratch / CATALOG_FILE)
        grouped = frame[frame["group"] != ""]
        if len(grouped):
            write_text(
                scratch / catalogs.GROUPS_FILE, grouped[["id", "group"]].to_csv(index=False, lineterminator="\n")
            )
    synthetic = int(frame["synthetic"].sum())
    return Summary(target, len(frame) - synthetic, synthetic, len(links), len(rest))


@dataclass(frozen=True)
class Task:
    """One file: from, to, and where it will be found at the end."""

    source: Path
    place: Path
    final: Path
    id: str
    column: str

    @property
    def export(self) -> bool:
        """Whether the file is written anew, in another format."""
        return self.source.suffix == ".zarr"


def carry_out(task: Task) -> None:
    """Copy one file or export one cube."""
    task.place.parent.mkdir(parents=True, exist_ok=True)
    if task.export:
        hdf5.write(task.place, zarr.read(task.source))
    else:
        shutil.copyfile(task.source, task.place)


def _tasks(row: dict[Any, Any], scratch: Path, target: Path) -> list[Task]:
    modality = layout.INPUT_MODALITY[int(row["track"])]
    tasks = []
    for column, kind in (("input", modality), ("cube", layout.CUBES), ("rgb_full", layout.RGB_FULL)):
        if row[column]:
            source = Path(str(row[column])).absolute()
            suffix = ".h5" if column == "cube" else source.suffix
            inner = Path(f"track{row['track']}", str(row["split"]), kind, f"{row['id']}{suffix}")
            tasks.append(Task(source, scratch / inner, target / inner, str(row["id"]), column))
    return tasks


def _linked(task: Task) -> bool:
    """Whether a link could be made."""
    task.place.parent.mkdir(parents=True, exist_ok=True)
    try:
        task.place.symlink_to(task.source)
    except OSError:
        return False
    return True


def _moved(frame: pd.DataFrame, tasks: list[Task]) -> pd.DataFrame:
    """The catalog with the paths of the merged folder."""
    frame = frame.set_index("id", drop=False)
    for task in tasks:
        frame.loc[task.id, task.column] = task.final.as_posix()
    return frame.reset_index(drop=True)
