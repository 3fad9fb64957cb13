"""The verb `compare`: models and predictions on the same held-out samples, and whether they really differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsdata import catalog as catalogs
from hsdata import formats, layout, paths
from hsdata.cube import BAND_GRID
from hsdata.view.scene import Map, Scene, Viewer, viewer
from hsengine import compare as engine
from hsengine import folder as folders
from hsengine import sources
from hsengine.base.errors import UserError
from hsengine.base.wording import some
from hsengine.compare import Difference, Result
from hsengine.report import comparison
from hsengine.report.page import Note, Page, Section, Table
from hsmodels import scoring
from hsmodels.checkpoint import HELD_OUT
from hsmodels.heldout import Frames, held_out_rows
from hsmodels.inference import predictor as predictors
from hsmodels.params import Params

FOLDER = paths.OUTPUTS / "comparison"
PICTURED = 3
"""Samples whose cubes the page shows: those on which the first two differ most."""

# In nm; formats store wavelengths with different precisions.
_TOLERANCE = 0.5


@dataclass(frozen=True)
class Summary:
    """What was found, and the folder of the page."""

    found: Sequence[Difference]
    folder: Path
    notes: Sequence[str]

    def __str__(self) -> str:
        lines = [f"{scoring.SCORE} on {len(self.found[0].each)} held-out samples, 95 % intervals by bootstrap"]
        lines += [str(one) for one in self.found] + [f"note: {note}" for note in self.notes]
        return "\n".join([*lines, f"wrote {self.folder / comparison.PAGE}: open it in a browser"])


class Entry(Protocol):
    """Something that gives cubes of held-out samples."""

    @property
    def name(self) -> str:
        """As the user called it."""
        ...

    def cube(self, id: str, truth: Tensor) -> Tensor:
        """The cube (bands, H, W) of a sample, in the shape of its truth."""
        ...


def run(params: Params, named: Sequence[str | Path], *, folder: Path = FOLDER) -> Summary:
    """Score models and predictions on the held-out samples, and compare them sample by sample.

    A model predicts as it was trained to, by its own section `predict`; the cubes of a folder are scored as they are.

    Args:
        params: the track.
        named: two or more models (see `hsengine.sources.local`), or folders with a cube `<id>.<suffix>` for each
            held-out sample, as `hsmodels predict` writes them.
        folder: for `comparison.html` and `comparison.json`, replaced as a whole.

    Raises:
        UserError: there is no catalog or index; a model was held out other samples, is of another track or makes no
            cubes; a cube is missing or not of the truth's shape; something else stands in `folder`.
    """
    comparison.check_place(folder)
    rows = held_out_rows(catalogs.load(paths.CATALOG))
    frames = Frames(rows, params.track)
    notes: list[str] = []
    entries = [_entry(source, params, rows, notes) for source in named]
    values: dict[str, dict[str, dict[str, float]]] = {entry.name: {} for entry in entries}
    for index, (_, truth) in enumerate(frames.pairs("comparing")):
        for entry in entries:
            values[entry.name][frames.ids[index]] = _scores(entry, frames.ids[index], truth)
    results = [
        Result(name, {sample: scores[scoring.SCORE] for sample, scores in by_sample.items()})
        for name, by_sample in values.items()
    ]
    if len(results) < len(entries):
        raise UserError(f"{some([entry.name for entry in entries])}: name each model once.")
    found = engine.differences(results, dict(zip(rows["id"], rows["group"], strict=True)))
    shown = viewer(_scenes(entries, frames, list(found[0].each)[:PICTURED], values))
    page = _page(params, results, found, values, rows, shown, notes)
    comparison.save(folder, page, comparison.record(scoring.SCORE, results, found))
    return Summary(found, folder, notes)


@dataclass(frozen=True)
class _Model:
    """A trained model."""

    name: str
    predictor: predictors.Predictor
    frames: Frames

    def cube(self, id: str, truth: Tensor) -> Tensor:
        return self.predictor(self.frames.input(self.frames.ids.index(id)).to(self.predictor.device))


@dataclass(frozen=True)
class _Cubes:
    """A folder of cubes."""

    name: str
    files: Mapping[str, Path]

    def cube(self, id: str, truth: Tensor) -> Tensor:
        file = self.files[id]
        if file.suffix == ".npy" or (file.suffix == ".npz" and not _has_wavelengths(file)):
            values = formats.load(file, wavelengths=BAND_GRID, axes="height,width,bands").values
        else:
            cube = formats.open_cube(file)
            values = cube.values
            if cube.mask is not None and not cube.mask.all():
                raise UserError(f"{file} has pixels without data or finite numbers: predict it again.")
            if len(cube.wavelengths) != len(BAND_GRID) or np.abs(cube.wavelengths - BAND_GRID).max() > _TOLERANCE:
                raise UserError(f"{file} has other wavelengths than the challenge: it cannot be scored.")
        if values.shape != tuple(truth.shape):
            raise UserError(
                f"{file} is of shape {values.shape}, but the held-out sample is of {tuple(truth.shape)} (bands, "
                "height, width): predict it again."
            )
        if not np.isfinite(values).all():
            raise UserError(f"{file} holds values that are no finite numbers: predict it again.")
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _has_wavelengths(file: Path) -> bool:
    return formats.load(file, axes="height,width,bands").wavelengths is not None


def _entry(source: str | Path, params: Params, rows: pd.DataFrame, notes: list[str]) -> Entry:
    name, place = sources.shown(source), sources.local(source)
    ids = [str(id) for id in rows["id"]]
    if not (place / folders.CONFIG).exists():
        return _Cubes(name, _files(place, ids))
    predictor = predictors.load([place])
    predictors.require_cubes(predictor)
    if predictor.track != params.track:
        raise UserError(f"{name} is a model of track {predictor.track}, but params.yaml says track {params.track}.")
    held_out = folders.record(place).get(HELD_OUT)
    if held_out is None:
        notes.append(f"the record of {name} does not say which samples it was held out: it may have seen these")
    else:
        engine.check_same(paths.HELD_OUT.as_posix(), ids, name, [str(one) for one in held_out])
    return _Model(name, predictor, Frames(rows, params.track, input=predictor.input))


def _files(place: Path, ids: Sequence[str]) -> dict[str, Path]:
    """The cube of each sample in a folder."""
    if not place.is_dir():
        raise UserError(f"{place} is neither a trained model nor a folder of cubes: check the path.")
    by_id: dict[str, list[Path]] = {}
    for file in sorted(place.iterdir()):
        if file.suffix.lower() in formats.READERS:
            by_id.setdefault(file.stem, []).append(file)
    if missing := [id for id in ids if id not in by_id]:
        raise UserError(
            f"{place} has no cube of the held-out samples {some(missing)}: predict all of them, or name a model's "
            "folder."
        )
    if double := [id for id in ids if len(by_id[id]) > 1]:
        raise UserError(f"{place} has several cubes of {some(double)}: leave one of each.")
    return {id: by_id[id][0] for id in ids}


def _scores(entry: Entry, id: str, truth: Tensor) -> dict[str, float]:
    prediction = entry.cube(id, truth)
    found = scoring.values(truth[None], prediction[None], BAND_GRID, layout.CUBES)
    return {name: float(value[0]) for name, value in found.items()}


def _scenes(
    entries: Sequence[Entry],
    frames: Frames,
    ids: Sequence[str],
    values: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> list[Scene]:
    """Truth and predictions of samples, with the error of each pixel."""
    scenes = []
    for id in ids:
        input, truth = frames.pair(frames.ids.index(id))
        cubes: dict[str, NDArray[np.floating]] = {"truth": truth.numpy()}
        cubes |= {entry.name: entry.cube(id, truth).cpu().numpy() for entry in entries}
        errors = {name: np.abs(cube - cubes["truth"]).mean(axis=0) for name, cube in cubes.items() if name != "truth"}
        told = "mean over the bands of |prediction - truth|, in reflectance"
        photo = input.numpy()
        scored = ", ".join(f"{entry.name} {values[entry.name][id][scoring.SCORE]:.4f}" for entry in entries)
        scenes.append(
            Scene(
                f"{id}: {scored}",
                cubes,
                BAND_GRID,
                maps=[Map(f"error of {name}", error, note=told) for name, error in errors.items()],
                photo=np.repeat(photo, 3, axis=0) if len(photo) == 1 else photo,
            )
        )
    return scenes


def _page(
    params: Params,
    results: Sequence[Result],
    found: Sequence[Difference],
    values: Mapping[str, Mapping[str, Mapping[str, float]]],
    rows: pd.DataFrame,
    shown: Viewer,
    notes: Sequence[str],
) -> Page:
    source = f"hsmodels compare on the {len(rows)} samples of {paths.HELD_OUT}, track {params.track}"
    columns = [scoring.SCORE, *(name for name in scoring.DIRECTIONS if name != scoring.SCORE)]
    measures = [
        [name, *(f"{np.mean([scores[column] for scores in by_sample.values()]):.4f}" for column in columns)]
        for name, by_sample in values.items()
    ]
    sections = [
        comparison.differences(scoring.SCORE, results, found, source),
        comparison.deciding(scoring.SCORE, found, source),
        Section("Cubes", [Note("The samples on which the first two differ most."), shown.part]),
        Section("All measures", [Table(["model", *columns], measures, source)]),
        Section("By sample", [_by_sample(results, rows, source)]),
    ]
    if notes:
        sections.insert(0, Section("Notes", [Note(f"{note[0].upper()}{note[1:]}.") for note in notes]))
    return Page(
        title=f"Comparison of {' and '.join(result.name for result in results)}",
        lead=f"{scoring.SCORE} of the same held-out samples, sample by sample; above 0 the second scores more.",
        sections=sections,
        styles=shown.styles,
        scripts=shown.scripts,
        data=shown.data,
    )


def _by_sample(results: Sequence[Result], rows: pd.DataFrame, source: str) -> Table:
    known: list[dict[Any, Any]] = rows[["id", "category_name", "group"]].to_dict("records")
    cells = [
        [row["id"], row["category_name"], row["group"], *(f"{one.values[row['id']]:.4f}" for one in results)]
        for row in known
    ]
    return Table(["id", "category", "group", *(one.name for one in results)], cells, source)
