"""Results of several models on the same held-out samples: how they differ, how surely, and which samples decide."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hsengine.base import tables
from hsengine.base.errors import UserError
from hsengine.base.wording import close_matches, some
from hsengine.bootstrap import interval

RESAMPLES = 2000
Interval = tuple[float, float]


@dataclass(frozen=True)
class Result:
    """What one model scored.

    Attributes:
        name: as the user called it.
        values: the leading measure by the sample's id.
    """

    name: str
    values: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Over the samples."""
        return float(np.mean(list(self.values.values())))


@dataclass(frozen=True)
class Difference:
    """How much more `second` scored than `first`, on the same samples.

    Attributes:
        first: the one it is compared with.
        second: what is compared.
        mean: over the samples.
        by_samples: the 95 % interval of the mean by bootstrap over the samples; None for fewer than two.
        by_groups: the same over whole groups of samples; None for fewer than two.
        groups: how many there are.
        each: of every sample, the greatest magnitude first.
        deciding: the fewest samples without which the mean would be of the other sign or 0; empty where none do,
            since no sample speaks against the rest.
    """

    first: str
    second: str
    mean: float
    by_samples: Interval | None
    by_groups: Interval | None
    groups: int
    each: Mapping[str, float]
    deciding: Sequence[str]

    @property
    def is_sure(self) -> bool:
        """Whether no interval that there is holds 0."""
        known = [found for found in (self.by_samples, self.by_groups) if found is not None]
        return bool(known) and all(low > 0.0 or high < 0.0 for low, high in known)

    def __str__(self) -> str:
        parts = [f"{self.second} - {self.first}: {self.mean:+.4f}"]
        for what, count, found in (
            ("samples", len(self.each), self.by_samples),
            ("groups", self.groups, self.by_groups),
        ):
            told = "no interval" if found is None else f"{found[0]:+.4f} to {found[1]:+.4f}"
            parts.append(f"{told} over {count} {what}")
        if self.deciding:
            parts.append(f"decided by {len(self.deciding)} of {len(self.each)} samples: {some(list(self.deciding))}")
        elif self.mean:
            parts.append("no sample speaks against it")
        return "; ".join(parts)


def differences(results: Sequence[Result], groups: Mapping[str, str]) -> list[Difference]:
    """Each result less each one before it.

    Args:
        results: two or more, on the same samples.
        groups: by the sample's id, what it is drawn together with; samples without are on their own.

    Raises:
        UserError: fewer than two results, two of one name, or other samples in one of them, by name.
    """
    if len(results) < 2:
        raise UserError("There is nothing to compare with: name two models or more.")
    names = [result.name for result in results]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{some(double)} is named twice: name each model once.")
    for result in results[1:]:
        check_same(results[0].name, list(results[0].values), result.name, list(result.values))
    return [_difference(first, second, groups) for first, second in itertools.combinations(results, 2)]


def check_same(first: str, ours: Sequence[str], second: str, theirs: Sequence[str]) -> None:
    """Refuse results whose samples differ.

    Raises:
        UserError: names what only one of them has.
    """
    parts = [
        f"only {name} has {some(sorted(set(own) - set(other)))}"
        for name, own, other in ((first, ours, theirs), (second, theirs, ours))
        if set(own) - set(other)
    ]
    if parts:
        raise UserError(
            f"The held-out samples of {first} and {second} differ: {'; '.join(parts)}. Compare models that were held "
            "out the same samples."
        )


def _difference(first: Result, second: Result, groups: Mapping[str, str]) -> Difference:
    ids = sorted(first.values)
    values = np.array([second.values[name] - first.values[name] for name in ids])
    keys = [f"group {groups[name]}" if groups.get(name) else f"sample {name}" for name in ids]
    count = len(set(keys))
    order = sorted(range(len(ids)), key=lambda place: (-abs(values[place]), ids[place]))
    return Difference(
        first.name,
        second.name,
        float(values.mean()),
        interval(_mean, values, resamples=RESAMPLES) if len(ids) > 1 else None,
        interval(_mean, values, groups=keys, resamples=RESAMPLES) if count > 1 else None,
        count,
        {ids[place]: float(values[place]) for place in order},
        _deciding(ids, values),
    )


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean())


def _deciding(ids: Sequence[str], values: NDArray[np.float64]) -> list[str]:
    """The samples that speak most for the mean's sign, until the others' sum is not of that sign."""
    sign = np.sign(values.sum())
    order = sorted(range(len(ids)), key=lambda place: (-sign * values[place], ids[place]))
    found: list[str] = []
    left = float(values.sum())
    for place in order[:-1] if sign else []:
        left -= float(values[place])
        found.append(ids[place])
        if sign * left <= 0:
            return found
    return []


def of_table(
    source: Path, measure: str, group: str | None = None, direction: Literal["max", "min"] = "max"
) -> tuple[Result, dict[str, str]]:
    """A result, and the groups of its samples, from a table with a row a sample.

    Args:
        source: the CSV, or the folder of an evaluation that holds one with such columns.
        measure: its column of the leading measure.
        group: its column of groups; None for none.
        direction: whether more of the measure is better; of "min" the sign is changed.

    Raises:
        UserError: there is no such table or column, or a value that is no number.
    """
    file = _table_in(source, measure) if source.is_dir() else source
    wanted = ("id", measure) if group is None else ("id", measure, group)
    rows = tables.read(file, wanted)
    values, sign = {}, 1.0 if direction == "max" else -1.0
    for row in rows:
        try:
            values[row["id"]] = sign * float(row[measure])
        except ValueError:
            raise UserError(f"{file}: {measure} of {row['id']} is '{row[measure]}', which is no number.") from None
    if not values or not np.isfinite(list(values.values())).all():
        raise UserError(f"{file} has no finite {measure} for each sample: nothing can be compared.")
    if len(values) != len(rows):
        raise UserError(f"{file} names samples twice: give a table with a row a sample.")
    return Result(source.as_posix(), values), {} if group is None else {row["id"]: row[group] for row in rows}


def _table_in(folder: Path, measure: str) -> Path:
    columns = {}
    for file in sorted(folder.glob("*.csv")):
        with file.open(encoding="utf-8", errors="replace", newline="") as stream:
            columns[file] = next(csv.reader(stream), [])
    found = [file for file, names in columns.items() if {"id", measure} <= set(names)]
    if len(found) != 1:
        known = sorted({name for names in columns.values() if "id" in names for name in names if name != "id"})
        raise UserError(
            f"{folder} holds {len(found) or 'no'} table{'s' if len(found) > 1 else ''} with the columns id and "
            f"{measure}{close_matches(measure, known)}: name the file, or another measure"
            + (f" ({', '.join(known)})." if known else ".")
        )
    return found[0]
