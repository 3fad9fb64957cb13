"""The hold-out: which samples are kept from training, chosen by whole groups."""

from __future__ import annotations

import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsdata import catalog as catalogs
from hsdata import layout, paths
from hsdata.leakage import Check, Leak, check, leaks, lines_of, mixtures_of, read
from hsdata.params import DataParams, Index
from hsengine.base.errors import UserError
from hsengine.base.files import write_json, write_text
from hsengine.base.wording import close_matches, listed, some

# Unknown ids for which a close one is sought: each takes a while in a large catalog.
_HINTS = 5

__all__ = ["Check", "Decision", "Leak", "check", "folds", "independent", "leaks", "make", "read", "run", "write"]


@dataclass(frozen=True)
class Decision:
    """Who is held out, who is trained on, and why.

    Attributes:
        strategy: of `params.yaml`'s `index`.
        seed: of the random choices.
        held_out: ids kept from training, in the catalog's order.
        train: ids to train on, in the catalog's order.
        dropped: ids in neither, because they are of the same group or content as a held-out one, or
            were mixed from one that is.
        per_category: counts by category name: `held_out`, `train`, `dropped`.
        reasons: how the choice came about, in sentences.
    """

    strategy: str
    seed: int
    held_out: list[str]
    train: list[str]
    dropped: list[str] = field(default_factory=list)
    per_category: dict[str, dict[str, int]] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{len(self.held_out)} held out, {len(self.train)} to train on"]
        for name, counts in self.per_category.items():
            lines.append(f"  {name}: {counts['held_out']} held out, {counts['train']} to train on")
        return "\n".join(lines + self.reasons)


def run(
    params: DataParams, *, workers: int | None = None, scheduler: str | None = None, full: bool = False
) -> Decision:
    """The stage: decide, and write what was decided into `paths.INDEX`; see `make`."""
    decision = make(catalogs.load(paths.CATALOG), params.index, params.seed)
    write(decision, paths.INDEX)
    return decision


def make(catalog: pd.DataFrame, params: Index, seed: int) -> Decision:
    """Decide which samples are held out.

    Every sample with a cube, of the training and the public test split, is either held out or
    trained on. Samples of one group, or with the same cube or input, form one unit: the strategies
    `stratified` and `folds` hold out whole units only. `public` and `file` name samples; what else
    is of a held-out unit is then dropped from training, and named in `reasons`.

    Args:
        catalog: a catalog. Synthetic samples of split `train` in it are trained on, never held out.
        params: strategy and what it needs.
        seed: of the choice of units in `stratified` and `folds`.

    Raises:
        UserError: nothing would be held out or nothing left to train on, an id in the index file is
            unknown, or the samples cannot be divided as asked.
    """
    frame = _labelled(catalog)
    chosen, reasons = _STRATEGIES[params.strategy](catalog, frame, params, seed)
    held = set(chosen)
    unit = dict(zip(frame["id"].tolist(), _units(frame), strict=True))
    held_units = {unit[name] for name in held}
    dropped = [name for name in frame["id"].tolist() if name not in held and unit[name] in held_units]
    if dropped:
        reasons.append(
            f"{len(dropped)} samples are of the same group or content as a held-out one and are not trained on: "
            + some(dropped)
        )
    mixtures = {name: mixture for name, mixture in mixtures_of(catalog).items() if mixture.trained}
    tainted = [name for name, mixture in mixtures.items() if any(unit.get(name) in held_units for name in mixture.pair)]
    if tainted:
        reasons.append(f"{len(tainted)} synthetic samples of held-out ones are not trained on: {some(tainted)}")
    dropped += tainted
    outside = held | set(dropped)
    usable = set(frame["id"]) | set(mixtures)
    train = [name for name in catalog["id"].tolist() if name in usable and name not in outside]
    if not held:
        raise UserError(
            f"The strategy '{params.strategy}' holds nothing out:\n{listed(reasons)}\n"
            "Add samples of other groups, or choose another index.strategy."
        )
    if not train:
        raise UserError(
            f"The strategy '{params.strategy}' leaves no sample to train on"
            + (f" ({len(dropped)} are of the same group as a held-out one)" if dropped else "")
            + ": hold fewer out."
        )
    counts = _per_category(frame, held, set(dropped))
    held_out = [name for name in frame["id"].tolist() if name in held]
    return Decision(params.strategy, seed, held_out, train, dropped, counts, reasons)


def folds(catalog: pd.DataFrame, count: int, seed: int) -> list[list[str]]:
    """Divide the samples into folds: whole groups, each category spread evenly, each id in exactly one.

    Raises:
        UserError: there are fewer independent groups than folds.
    """
    frame = _labelled(catalog)
    members = _members(frame, _units(frame))
    if len(members) < count:
        raise UserError(
            f"{count} folds need as many groups of samples, but there are {len(members)}: "
            "set index.folds to that at most."
        )
    rng = np.random.default_rng([seed, count])
    shuffled = [members[place] for place in rng.permutation(len(members))]
    # Large groups first: small ones then even out what they leave.
    shuffled.sort(key=len, reverse=True)
    names = _strata(frame)
    found: list[list[str]] = [[] for _ in range(count)]
    tallies: list[Counter[str]] = [Counter() for _ in range(count)]
    for unit in shuffled:
        stratum = Counter(names[name] for name in unit).most_common(1)[0][0]
        place = min(range(count), key=lambda fold: (tallies[fold][stratum], len(found[fold]), fold))
        found[place] += unit
        tallies[place].update(names[name] for name in unit)
    order = {name: place for place, name in enumerate(frame["id"].tolist())}
    return [sorted(fold, key=order.__getitem__) for fold in found]


def independent(catalog: pd.DataFrame) -> int:
    """How many units of samples there are that share neither group nor content; 0 where none has a cube."""
    return len(set(_units(_labelled(catalog)))) if len(catalog) else 0


def write(decision: Decision, folder: str | os.PathLike[str]) -> None:
    """Write `held_out.txt`, `train.txt` (an id a line) and `decision.json`."""
    place = Path(folder)
    write_text(place / paths.HELD_OUT.name, lines_of(decision.held_out))
    write_text(place / paths.TRAINING.name, lines_of(decision.train))
    record: dict[str, Any] = {
        "strategy": decision.strategy,
        "seed": decision.seed,
        "held_out": len(decision.held_out),
        "train": len(decision.train),
        "per_category": decision.per_category,
        "dropped": decision.dropped,
        "reasons": decision.reasons,
    }
    write_json(place / paths.DECISION.name, record)


Choice = tuple[list[str], list[str]]
"""(ids to hold out, reasons)."""


def _public(catalog: pd.DataFrame, frame: pd.DataFrame, params: Index, seed: int) -> Choice:
    held = list(frame.loc[frame["split"] == "test-public", "id"])
    if not held:
        raise UserError("There is no public test split to hold out: set index.strategy to 'stratified' or 'folds'.")
    return held, [f"The challenge's public test split is held out: {len(held)} samples."]


def _stratified(catalog: pd.DataFrame, frame: pd.DataFrame, params: Index, seed: int) -> Choice:
    names = _strata(frame)
    by_stratum: dict[str, list[list[str]]] = defaultdict(list)
    for unit in _members(frame, _units(frame)):
        by_stratum[Counter(names[name] for name in unit).most_common(1)[0][0]].append(unit)
    held: list[str] = []
    reasons = [f"{params.per_category} of each category are held out by seed {seed}, whole groups at a time."]
    for stratum in sorted(by_stratum):
        units = by_stratum[stratum]
        called = stratum or "the samples without a category"
        if len(units) < 2:
            reasons.append(f"{called}: all {len(units[0])} are one group, which stays in training.")
            continue
        # Of the stratum's own generator, so that another category's samples change nothing here.
        rng = np.random.default_rng([seed, zlib.crc32(stratum.encode())])
        chosen = _closest([units[place] for place in rng.permutation(len(units))], params.per_category)
        held += chosen
        if len(chosen) != params.per_category:
            reasons.append(f"{called}: {len(chosen)} held out, the closest to {params.per_category} with whole groups.")
    return held, reasons


def _file(catalog: pd.DataFrame, frame: pd.DataFrame, params: Index, seed: int) -> Choice:
    if params.path is None:
        raise UserError("index.path must name a file of ids when index.strategy is 'file'.")
    wanted = read(params.path)
    usable = set(frame["id"])
    split = dict(zip(catalog["id"], catalog["split"], strict=True))
    synthetic = mixtures_of(catalog)
    problems = []
    for name in wanted:
        if name in synthetic:
            problems.append(f"{name} is a synthetic sample; only originals can be held out")
        elif name not in split:
            hint = close_matches(name, usable) if len(problems) < _HINTS else ""
            problems.append(f"{name} is not in the catalog{hint}")
        elif name not in usable:
            problems.append(f"{name} is of the split {split[name]} and has no cube to score against")
    if problems:
        raise UserError(f"{params.path} cannot be the hold-out:\n{listed(problems)}\nMend these lines or remove them.")
    return wanted, [f"The {len(wanted)} ids of {Path(params.path).as_posix()} are held out."]


def _folds(catalog: pd.DataFrame, frame: pd.DataFrame, params: Index, seed: int) -> Choice:
    found = folds(catalog, params.folds, seed)
    sizes = ", ".join(str(len(fold)) for fold in found)
    reason = f"Fold {params.fold} of {params.folds} is held out by seed {seed}; the folds have {sizes} samples."
    return found[params.fold], [reason]


_STRATEGIES: dict[str, Callable[[pd.DataFrame, pd.DataFrame, Index, int], Choice]] = {
    "public": _public,
    "stratified": _stratified,
    "file": _file,
    "folds": _folds,
}


def _labelled(catalog: pd.DataFrame) -> pd.DataFrame:
    """The originals with a cube, in the catalog's order."""
    synthetic = catalog["id"].isin(list(mixtures_of(catalog)))
    frame = catalog[(catalog["cube"] != "") & ~synthetic & catalog["split"].isin(layout.LABELLED_SPLITS)]
    if frame.empty:
        raise UserError("The catalog has no sample with a cube: there is nothing to train on or to hold out.")
    return frame.reset_index(drop=True)


def _units(frame: pd.DataFrame) -> list[int]:
    """A number for each sample, equal for those that share a group or content, directly or through others."""
    parent = list(range(len(frame)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for column in ("group", "cube_hash", "input_hash"):
        first: dict[str, int] = {}
        for place, value in enumerate(frame[column].tolist()):
            if value:
                low, high = sorted((root(first.setdefault(value, place)), root(place)))
                parent[high] = low
    return [root(place) for place in range(len(frame))]


def _members(frame: pd.DataFrame, units: Sequence[int]) -> list[list[str]]:
    """The ids of each unit, by the unit's first sample."""
    members: dict[int, list[str]] = defaultdict(list)
    for name, unit in zip(frame["id"].tolist(), units, strict=True):
        members[unit].append(name)
    return list(members.values())


def _strata(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(frame["id"].tolist(), frame["category_name"].tolist(), strict=True))


def _closest(units: list[list[str]], wanted: int) -> list[str]:
    """Ids of those units, not all of them, whose sizes add up closest to `wanted`; earlier units are preferred."""
    sizes = [len(unit) for unit in units]
    # The smallest unit alone is an answer, so that no sum beyond this one is a better one.
    most = min(max(2 * wanted - min(sizes), min(sizes)), sum(sizes) - 1)
    # Bit t of `sums` is set once units up to here add up to t; `last` is the unit that first made it so.
    sums, last = 1, {0: -1}
    for place, size in enumerate(sizes):
        new = (sums << size) & ((2 << most) - 1) & ~sums
        sums |= new
        while new:
            total = new.bit_length() - 1
            last[total] = place
            new ^= 1 << total
        if wanted in last:
            break
    total = min((total for total in last if total), key=lambda total: (abs(total - wanted), total))
    places = []
    while total:
        places.append(last[total])
        total -= sizes[last[total]]
    return [name for place in reversed(places) for name in units[place]]


def _per_category(frame: pd.DataFrame, held: set[str], dropped: set[str]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for name, category in sorted(_strata(frame).items(), key=lambda item: item[1]):
        tally = counts.setdefault(category or "no category", {"held_out": 0, "train": 0, "dropped": 0})
        tally["held_out" if name in held else "dropped" if name in dropped else "train"] += 1
    return counts
