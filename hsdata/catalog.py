"""The catalog: one row a sample, with what its files hold and whether they are sound."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from hsdata import facts, layout, paths, verify
from hsdata.cube import BAND_GRID
from hsdata.params import DataParams
from hsengine.base import tables
from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hsengine.base.wording import listed, some

COLUMNS: dict[str, str] = {
    "id": "str",
    "split": "str",
    "track": "int64",
    "category": "int64",
    "category_name": "str",
    "group": "str",
    "height": "int64",
    "width": "int64",
    "bands": "int64",
    "input": "str",
    "cube": "str",
    "rgb_full": "str",
    "synthetic": "bool",
    "id1": "str",
    "id2": "str",
    "lam": "float64",
    "below": "int64",
    "above": "int64",
    "cube_hash": "str",
    "input_hash": "str",
}
"""Column names of a catalog, in order, and their types."""

_TYPES: Any = {name: "object" if kind == "str" else kind for name, kind in COLUMNS.items()}

GROUPS_FILE = "groups.csv"
# How far a band may lie from its place on the band grid, in nm.
_TOLERANCE = 0.5


@dataclass
class _Candidate:
    """The files found under one id of a split, before they are read."""

    id: str
    split: str
    inputs: list[Path] = field(default_factory=list)
    cubes: list[Path] = field(default_factory=list)
    rgb_full: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def labelled(self) -> bool:
        return self.split in layout.LABELLED_SPLITS


@dataclass(frozen=True)
class Summary:
    """The catalog that was made, where it is, and what is odd about the raw files as a whole."""

    frame: pd.DataFrame
    path: Path
    notes: list[str]

    def __str__(self) -> str:
        return "\n".join([*(f"note: {note}" for note in self.notes), describe(self.frame), f"wrote {self.path}"])


def run(params: DataParams, *, workers: int | None = None, scheduler: str | None = None, full: bool = False) -> Summary:
    """The stage: list the samples of the data folder in `paths.CATALOG`, once DVC knows the raw files; see `make`."""
    notes = verify.require_recorded(params.data.root).notes
    frame = make(
        params.data.root,
        params.track,
        workers=params.machine.workers if workers is None else workers,
        scheduler=scheduler,
        unsound=params.catalog.unsound,
    )
    save(frame, paths.CATALOG)
    return Summary(frame, paths.CATALOG, notes)


def make(
    root: str | os.PathLike[str],
    track: int,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    unsound: Literal["refuse", "drop"] = "refuse",
) -> pd.DataFrame:
    """List the samples of a track and check every one of them.

    Args:
        root: the data folder, which holds `track1` and `track2`.
        track: 1 (mosaics) or 2 (half-size RGB pictures).
        workers: processes that read; 0 means one a core.
        scheduler: a Dask scheduler instead of processes.
        unsound: `refuse` ends with all that is wrong; `drop` leaves unsound samples out.

    Returns:
        One row a sample with the columns of `COLUMNS`, by split and id. `height` and `width` are those
        of the cube, in pixels, or of the cube to predict; `below` and `above` count the cube's values
        outside [0, 1]. `attrs["problems"]` lists what was dropped and why, `attrs["notes"]` what else is odd.

    Raises:
        UserError: the track or its training split is missing, a split is empty, or (with `refuse`)
            any sample is unsound.
    """
    root = layout.check_root(root, track)
    notes: list[str] = []
    samples = _found(root, track, notes)
    groups = _groups(root, {sample.id for sample in samples}, notes)
    modality = layout.INPUT_MODALITY[track]
    keys = [key for sample in samples if not sample.problems for key in _files(sample, modality)]
    known = facts.of_files(keys, count=workers, scheduler=scheduler)
    rows = []
    for sample in samples:
        if not sample.problems:
            row = _row(sample, track, known, groups)
            if not sample.problems:
                rows.append(row)
    problems = [problem for sample in samples for problem in sample.problems if problem]
    if problems and unsound == "refuse":
        raise UserError(
            f"{root} is unsound on track {track}:\n{listed(problems)}\n"
            "Mend or remove these files, or set catalog.unsound to 'drop' to leave the samples out."
        )
    frame = framed(rows)
    if not (frame["split"] == "train").any():
        raise UserError(f"No sound training sample is left in {root}/track{track}:\n{listed(problems)}")
    outside = frame[(frame["below"] > 0) | (frame["above"] > 0)]
    notes += [
        f"{row.cube}: {row.below} values below 0, {row.above} above 1"
        for row in outside[["cube", "below", "above"]].itertuples(index=False)
    ]
    frame.attrs.update(problems=problems, notes=notes)
    return frame


def save(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a catalog as CSV; equal catalogs give equal bytes."""
    write_text(path, frame[list(COLUMNS)].to_csv(index=False, lineterminator="\n"))


def load(path: str | os.PathLike[str], *, empty: bool = False) -> pd.DataFrame:
    """Read a catalog that `save` wrote.

    Args:
        path: the file.
        empty: whether it may list nothing, as that of the synthetic samples may.

    Raises:
        UserError: there is none, it is no catalog, or it lists nothing.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"There is no catalog at {file}: make it with 'hsdata catalog' or 'dvc repro catalog'.")
    # Python's own float parser gives back exactly what was written.
    types: Any = {**_TYPES, "lam": "str"}
    try:
        text = StringIO(file.read_text(encoding="utf-8"))
        # Else a comma too many at the ends of lines would shift all columns.
        frame = pd.read_csv(text, dtype=types, keep_default_na=False, index_col=False)
        frame["lam"] = [float(lam) if lam else float("nan") for lam in frame["lam"]]
        frame = frame[list(COLUMNS)].astype(_TYPES)
    except (ValueError, KeyError) as error:
        raise UserError(f"{file} is not a catalog ({error}): make it anew with 'hsdata catalog'.") from None
    if frame.empty and not empty:
        raise UserError(f"{file} lists no sample, so that nothing follows from it: make it anew with 'hsdata catalog'.")
    return frame


def concatenated(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several catalogs, such as the originals and the synthetic samples, as one.

    Raises:
        UserError: an id stands in two of them.
    """
    # An empty part would decide the types of the whole.
    parts = [part[list(COLUMNS)] for part in frames if len(part)] or [framed([])]
    frame = pd.concat(parts, ignore_index=True).astype(_TYPES)
    double = sorted(frame.loc[frame["id"].duplicated(), "id"])
    if double:
        raise UserError(f"{some(double)} stand in two catalogs: an id must name one sample.")
    return frame


def framed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a catalog, by split and id."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(_TYPES)
    order = frame["split"].map({split: place for place, split in enumerate(layout.SPLITS)})
    return frame.assign(_order=order).sort_values(["_order", "id"], ignore_index=True).drop(columns="_order")


def describe(frame: pd.DataFrame) -> str:
    """A few lines about a catalog: how many samples of which split and category, and what is odd."""
    lines = [f"{len(frame)} samples"]
    for split in layout.SPLITS:
        part = frame[frame["split"] == split]
        if len(part):
            counts = Counter(name or "no category" for name in part["category_name"])
            lines.append(f"  {split}: {len(part)} ({', '.join(f'{counts[name]} {name}' for name in sorted(counts))})")
    problems, notes = frame.attrs.get("problems", []), frame.attrs.get("notes", [])
    if problems:
        lines += ["left out:", listed(problems)]
    if notes:
        lines += ["note:", listed(notes)]
    return "\n".join(lines)


def _found(root: Path, track: int, notes: list[str]) -> list[_Candidate]:
    """The samples of every split with the files of each, and the problems that names alone show."""
    modality = layout.INPUT_MODALITY[track]
    samples: list[_Candidate] = []
    for split in layout.SPLITS:
        folder = layout.split_folder(root, track, split)
        if not folder.is_dir():
            if split == "train":
                raise UserError(f"There is no training split at {folder}: place its {modality} and cubes there.")
            notes.append(f"there is no split {split} ({folder})")
            continue
        found: dict[str, _Candidate] = defaultdict(lambda: _Candidate("", ""))
        kinds = (modality, layout.CUBES, layout.RGB_FULL) if split in layout.LABELLED_SPLITS else (modality,)
        for kind in kinds:
            for path in layout.files_of(folder, kind):
                sample = found[path.stem]
                sample.id, sample.split = path.stem, split
                {modality: sample.inputs, layout.CUBES: sample.cubes}.get(kind, sample.rgb_full).append(path)
        present = [found[name] for name in sorted(found) if found[name].inputs or found[name].cubes]
        if not present:
            raise UserError(
                f"{folder} is an empty split: it has no file in {' or '.join(kinds[:2])}. "
                "Fill it ('dvc checkout', 'dvc pull') or remove the folder."
            )
        for sample in present:
            _check_names(sample, folder, modality)
        samples += present
    _check_ids(samples)
    return samples


def _check_names(sample: _Candidate, folder: Path, modality: str) -> None:
    for files in (sample.inputs, sample.cubes, sample.rgb_full):
        if len(files) > 1:
            sample.problems.append(f"{sample.id} in {folder} has two files: {', '.join(path.name for path in files)}")
    if sample.cubes and not sample.inputs:
        wanted = "/".join(layout.SUFFIXES[modality])
        sample.problems.append(
            f"{_shown(sample.cubes[0])} has no input: {folder.as_posix()}/{modality}/{sample.id}{wanted} is missing"
        )
    if sample.labelled and sample.inputs and not sample.cubes:
        sample.problems.append(
            f"{_shown(sample.inputs[0])} has no cube: {folder.as_posix()}/{layout.CUBES}/{sample.id}.h5 is missing"
        )


def _check_ids(samples: list[_Candidate]) -> None:
    """An id must name one sample, whatever the split."""
    by_id: dict[str, list[_Candidate]] = defaultdict(list)
    for sample in samples:
        by_id[sample.id].append(sample)
    for name, same in by_id.items():
        if len(same) > 1:
            text = f"{name} stands in the splits {' and '.join(sample.split for sample in same)}"
            same[0].problems.append(text)
            for other in same[1:]:
                # Said once, though all of them are left out.
                other.problems.append("")


def _files(sample: _Candidate, modality: str) -> list[facts.FileKey]:
    keys = [(modality, str(sample.inputs[0]))]
    if sample.cubes:
        keys.append((layout.CUBES, str(sample.cubes[0])))
    return keys


def _row(
    sample: _Candidate, track: int, known: dict[facts.FileKey, facts.Facts], groups: dict[str, str]
) -> dict[str, Any]:
    """The catalog's row of a sample; adds to the sample's problems what its files show."""
    modality, scale = layout.INPUT_MODALITY[track], layout.SCALE[track]
    keys = _files(sample, modality)
    entry = known[keys[0]]
    cube = known[keys[1]] if sample.cubes else None
    if entry.error:
        sample.problems.append(entry.error)
    height, width = entry.height * scale, entry.width * scale
    if cube is not None:
        sample.problems += _cube_problems(keys[1][1], cube)
        if not cube.error and not entry.error and (cube.height, cube.width) != (height, width):
            sample.problems.append(
                f"{_shown(keys[1][1])}: {cube.height} x {cube.width} pixels, but its input {_shown(keys[0][1])} has "
                f"{entry.height} x {entry.width} and track {track} asks for {scale} times that"
            )
        height, width = cube.height, cube.width
    return {
        "id": sample.id,
        "split": sample.split,
        "track": track,
        "category": layout.category_of(sample.id),
        "category_name": sample.id.partition("_")[0] if "_" in sample.id else "",
        "group": groups.get(sample.id, ""),
        "height": height,
        "width": width,
        "bands": cube.bands if cube is not None else len(BAND_GRID),
        "input": _shown(keys[0][1]),
        "cube": _shown(keys[1][1]) if cube is not None else "",
        "rgb_full": _shown(sample.rgb_full[0]) if sample.rgb_full else "",
        "synthetic": False,
        "id1": "",
        "id2": "",
        "lam": float("nan"),
        "below": cube.below if cube is not None else 0,
        "above": cube.above if cube is not None else 0,
        "cube_hash": cube.content if cube is not None else "",
        "input_hash": entry.content,
    }


def _cube_problems(path: str, cube: facts.Facts) -> list[str]:
    if cube.error:
        return [cube.error]
    problems = []
    if cube.bands != len(BAND_GRID):
        problems.append(
            f"{_shown(path)}: {cube.bands} bands where {len(BAND_GRID)} are expected "
            f"({BAND_GRID[0]:g} to {BAND_GRID[-1]:g} nm); 'hsdata import' resamples cubes of other sensors"
        )
    else:
        off = np.abs(np.asarray(cube.wavelengths) - BAND_GRID)
        if not np.all(off <= _TOLERANCE):
            worst = int(np.argmax(off))
            problems.append(
                f"{_shown(path)}: band {worst} is at {cube.wavelengths[worst]:g} nm where the band grid has "
                f"{BAND_GRID[worst]:g} nm; 'hsdata import' resamples cubes to the grid"
            )
    if cube.invalid:
        problems.append(f"{_shown(path)}: {cube.invalid} values are NaN or infinite")
    return problems


def _groups(root: Path, ids: set[str], notes: list[str]) -> dict[str, str]:
    """Group of each id from the data folder's `groups.csv`; without the file no group is known."""
    file = root / GROUPS_FILE
    if not os.path.lexists(file):
        return {}
    found: dict[str, str] = {}
    double: dict[str, None] = {}
    for row in tables.read(file, ("id", "group")):
        if found.setdefault(row["id"], row["group"]) != row["group"]:
            double[row["id"]] = None
    if double:
        raise UserError(f"{file} puts {some(sorted(double))} into two groups each; leave one line for each id.")
    unknown = sorted(set(found) - ids)
    if unknown:
        notes.append(f"{file.as_posix()} names {len(unknown)} ids without files on this track: {some(unknown)}")
    return found


def _shown(path: str | Path) -> str:
    """The path as the catalog states it: with forward slashes, relative where it lies under the working folder."""
    place = Path(path)
    if ".." in place.parts:
        place = Path(os.path.realpath(place))
    here = Path.cwd()
    for base in (here, here.resolve()):
        if place.is_absolute() and place.is_relative_to(base):
            return place.relative_to(base).as_posix()
    return place.as_posix()
