"""Synthetic samples: two of one category, mixed in a stored proportion (SMOTE-like)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsdata import catalog as catalogs
from hsdata import index, layout, paths, raw
from hsdata.camera.camera import STANDARD_OBSERVER, Camera
from hsdata.camera.resize import bilinear
from hsdata.formats import image, mosaic, zarr
from hsdata.mixing import mixing, pairs
from hsdata.mixing.pairs import Planned, labels, plan, planned
from hsdata.params import DataParams
from hsengine.base import incremental
from hsengine.base import workers as processes
from hsengine.base.definitions import function_hash
from hsengine.base.errors import UserError
from hsengine.base.wording import listed

__all__ = ["Planned", "Summary", "generate", "labels", "load", "plan", "planned", "run", "run_plan"]

CATALOG_FILE = "catalog.csv"
PREVIEW_FOLDER = "preview"

Device = Literal["cpu", "auto", "cuda"]


@dataclass(frozen=True)
class Summary:
    """What a generation did.

    Attributes:
        made: the new samples, each with its two sources and their proportion.
        kept: how many were up to date.
        removed: the samples that are no longer planned.
        catalog: the file that lists all of them.
    """

    made: list[str]
    kept: int
    removed: list[str]
    catalog: Path

    def __str__(self) -> str:
        lines = [f"{len(self.made)} synthetic samples made, {self.kept} kept, {len(self.removed)} removed"]
        if self.made:
            lines.append(listed(self.made))
        return "\n".join(lines)


def run_plan(
    params: DataParams, *, as_published: bool = False, to: str | os.PathLike[str] = paths.SMOTE_PLANNING
) -> Planned:
    """The stage `smote plan`: plan which training samples are mixed, and write that; see `planned`.

    Args:
        params: of the project.
        as_published: fill each split on its own, whatever is held out.
        to: the folder of the labels and the plan.
    """
    training = None if as_published else index.read(paths.TRAINING)
    balance = "max" if as_published and params.smote.balance == "none" else params.smote.balance
    made = planned(catalogs.load(paths.CATALOG), training, seed=params.smote.seed, balance=balance)
    made.write(to)
    return made


def run(
    params: DataParams,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    full: bool = False,
    device: Device = "cpu",
) -> Summary:
    """The stage `smote`: bring the samples in `paths.SMOTE` up to date with the plan; see `generate`."""
    return generate(
        pairs.read(paths.SMOTE_PLAN),
        catalogs.load(paths.CATALOG),
        paths.SMOTE,
        track=params.track,
        normalize=params.smote.normalize,
        rgb=params.smote.rgb,
        size=params.smote.size,
        preview=params.smote.preview,
        chunk=params.convert.chunk,
        dtype=params.convert.dtype,
        device=device,
        workers=params.machine.workers if workers is None else workers,
        scheduler=scheduler,
        full=full,
    )


def generate(
    plan: pd.DataFrame,
    catalog: pd.DataFrame,
    out: str | os.PathLike[str],
    *,
    track: int = 2,
    normalize: Literal["none", "minmax"] = "none",
    rgb: Literal["render", "lerp"] = "render",
    size: int | None = None,
    preview: int = 0,
    camera: Camera = STANDARD_OBSERVER,
    format: Literal["zarr", "hdf5"] = "zarr",
    chunk: int = 64,
    dtype: zarr.Dtype = "float32",
    device: Device = "cpu",
    workers: int = 0,
    scheduler: str | None = None,
    full: bool = False,
) -> Summary:
    """Bring the synthetic samples in `out` up to date with the plan.

    A sample is `x1 + lam (x2 - x1)`, of the cubes pixel by pixel, in float32. It lies in
    `<split>/hsi_61_zarr/<id>.zarr`, its input in `<split>/rgb_2/<id>.png` or `<split>/mosaic/<id>.npy`, its
    full-size picture in `<split>/rgb_full/<id>.png`, and `catalog.csv` lists all of them. A sample is made when
    its sources' content, its proportion or any choice below differ from those it was made with, or when it is
    damaged. On the CPU the bytes are the same on any machine with any number of workers. Each worker holds a few
    strips of both sources.

    Args:
        plan: see `hsdata.mixing.pairs.plan`.
        catalog: the originals of the track, see `hsdata.catalog`.
        out: the folder.
        track: 1 makes mosaics, 2 half-size RGB pictures.
        normalize: `minmax` stretches each source to [0, 1] first, as published; the input then only
            matches the cube where it is rendered from it.
        rgb: `render` applies the camera to the mixed cube; `lerp` mixes the two inputs, as published.
        size: side of the cube in pixels, even; None keeps the size of the sources, or where they
            differ that of the one with fewer pixels. Other sizes are resampled bilinearly.
        preview: pictures of so many samples, (source, source, synthetic), in the folder `preview`.
        camera: the camera of `render`.
        format: `hdf5` stores cubes as published, in `<split>/hsi_61/<id>.h5`; training reads `zarr` only.
        chunk: side of a chunk of a Zarr store in pixels.
        dtype: of a Zarr store, see `hsdata.formats.zarr.write`.
        device: where samples are mixed; `auto` is the GPU if PyTorch finds one. On a GPU the last bit may differ.
        workers: processes; 0 means one a core.
        scheduler: a Dask scheduler instead of processes.
        full: make every sample anew.

    Raises:
        UserError: a row of the plan is impossible, a source cannot be read or is not what the catalog says,
            or the folder cannot be written.
    """
    if size is not None and size % 2:
        raise UserError(f"smote.size is {size}: a mosaic and a half-size picture need an even number of pixels.")
    pairs.checked(plan, catalog)
    folder = Path(out)
    rows = _rows(catalog)
    choices: dict[str, Any] = {
        "track": track,
        "normalize": normalize,
        "rgb": rgb,
        "chunk": chunk,
        "dtype": dtype,
        "device": _device(device),
        "camera": camera,
    }
    suffix = ".zarr" if format == "zarr" else ".h5"
    jobs = []
    for entry in _entries(plan):
        first, second = rows[entry["id1"]], rows[entry["id2"]]
        name = f"{entry['split']}/{entry['synthetic_id']}"
        outputs = _outputs(entry, track, suffix)
        work = mixing.Work(
            name=entry["synthetic_id"],
            cubes=(raw.location(first["cube"], scheduler), raw.location(second["cube"], scheduler)),
            inputs=(raw.location(first["input"], scheduler), raw.location(second["input"], scheduler)),
            shapes=(raw.shape_of(first), raw.shape_of(second)),
            lam=float(entry["lam"]),
            size=_size(first, second, size),
            cube_out=raw.location(folder / outputs[0], scheduler),
            input_out=raw.location(folder / outputs[1], scheduler),
            rgb_out=raw.location(folder / outputs[2], scheduler),
            **choices,
        )
        jobs.append(incremental.Job(name, _key(work, first, second), outputs, work))
    count = processes.sensible(workers, sum(4.0 * math.prod(shape) for job in jobs for shape in job.work.shapes))
    done = incremental.update(folder, jobs, mixing.make, full=full, workers=count, scheduler=scheduler, label="mixing")
    frame = _catalogued(plan, rows, done.facts, folder, track, suffix)
    catalogs.save(frame, folder / CATALOG_FILE)
    _write_previews([str(name) for name in plan["synthetic_id"].head(preview)], rows | _rows(frame), folder, track)
    made = set(done.made)
    said = [
        f"{entry['synthetic_id']} from {entry['id1']} and {entry['id2']}, lam {entry['lam']:.4f}"
        for entry in _entries(plan)
        if f"{entry['split']}/{entry['synthetic_id']}" in made
    ]
    return Summary(said, len(done.kept), done.removed, folder / CATALOG_FILE)


def load(out: str | os.PathLike[str]) -> pd.DataFrame:
    """The catalog of the synthetic samples in `out` that are trained on: those of split `train`.

    Raises:
        UserError: there is none.
    """
    frame = catalogs.load(Path(out) / CATALOG_FILE, empty=True)
    return frame[frame["split"] == "train"].reset_index(drop=True)


def _device(wanted: str) -> str:
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "auto":
        return "cpu"
    raise UserError("PyTorch finds no GPU here: use the device 'cpu' or 'auto'.")


def _rows(frame: pd.DataFrame) -> dict[str, raw.Row]:
    return {str(row["id"]): row for row in frame.to_dict("records")}


def _entries(plan: pd.DataFrame) -> list[raw.Row]:
    return list(plan.to_dict("records"))


def _size(first: raw.Row, second: raw.Row, size: int | None) -> tuple[int, int]:
    if size is not None:
        return size, size
    smaller = min((first, second), key=lambda row: int(row["height"]) * int(row["width"]))
    return int(smaller["height"]), int(smaller["width"])


def _outputs(entry: raw.Row, track: int, suffix: str) -> tuple[str, str, str]:
    """The files of a planned sample, relative to the folder: its cube, its input and its full-size picture."""
    modality = layout.INPUT_MODALITY[track]
    kind = layout.CUBES if suffix == ".h5" else layout.CUBES_ZARR
    split, name = entry["split"], entry["synthetic_id"]
    return (
        f"{split}/{kind}/{name}{suffix}",
        f"{split}/{modality}/{name}{layout.SUFFIXES[modality][0]}",
        f"{split}/{layout.RGB_FULL}/{name}.png",
    )


def _key(work: mixing.Work, first: raw.Row, second: raw.Row) -> str:
    sources = [raw.content_of(row) for row in (first, second)]
    inputs = [row["input_hash"] for row in (first, second)] if work.rgb == "lerp" else []
    choices = (work.lam, work.size, work.track, work.normalize, work.rgb, work.chunk, work.dtype, work.device)
    camera = work.camera
    seen = [table if table is None else table.tolist() for table in (camera.sensitivities, camera.wavelengths)]
    picture = [*seen, camera.linear]
    return incremental.key_of(sources, inputs, choices, picture, function_hash(mixing.make))


def _catalogued(
    plan: pd.DataFrame,
    rows: Mapping[str, raw.Row],
    found: Mapping[str, raw.Row],
    folder: Path,
    track: int,
    suffix: str,
) -> pd.DataFrame:
    entries = []
    for entry in _entries(plan):
        source = rows[entry["id1"]]
        cube, picture, rgb_full = _outputs(entry, track, suffix)
        entries.append(
            {
                "id": entry["synthetic_id"],
                "split": entry["split"],
                "track": track,
                "category": source["category"],
                "category_name": source["category_name"],
                "group": "",
                "cube": (folder / cube).as_posix(),
                "input": (folder / picture).as_posix(),
                "rgb_full": (folder / rgb_full).as_posix(),
                "synthetic": True,
                "id1": entry["id1"],
                "id2": entry["id2"],
                "lam": float(entry["lam"]),
                **found[f"{entry['split']}/{entry['synthetic_id']}"],
            }
        )
    return catalogs.framed(entries)


def _write_previews(wanted: Sequence[str], rows: Mapping[str, raw.Row], folder: Path, track: int) -> None:
    """Pictures of some samples beside their sources; none of earlier runs stay."""
    place = folder / PREVIEW_FOLDER
    if place.is_dir():
        names = {f"{name}.png" for name in wanted}
        for leftover in [path for path in place.iterdir() if path.name not in names]:
            leftover.unlink()
        if not wanted:
            place.rmdir()
    for name in wanted:
        row = rows[name]
        height, width = int(row["height"]) // 2, int(row["width"]) // 2
        views = [_viewed(rows[source]["input"], track) for source in (row["id1"], row["id2"], name)]
        first, second, mixed = (bilinear(view, height, width) for view in views)
        gap = np.ones((3, height, 2), dtype=np.float32)
        image.write(place / f"{name}.png", np.concatenate([first, gap, second, gap, mixed], axis=2))


def _viewed(path: str, track: int) -> NDArray[np.float32]:
    """An input as a picture of half the cube's size, (3, height, width); of a mosaic each RGGB cell is a pixel."""
    if track == 2:
        return image.read(path)
    plane = mosaic.read(path)[0]
    green = (plane[0::2, 1::2] + plane[1::2, 0::2]) / 2
    return np.stack([plane[0::2, 0::2], green, plane[1::2, 1::2]])
