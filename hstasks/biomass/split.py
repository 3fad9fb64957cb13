"""The stage `split`: which training images are held out, by image, by (state, date) or by state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hsengine.base.errors import UserError
from hsengine.base.wording import some
from hstasks.biomass import catalog
from hstasks.biomass.layout import TRAIN
from hstasks.biomass.params import DataParams, Split
from hstasks.images import split as splits


@dataclass(frozen=True)
class Summary:
    """What `run` decided, and where it is written."""

    folder: Path
    decision: splits.Decision

    def __str__(self) -> str:
        return f"{self.decision}\nwritten to {self.folder}, split {self.decision.hash[:10]}"


def run(params: DataParams) -> Summary:
    """Divide the training images into folds and write `derived/split/`.

    Raises:
        UserError: there is no catalog, or the images cannot be so divided.
    """
    decision = decide(training_rows(), params.split)
    splits.write(decision)
    return Summary(splits.FOLDER, decision)


def training_rows() -> pd.DataFrame:
    """The catalog's training images.

    Raises:
        UserError: there is no catalog.
    """
    frame = catalog.load()
    return frame[frame["split"] == TRAIN].reset_index(drop=True)


def decide(frame: pd.DataFrame, params: Split) -> splits.Decision:
    """Divide the training images of a catalog.

    By image: scikit-learn's shuffled KFold, over images that look alike together. By group: its GroupKFold over
    (state, date), groups that share a near-duplicate together. By state: each fold is a state, in alphabetical order.

    Raises:
        UserError: there are fewer independent units than folds, or near-duplicates lie in two states.
    """
    from sklearn.model_selection import GroupKFold, KFold

    rows = frame.sort_values("id", ignore_index=True)
    near = [value or name for value, name in zip(rows["near"], rows["id"], strict=True)]
    if params.strategy == "state":
        columns = [list(rows["state"])]
    else:
        columns = [near, list(rows["group"])] if params.strategy == "group" else [near]
    units = np.array(_joined(columns))
    count = len(set(units)) if params.strategy == "state" else params.folds
    if len(set(units)) < max(count, 2):
        raise UserError(
            f"{max(count, 2)} folds by {params.strategy} need as many independent units, but there are "
            f"{len(set(units))}: lower split.folds or choose another split.strategy."
        )
    if params.strategy == "image":
        names = sorted(set(units))
        parts = KFold(count, shuffle=True, random_state=params.seed).split(names)
        of = {names[place]: fold for fold, (_, places) in enumerate(parts) for place in places}
        numbers = [of[unit] for unit in units]
    elif params.strategy == "group":
        numbers = [0] * len(rows)
        for fold, (_, places) in enumerate(GroupKFold(count).split(rows, groups=units)):
            for place in places:
                numbers[place] = fold
    else:
        order = {state: fold for fold, state in enumerate(sorted(set(units)))}
        numbers = [order[unit] for unit in units]
    if params.fold >= count:
        raise UserError(f"split.fold {params.fold} does not exist: folds by state are numbered 0 to {count - 1}.")
    folds = dict(zip(rows["id"], numbers, strict=True))
    strata = {
        state: [int(((rows["state"] == state) & (np.array(numbers) == fold)).sum()) for fold in range(count)]
        for state in sorted(set(rows["state"]))
    }
    decision = splits.Decision(params.strategy, params.seed, params.fold, folds, [], strata)
    decision.reasons.extend(_reasons(rows, decision, count))
    return decision


def held_out(rows: pd.DataFrame, decision: splits.Decision, fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to learn from and rows held out, with leaks refused: equal ids, content, looks, and groups where the folds
    are of groups or states.

    Raises:
        UserError: an image is in no fold, or the division leaks; names the ids.
    """
    left = sorted(set(rows["id"]) - set(decision.folds))
    if left:
        raise UserError(f"The split does not have {some(left)} of the catalog: make it anew with 'hstasks split'.")
    out = [name for name, number in decision.folds.items() if number == fold]
    learn = [name for name, number in decision.folds.items() if number != fold]
    refuse(rows, out, learn, grouped=decision.strategy != "image")
    return (
        rows[rows["id"].isin(learn)].reset_index(drop=True),
        rows[rows["id"].isin(out)].reset_index(drop=True),
    )


def refuse(rows: pd.DataFrame, out: Iterable[str], learn: Iterable[str], *, grouped: bool) -> None:
    """Refuse a division with the same id, the same pixels or look, or with `grouped` the same group on both sides.

    Raises:
        UserError: names what leaks.
    """
    names, trained = list(out), list(learn)
    kinds = ("id", "group", "content") if grouped else ("id", "content")
    splits.check(rows, names, trained, kinds)
    splits.check(rows.assign(content=rows["near"]), names, trained, ("content",))


def siblings(rows: pd.DataFrame, decision: splits.Decision) -> float:
    """The share of images that have another of their (state, date) in the training part of their own fold."""
    folds = rows["id"].map(decision.folds)
    whole = Counter(rows["group"])
    inside = Counter(zip(rows["group"], folds, strict=True))
    known = [whole[g] > inside[g, f] for g, f in zip(rows["group"], folds, strict=True)]
    return float(np.mean(known))


def _joined(columns: list[list[str]]) -> list[str]:
    """A name for each row, equal for rows that share a value of a column, directly or through others."""
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(node: tuple[int, str]) -> tuple[int, str]:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    last = len(columns) - 1
    for values in zip(*columns, strict=True):
        for column, value in enumerate(values):
            first, second = sorted((root((last, values[last])), root((column, value))), reverse=True)
            parent[second] = first
    return [root((last, value))[1] for value in columns[last]]


def _reasons(rows: pd.DataFrame, decision: splits.Decision, count: int) -> list[str]:
    sizes = Counter(decision.folds.values())
    reasons = [f"{count} folds of {', '.join(str(sizes[f]) for f in range(count))} images, by {decision.strategy}."]
    share = siblings(rows, decision)
    if share:
        reasons.append(
            f"warning: {share:.1%} of the held-out images have others of their state and date in training "
            f"(strategy '{decision.strategy}'): what is measured on them flatters."
        )
    if decision.strategy == "state":
        reasons.append(
            "The folds are: " + ", ".join(f"{n} {s}" for n, s in enumerate(sorted(set(rows["state"])))) + "."
        )
    return reasons
