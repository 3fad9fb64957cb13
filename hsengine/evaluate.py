"""From rows of measures, one a held-out sample, to tables and `metrics.json`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SEEN = (
    "WARNING: a model was trained with another division of the samples, and may have seen those that are "
    "held out now; its score means nothing then"
)


@dataclass(frozen=True)
class Scored:
    """A scored sample.

    Attributes:
        id: its name.
        values: every measure of it; None or NaN where one is not defined.
        groups: what it is counted with, by the name of the grouping, such as `{"category": 3}`.
        parts: the leading measure of parts of it, by grouping and part, such as `{"region": {"sky": 0.5}}`.
    """

    id: str
    values: Mapping[str, float | None]
    groups: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Summary:
    """What an evaluation found; `metrics` is the content of `metrics.json`.

    Attributes:
        metrics: the numbers, and what they were computed from under `run`.
        file: where they are.
        folder: where the tables are.
        count: what samples are called in the metrics.
    """

    metrics: Mapping[str, Any]
    file: Path
    folder: Path
    count: str = "samples"

    def __str__(self) -> str:
        values, run = self.metrics, self.metrics["run"]
        leading = run["leading"]
        what = f"an ensemble of {run['members']}" if run["members"] > 1 else f"the {run['checkpoint']} checkpoint"
        lines = [
            f"{leading} {shown(values[leading])} of {run['model']}, {what}, on {values[self.count]} held-out samples"
            + (", averaged over flips and turns" if run.get("tta") else "")
        ]
        groups = {name: part for name, part in values.items() if isinstance(part, Mapping) and name != "run"}
        lines += [
            f"by {group}: " + ", ".join(f"{name} {shown(part[leading])}" for name, part in parts.items())
            for group, parts in groups.items()
            if parts
        ]
        if run.get("same_division") is False:
            lines.append(SEEN)
        return "\n".join([*lines, f"wrote {self.file} and {self.folder}"])


def metrics(samples: Sequence[Scored], leading: str, *, count: str = "samples") -> dict[str, Any]:
    """The mean over the samples of each measure, and of the leading one by group and by part.

    A group's is over its samples, a part's over the samples that have it.

    Args:
        samples: at least one; all have the same measures and groups.
        leading: the measure that groups are compared by.
        count: the name of the number of samples.
    """
    found: dict[str, Any] = {name: mean(sample.values[name] for sample in samples) for name in samples[0].values}
    found[count] = len(samples)
    for group in samples[0].groups:
        members = _collected((str(sample.groups[group]), sample.values[leading]) for sample in samples)
        found[group] = {name: {leading: mean(values), count: len(values)} for name, values in members.items()}
    for group in dict.fromkeys(group for sample in samples for group, parts in sample.parts.items() if parts):
        parts = _collected(item for sample in samples for item in sample.parts.get(group, {}).items())
        found[group] = {name: {leading: mean(values)} for name, values in parts.items()}
    return found


def table(samples: Sequence[Scored], leading: str) -> pd.DataFrame:
    """A row a sample: `id`, its groups, its measures, and the leading one of its parts as `<leading>_<part>`."""
    return pd.DataFrame(
        [
            {"id": sample.id, **sample.groups, **sample.values}
            | {f"{leading}_{name}": value for parts in sample.parts.values() for name, value in parts.items()}
            for sample in samples
        ]
    )


def write_table(rows: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with Unix line ends."""
    rows.to_csv(path, index=False, lineterminator="\n")


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that are numbers, in double precision; None where none is."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return float(np.mean(known)) if known else None


def same_division(hashes: Iterable[str | None], now: str) -> bool | None:
    """Whether models were trained on the samples that are for training now; None where a record does not say.

    Args:
        hashes: of the data that each was trained on, as its record has it.
        now: the same of what training would see now.
    """
    known = list(hashes)
    return None if None in known else set(known) == {now}


def shown(value: float | None) -> str:
    """A value in messages and tables."""
    return "undefined" if value is None else f"{value:.4f}"


def _collected(pairs: Iterable[tuple[str, float | None]]) -> dict[str, list[float | None]]:
    """Values by name, sorted."""
    found: dict[str, list[float | None]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return dict(sorted(found.items()))
