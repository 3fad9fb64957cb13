"""Who is held out: folds of whole units, spread evenly, and leaks found before they count.

Folds follow from the samples and the seed, not from the order of the rows. Samples that show the same image are
never in two folds, whatever the strategy.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json, write_text
from hsengine.base.params import Section
from hsengine.base.reading import parsed_json
from hsengine.base.wording import some
from hstasks.images import catalog as catalogs
from hstasks.images.blocks import blocks, near
from hstasks.images.leakage import Leak, check, leaks

__all__ = ["Decision", "Leak", "Split", "check", "decide", "leaks", "load", "write"]

FOLDER = paths.DERIVED / "split"
FOLDS, DECISION = "folds.csv", "decision.json"

Strategy = Literal["random", "stratified", "grouped", "blocked"]


class Split(Section):
    """Which samples are held out."""

    # random: sample by sample; stratified: each stratum spread evenly; grouped: whole groups, strata spread as
    # evenly as they allow; blocked: whole squares of ground.
    strategy: Strategy = "grouped"
    folds: int = Field(5, ge=2)
    # The fold that is held out.
    fold: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)
    # Of `blocked`, in the unit of the footprints: side of a square, and how far training keeps from a held-out one.
    block: float | None = Field(None, gt=0.0)
    gap: float = Field(0.0, ge=0.0)

    @model_validator(mode="after")
    def _complete(self) -> Split:
        if self.fold >= self.folds:
            raise ValueError(f"split.fold {self.fold} does not exist: folds are numbered 0 to {self.folds - 1}")
        if self.strategy == "blocked" and self.block is None:
            raise ValueError("split.block must be the side of a square when split.strategy is 'blocked'")
        return self


@dataclass(frozen=True)
class Decision:
    """Who is held out, who is trained on, and why.

    Attributes:
        strategy: of `Split`.
        seed: of the random choices.
        fold: the fold that is held out.
        folds: fold of each id, by id.
        dropped: ids that are neither held out nor trained on, since they touch a held-out one.
        strata: samples by stratum in each fold.
        reasons: how the choice came about and what to know of it, in sentences.
    """

    strategy: str
    seed: int
    fold: int
    folds: dict[str, int]
    dropped: list[str] = field(default_factory=list)
    strata: dict[str, list[int]] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def held_out(self) -> list[str]:
        """Ids kept from training, sorted."""
        return [name for name, fold in self.folds.items() if fold == self.fold]

    @property
    def train(self) -> list[str]:
        """Ids to train on, sorted."""
        dropped = set(self.dropped)
        return [name for name, fold in self.folds.items() if fold != self.fold and name not in dropped]

    @property
    def hash(self) -> str:
        """A name for the folds of all ids: equal for models that can be compared and averaged."""
        return hashlib.blake2b(_lines(self.folds).encode(), digest_size=16).hexdigest()

    def __str__(self) -> str:
        lines = [f"{len(self.held_out)} held out (fold {self.fold}), {len(self.train)} to train on"]
        return "\n".join([*lines, *self.reasons])


def decide(frame: pd.DataFrame, params: Split) -> Decision:
    """Divide the samples of a catalog into folds, one of which is held out.

    Args:
        frame: a catalog's labelled samples; `blocked` needs the columns of `blocks.FOOTPRINT`.
        params: strategy and what it needs.

    Raises:
        UserError: there are fewer independent units than folds, or a fold or the training would be empty.
    """
    ordered = frame.sort_values("id", ignore_index=True)
    if ordered.empty:
        raise UserError("The catalog has no labelled sample: there is nothing to train on or to hold out.")
    labels = blocks(ordered, params.block) if params.strategy == "blocked" and params.block else None
    columns = [ordered["content"], *_apart(ordered, params.strategy, labels)]
    strata = ordered["stratum"] if params.strategy != "random" else pd.Series([""] * len(ordered))
    units = _units(columns)
    folds = dict(zip(ordered["id"], _assigned(units, list(strata), params), strict=True))
    dropped: list[str] = []
    if params.strategy == "blocked":
        held = ordered["id"].map(lambda name: folds[name] == params.fold).to_numpy(dtype=bool)
        dropped = list(ordered.loc[near(ordered, held, params.gap) & ~held, "id"])
    decision = Decision(params.strategy, params.seed, params.fold, folds, dropped, _table(ordered, folds, params.folds))
    if not decision.train:
        raise UserError(f"All but the held-out samples touch one of them: lower split.gap ({params.gap}) or 'block'.")
    decision.reasons.extend(_reasons(decision, params, frame, len(set(units))))
    return decision


def write(decision: Decision, folder: str | os.PathLike[str] = FOLDER) -> None:
    """Write `folds.csv` (id, fold) and `decision.json`, both or none."""
    with replacing(folder) as place:
        place.mkdir()
        write_text(place / FOLDS, _lines(decision.folds))
        record: dict[str, Any] = {
            "strategy": decision.strategy,
            "seed": decision.seed,
            "fold": decision.fold,
            "hash": decision.hash,
            "held_out": len(decision.held_out),
            "train": len(decision.train),
            "dropped": decision.dropped,
            "strata": decision.strata,
            "reasons": decision.reasons,
        }
        write_json(place / DECISION, record)


def load(folder: str | os.PathLike[str] = FOLDER) -> Decision:
    """Read what `write` wrote.

    Raises:
        UserError: there is none, or the files do not belong together.
    """
    place, remedy = Path(folder), "make it anew with 'hstasks split' or 'dvc repro split'."
    if not (place / FOLDS).is_file() or not (place / DECISION).is_file():
        raise UserError(f"There is no split in {place}: {remedy}")
    frame = catalogs.table(place / FOLDS, {"id": "str", "fold": "int64"}, remedy)
    folds = dict(zip(frame["id"], frame["fold"].tolist(), strict=True))
    try:
        record = parsed_json(place / DECISION, "the record of a split", remedy)
        names = ("strategy", "seed", "fold", "dropped", "strata", "reasons")
        decision = Decision(folds=folds, **{name: record[name] for name in names})
        intact = decision.hash == record["hash"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{place / DECISION} cannot be used ({error!r}): {remedy}") from None
    if not intact:
        raise UserError(f"{place / FOLDS} is not what {place / DECISION} records: {remedy}")
    return decision


def _lines(folds: Mapping[str, int]) -> str:
    return "".join(["id,fold\n", *(f"{name},{fold}\n" for name, fold in sorted(folds.items()))])


def _apart(frame: pd.DataFrame, strategy: Strategy, labels: Sequence[str] | None) -> list[Sequence[str]]:
    """What must not be divided, beside images."""
    if strategy == "grouped":
        return [list(frame["group"])]
    return [] if labels is None else [labels]


def _units(columns: Sequence[Iterable[str]]) -> list[int]:
    """A number for each sample, equal for those that share a value of a column, directly or through others."""
    values = [list(column) for column in columns]
    parent = list(range(len(values[0])))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for column in values:
        first: dict[str, int] = {}
        for place, value in enumerate(column):
            if value:
                low, high = sorted((root(first.setdefault(value, place)), root(place)))
                parent[high] = low
    return [root(place) for place in range(len(parent))]


def _assigned(units: Sequence[int], strata: Sequence[str], params: Split) -> list[int]:
    """The fold of each sample: whole units, each to where its strata are rarest."""
    members: dict[int, list[int]] = {}
    for place, unit in enumerate(units):
        members.setdefault(unit, []).append(place)
    if len(members) < params.folds:
        raise UserError(
            f"{params.folds} folds need as many independent groups of samples, but there are {len(members)}: set "
            "split.folds to that at most."
        )
    random = np.random.Generator(np.random.PCG64([params.seed, params.folds]))
    whole_units = list(members.values())
    shuffled = [whole_units[place] for place in random.permutation(len(whole_units))]
    # Large units first: small ones then even out what they leave.
    shuffled.sort(key=len, reverse=True)
    whole = Counter(strata)
    tallies: list[Counter[str]] = [Counter() for _ in range(params.folds)]
    sizes = [0] * params.folds
    folds = [0] * len(units)
    for together in shuffled:
        counts = Counter(strata[place] for place in together)

        def fullness(fold: int, counts: Counter[str] = counts) -> tuple[float, int, int]:
            filled = sum(count * tallies[fold][name] / whole[name] for name, count in counts.items())
            return filled, sizes[fold], fold

        best = min(range(params.folds), key=fullness)
        tallies[best].update(counts)
        sizes[best] += len(together)
        for place in together:
            folds[place] = best
    return folds


def _table(frame: pd.DataFrame, folds: Mapping[str, int], count: int) -> dict[str, list[int]]:
    """Samples by stratum in each fold."""
    found: dict[str, list[int]] = {}
    for name, stratum in zip(frame["id"], frame["stratum"], strict=True):
        found.setdefault(stratum or "all", [0] * count)[folds[name]] += 1
    return dict(sorted(found.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (1 << 30, name)


def _reasons(decision: Decision, params: Split, frame: pd.DataFrame, units: int) -> list[str]:
    sizes = Counter(decision.folds.values())
    listed_sizes = ", ".join(str(sizes[fold]) for fold in range(params.folds))
    reasons = [f"{params.folds} folds of {listed_sizes} samples, {params.strategy}, by seed {params.seed}."]
    if units < len(decision.folds):
        reasons.append(f"The {len(decision.folds)} samples are {units} units that are not divided.")
    if decision.dropped:
        reasons.append(
            f"{len(decision.dropped)} samples within {params.gap:g} of held-out ground are not trained on: "
            + some(decision.dropped)
        )
    shared = [leak for leak in leaks(frame, decision.held_out, decision.train) if leak.kind == "group"]
    if shared:
        known = sum(len(leak.held_out) for leak in shared)
        reasons.append(
            f"warning: {known} of {len(decision.held_out)} held-out samples ({known / len(decision.held_out):.1%}) "
            f"have others of their group in training (strategy '{params.strategy}'): what is measured on them flatters."
        )
    return reasons
