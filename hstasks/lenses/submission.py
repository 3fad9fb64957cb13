"""The table that is handed in: every blind object once, checked after it was written."""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hsengine.base.errors import UserError
from hsengine.base.files import explaining, replacing
from hsengine.base.wording import some
from hstasks.lenses.layout import BANDS, LENS_VALUES

Columns = Literal["standard", "extended"]

STANDARD = ("id", "preds", *LENS_VALUES)
"""The 32 columns of the challenge."""

EXTENDED = (*STANDARD, "ra", "dec", "vel_disp", *(f"mag_object_{band}" for band in BANDS), "z_central")
"""The variant of 41 columns."""

_COLUMNS: dict[str, tuple[str, ...]] = {"standard": STANDARD, "extended": EXTENDED}
# Columns that say the same under another name.
_TWINS = {"ra": "RA", "dec": "Dec", "vel_disp": "vel disp"}


@dataclass(frozen=True)
class Summary:
    """What was handed in: the file, its rows, those of class lens, and objects whose class was not scored."""

    path: str
    rows: int
    lenses: int
    unscored: int
    columns: int

    def __str__(self) -> str:
        text = f"{self.rows} objects, {self.lenses} lenses, {self.columns} columns: {self.path}"
        return text + (
            f"\nnote: {self.unscored} objects have no readable band that a model sees and got the set class"
            * bool(self.unscored)
        )


def write(
    path: str | os.PathLike[str],
    ids: Sequence[str],
    preds: Mapping[str, int],
    *,
    values: Mapping[str, Mapping[str, float]] | None = None,
    columns: Columns = "standard",
    filler: float = -999,
    unscored: int | None = None,
) -> Summary:
    """Write a submission and read it back; the file appears whole and right, or not at all.

    Args:
        path: the CSV file.
        ids: every object that must have a row, in the order of the rows.
        preds: object -> 1 (lens) or 0.
        values: object -> column -> predicted value; what is missing or not finite gets the filler.
        columns: `standard` (32) or `extended` (41).
        filler: number for what is not predicted.
        unscored: class of objects without a prediction; None: they are refused.

    Raises:
        UserError: an object is listed twice or has no prediction or one that is neither 0 nor 1, a value has an
            unknown column, or what was written is not what was meant.
    """
    chosen = _COLUMNS.get(columns)
    if chosen is None:
        raise UserError(f"submission.columns {columns!r} is not possible: choose {' or '.join(_COLUMNS)}.")
    values = values or {}
    missing = _check(ids, preds, values, chosen, unscored)
    classes = [int(preds.get(name, unscored or 0)) for name in ids]
    with replacing(path) as scratch:
        with explaining(path), scratch.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(chosen)
            writer.writerows(
                _row(name, pred, values.get(name, {}), chosen, filler) for name, pred in zip(ids, classes, strict=True)
            )
        verify(scratch, ids, columns)
    return Summary(str(path), len(classes), sum(classes), len(missing), len(chosen))


def verify(path: str | os.PathLike[str], ids: Sequence[str], columns: Columns | None = None) -> None:
    """Check a submission: columns, every object once, classes 0 or 1, numbers everywhere.

    Args:
        path: the CSV file.
        ids: the objects that it must have.
        columns: its variant; None: either.

    Raises:
        UserError: says what is wrong, with the line or the object.
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            found = _checked(csv.reader(stream), file.name, columns)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as CSV ({error}): write it again.") from None
    _same_objects(file.name, found, ids)


def _checked(rows: Iterator[list[str]], name: str, columns: Columns | None) -> list[str]:
    """The objects of a table's rows, each of which is in order."""
    header = next(rows, [])
    allowed = [_COLUMNS[columns]] if columns else list(_COLUMNS.values())
    if tuple(header) not in allowed:
        raise UserError(f"{name} has {len(header)} columns, {some(header, 4)}; expected: {some(allowed[0], 4)}.")
    found = []
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(f"Line {number} of {name} has {len(row)} fields, its header {len(header)}.")
        if row[1] not in ("0", "1"):
            raise UserError(f"Line {number} of {name} ({row[0]}) has the class {row[1]!r}: 0 and 1 are possible.")
        bad = next((column for column, text in zip(header[2:], row[2:], strict=True) if not _is_number(text)), None)
        if bad:
            raise UserError(f"Line {number} of {name} ({row[0]}) has no finite number in column {bad}.")
        found.append(row[0])
    return found


def _same_objects(name: str, found: Sequence[str], wanted: Sequence[str]) -> None:
    double = sorted(entry for entry, count in Counter(found).items() if count > 1)
    if double:
        raise UserError(f"{name} has several rows of {some(double)}: an object has one.")
    lacking, strange = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if lacking:
        raise UserError(f"{name} lacks {len(lacking)} of {len(wanted)} objects: {some(lacking)}.")
    if strange:
        raise UserError(f"{name} has {len(strange)} objects that do not belong to it: {some(strange)}.")


def _check(
    ids: Sequence[str],
    preds: Mapping[str, int],
    values: Mapping[str, Mapping[str, float]],
    columns: Sequence[str],
    unscored: int | None,
) -> list[str]:
    """Refuse what cannot be handed in; returns the objects without a prediction."""
    double = sorted(name for name, count in Counter(ids).items() if count > 1)
    if double:
        raise UserError(f"The objects {some(double)} are listed twice: a submission has one row for each.")
    strange = sorted((set(preds) | set(values)) - set(ids))
    if strange:
        raise UserError(f"{len(strange)} predictions are of objects that are not asked for: {some(strange)}.")
    wrong = sorted(name for name, value in preds.items() if value not in (0, 1))
    if wrong:
        raise UserError(f"The class of {some(wrong)} is neither 0 nor 1: apply the threshold first.")
    unknown = sorted({column for row in values.values() for column in row} - set(columns[2:]))
    if unknown:
        raise UserError(f"{some(unknown)} are no columns of this submission.")
    missing = [name for name in ids if name not in preds]
    if missing and unscored is None:
        raise UserError(
            f"{len(missing)} of {len(ids)} objects have no prediction: {some(missing)}. Score them, or set "
            "submission.unscored to 0 or 1 where none of their bands can be read."
        )
    return missing


def _row(name: str, pred: int, values: Mapping[str, float], columns: Sequence[str], filler: float) -> list[str]:
    known = {**{twin: values[column] for twin, column in _TWINS.items() if column in values}, **values}
    cells = [known.get(column, math.nan) for column in columns[2:]]
    return [name, str(pred), *(f"{value if math.isfinite(value) else filler:.10g}" for value in cells)]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
