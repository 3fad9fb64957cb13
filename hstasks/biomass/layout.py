"""The competition's tables: one row for each image and target, read strictly, as one row an image.

`train.csv` has sample_id, image_path, Sampling_Date, State, Species, Pre_GSHH_NDVI, Height_Ave_cm, target_name, target;
`test.csv` has sample_id, image_path, target_name and no metadata; `sample_submission.csv` sample_id, target.
"""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base import tables
from hsengine.base.errors import UserError
from hsengine.base.filling import check_filled
from hsengine.base.wording import listed, some
from hstasks.biomass.score import WEIGHTS

TARGETS = tuple(WEIGHTS)
TRAIN, TEST = "train", "test"
TRAIN_TABLE, TEST_TABLE, SUBMISSION_TABLE = "train.csv", "test.csv", "sample_submission.csv"
TRAIN_COLUMNS = (
    *("sample_id", "image_path", "Sampling_Date", "State", "Species", "Pre_GSHH_NDVI", "Height_Ave_cm"),
    *("target_name", "target"),
)
METADATA = TRAIN_COLUMNS[2:7]
TEST_COLUMNS = ("sample_id", "image_path", "target_name")
MEASURED = {"Pre_GSHH_NDVI": "ndvi", "Height_Ave_cm": "height"}
"""Columns of the table with numbers, and their names here."""

_BETWEEN = "__"
_NDVI = (-1.0, 1.0)


@dataclass
class Entry:
    """What the tables say of one image.

    Attributes:
        id: the file's name without its suffix.
        split: `train` or `test`.
        image: path of the picture, or where it should be.
        date: day of sampling; None where it is not known.
        state: where it was taken; empty where it is not known, as is the species.
        species: what grows there.
        ndvi: vegetation index; NaN where it is not known.
        height: of the sward in cm; NaN where it is not known.
        grams: dry matter by target; empty for a test image.
        problems: what is wrong with it.
    """

    id: str
    split: str
    image: Path
    date: datetime.date | None = None
    state: str = ""
    species: str = ""
    ndvi: float = math.nan
    height: float = math.nan
    grams: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass
class Found:
    """What a data folder holds: its images, and what is odd but no image's fault."""

    root: Path
    entries: list[Entry]
    notes: list[str]


def find(folder: str | os.PathLike[str], tolerance: float = 0.01) -> Found:
    """List the images of a data folder with what the tables say of them.

    Raises:
        UserError: there is no training table, a table cannot be read, or a run that was to fill it did not end.
    """
    root = Path(folder)
    check_filled(root)
    if not root.is_dir():
        raise UserError(f"There is no data folder {root}: make sample pictures or place the competition's files there.")
    found = Found(root, train_entries(root / TRAIN_TABLE, root), [])
    found.notes += identity_notes(found.entries, tolerance)
    if not (root / TEST_TABLE).is_file():
        found.notes.append(f"there is no {root / TEST_TABLE}: nothing can be submitted")
    else:
        known = {entry.id: entry for entry in found.entries}
        for entry in test_entries(root / TEST_TABLE, root):
            if entry.id in known:
                known[entry.id].problems.append(f"{entry.id}: the id is both a training and a test image")
            else:
                found.entries.append(entry)
        _check_submission(found)
    return found


def train_entries(file: Path, root: Path) -> list[Entry]:
    """One entry for each image of a table with targets, by id.

    Raises:
        UserError: the file is no such table.
    """
    entries: dict[str, Entry] = {}
    first: dict[str, dict[str, str]] = {}
    for row in tables.read(file, TRAIN_COLUMNS):
        entry = _entry(entries, row, TRAIN, root, file)
        if entry.id not in first:
            first[entry.id] = row
            _describe(entry, row)
        differing = [name for name in METADATA if row[name] != first[entry.id][name]]
        if differing:
            entry.problems.append(f"{entry.id}: its rows differ in {', '.join(differing)}")
        _target(entry, row["target_name"], _number(row["target"]), row["target"])
    if not entries:
        raise UserError(f"{file} has no row: place the competition's file there.")
    return _complete(entries.values(), file)


def test_entries(file: Path, root: Path) -> list[Entry]:
    """One entry for each image of a table without targets, by id; metadata are taken where it has them.

    Raises:
        UserError: the file is no such table.
    """
    entries: dict[str, Entry] = {}
    for row in tables.read(file, TEST_COLUMNS):
        entry = _entry(entries, row, TEST, root, file)
        name = row["target_name"]
        if name not in WEIGHTS or name in entry.grams:
            entry.problems.append(f"{entry.id}: the target '{name}' is unknown or stands twice in {file}")
        entry.grams[name] = math.nan
    found = _complete(entries.values(), file)
    for entry in found:
        entry.grams = {}
    return found


def metadata_entries(file: Path) -> dict[str, Entry]:
    """What a table says of images beside their pictures, by id: `image_path`, and of the columns of `METADATA` those
    that it has. What is empty is not known; no target is needed or looked at.

    Raises:
        UserError: the file is no such table, a field cannot be understood, or rows of an image differ.
    """
    found: dict[str, Entry] = {}
    first: dict[str, dict[str, str]] = {}
    for row in tables.read(file, ("image_path",)):
        said = {name: row.get(name, "") for name in METADATA}
        name = Path(row["image_path"]).stem
        if name not in found:
            found[name], first[name] = Entry(name, TEST, Path(row["image_path"])), said
            _describe(found[name], said, whole=False)
        elif said != first[name]:
            found[name].problems.append(f"{name}: its rows differ")
    problems = [problem for entry in found.values() for problem in entry.problems]
    if problems:
        raise UserError(f"{file}: mend these, or leave the fields empty:\n{listed(problems)}")
    return found


def long(ids: Sequence[str], grams: ArrayLike) -> list[tuple[str, float]]:
    """(sample_id, grams) of each image and target, from (n, 5) in the order of `TARGETS`."""
    table: NDArray[np.float64] = np.asarray(grams, dtype=np.float64)
    return [
        (f"{name}{_BETWEEN}{target}", float(table[row, column]))
        for row, name in enumerate(ids)
        for column, target in sorted(enumerate(TARGETS), key=lambda pair: pair[1])
    ]


def wide(rows: Iterable[tuple[str, float]]) -> tuple[list[str], NDArray[np.float64]]:
    """Ids in the order of their first row, and (n, 5) grams: what `long` was made of.

    Raises:
        UserError: a row twice, one missing, or an unknown target; names it.
    """
    table: dict[str, dict[str, float]] = {}
    for sample, value in rows:
        name, _, target = sample.rpartition(_BETWEEN)
        if target not in WEIGHTS or not name:
            raise UserError(f"The sample_id '{sample}' is not IMAGE{_BETWEEN}TARGET with one of {', '.join(TARGETS)}.")
        if target in table.setdefault(name, {}):
            raise UserError(f"{sample} stands there twice: leave one row.")
        table[name][target] = value
    lacking = [f"{name}{_BETWEEN}{target}" for name, row in table.items() for target in TARGETS if target not in row]
    if lacking:
        raise UserError(f"{some(lacking)} are missing: every image needs a row for each of the five targets.")
    return list(table), np.array([[row[target] for target in TARGETS] for row in table.values()]).reshape(-1, 5)


def identity_notes(entries: Sequence[Entry], tolerance: float) -> list[str]:
    """A warning for each image whose labels break GDM = green + clover or total = GDM + dead by more than so much."""
    notes = []
    for entry in entries:
        if len(entry.grams) < len(TARGETS):
            continue
        green, dead, clover, gdm, total = (entry.grams[name] for name in TARGETS)
        for said, off in (
            ("GDM is not green + clover", gdm - green - clover),
            ("total is not GDM + dead", total - gdm - dead),
        ):
            if abs(off) > tolerance:
                notes.append(f"warning: {entry.id}: {said} by {off:+.3f} g")
    return notes


def _entry(entries: dict[str, Entry], row: Mapping[str, str], split: str, root: Path, file: Path) -> Entry:
    name, _, target = row["sample_id"].rpartition(_BETWEEN)
    path = Path(row["image_path"])
    entry = entries.setdefault(name, Entry(name, split, root / path))
    if not name or target != row["target_name"]:
        entry.problems.append(
            f"{row['sample_id'] or 'a row without sample_id'}: is not IMAGE{_BETWEEN}{row['target_name']} in {file}"
        )
    if path.is_absolute() or ".." in path.parts or path.stem != name or root / path != entry.image:
        entry.problems.append(f"{row['sample_id']}: its image_path '{path}' is not that of the image {name}")
    return entry


def _describe(entry: Entry, row: Mapping[str, str], *, whole: bool = True) -> None:
    """Take a row's metadata; what is empty is a problem of a table that has to be `whole`, else it is not known."""
    entry.state, entry.species = row["State"], row["Species"]
    for name in ("State", "Species"):
        if whole and not row[name]:
            entry.problems.append(f"{entry.id}: {name} is empty")
    if whole or row["Sampling_Date"]:
        try:
            entry.date = datetime.date(*(int(part) for part in row["Sampling_Date"].split("/")))
        except (ValueError, TypeError):
            entry.problems.append(f"{entry.id}: the Sampling_Date '{row['Sampling_Date']}' is no year/month/day")
    entry.ndvi, entry.height = _number(row["Pre_GSHH_NDVI"]), _number(row["Height_Ave_cm"])
    if (whole or row["Pre_GSHH_NDVI"]) and not _NDVI[0] <= entry.ndvi <= _NDVI[1]:
        entry.problems.append(f"{entry.id}: Pre_GSHH_NDVI is '{row['Pre_GSHH_NDVI']}', not a number from -1 to 1")
    if (whole or row["Height_Ave_cm"]) and not 0.0 <= entry.height < math.inf:
        entry.problems.append(f"{entry.id}: Height_Ave_cm is '{row['Height_Ave_cm']}', not a number of at least 0")


def _target(entry: Entry, name: str, value: float, text: str) -> None:
    if name not in WEIGHTS:
        entry.problems.append(f"{entry.id}: the target '{name}' is unknown")
    elif name in entry.grams:
        entry.problems.append(f"{entry.id}: {name} stands there twice")
    elif not 0.0 <= value < math.inf:
        entry.problems.append(f"{entry.id}: {name} is '{text}', not a number of at least 0 grams")
    entry.grams[name] = value


def _complete(entries: Iterable[Entry], file: Path) -> list[Entry]:
    found = sorted(entries, key=lambda entry: entry.id)
    for entry in found:
        missing = [name for name in TARGETS if name not in entry.grams]
        if missing:
            entry.problems.append(f"{entry.id}: has no row for {', '.join(missing)} in {file}")
    return found


def _check_submission(found: Found) -> None:
    file = found.root / SUBMISSION_TABLE
    if not file.is_file():
        found.notes.append(f"there is no {file}")
        return
    wanted = {row["sample_id"] for row in tables.read(file, ("sample_id", "target"))}
    have = {f"{entry.id}{_BETWEEN}{name}" for entry in found.entries if entry.split == TEST for name in TARGETS}
    if wanted != have:
        raise UserError(
            f"{file} and {found.root / TEST_TABLE} are not of the same samples: {some(sorted(wanted ^ have))}. "
            "Place the competition's files together."
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
