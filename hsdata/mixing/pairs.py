"""The plan of synthetic samples: which two samples are mixed, and in what proportion."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsdata import layout
from hsengine.base import tables
from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hsengine.base.wording import listed, some

PLAN_COLUMNS = ("split", "label", "id1", "id2", "synthetic_id", "lam")
# Without which a plan does not say what is mixed of what.
SOURCES = ("id1", "id2", "synthetic_id")
LABEL_COLUMNS = ("split", "id", "category_name", "label", "cube", "input")
PLAN_FILE = "smote_plan.csv"

Balance = float | str
"""`none`, `max` or a fraction in (0, 1]."""

# Draws of pairs that were drawn before, in a row, after which a class counts as exhausted.
_MISSES = 10_000


def labels(catalog: pd.DataFrame, *, training: Iterable[str] | None = None) -> pd.DataFrame:
    """One row a sample with a cube: split, id, category name, label and the paths of its files.

    Args:
        catalog: the catalog; synthetic samples are left out.
        training: only these ids, all as split `train` whichever folder they lie in: the classes are
            balanced over what is trained on.
    """
    frame = catalog[(catalog["cube"] != "") & ~catalog["synthetic"]].rename(columns={"category": "label"})
    if training is not None:
        frame = frame[frame["id"].isin(set(training))].assign(split="train")
    order = frame["split"].map(_split_order)
    return frame.assign(_order=order).sort_values(["_order", "id"], ignore_index=True)[list(LABEL_COLUMNS)]


def plan(labels: pd.DataFrame, *, seed: int = 42, balance: Balance = "max") -> pd.DataFrame:
    """Pair samples of each class that is smaller than the largest of its split.

    Each split has a generator `numpy.random.default_rng(seed)`. Classes come in ascending order; a pair is
    drawn without replacement from the class's sorted ids and skipped if it was drawn before, in either
    order. After all pairs of the split the same generator draws their proportions, uniform in [0, 1).

    Args:
        labels: a row a sample: `id`, and optionally `split` (else all are `train`) and `label` (else
            taken from the id).
        seed: of the generator of each split.
        balance: `max` fills every class up to the largest; a fraction in (0, 1] fills that part of what
            is missing, rounded to the nearest sample; `none` plans nothing.

    Returns:
        Columns split, label, id1, id2, synthetic_id, lam. `attrs["notes"]` says which class could not
        be filled, by how many and why.

    Raises:
        UserError: `labels` has no ids, an id stands twice, or `balance` is not allowed.
    """
    share = _share(balance)
    table = _labelled(labels)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    if share > 0:
        for split in sorted(table["split"].unique(), key=lambda name: (_split_order(name), name)):
            rows += _planned_split(split, table[table["split"] == split], seed, share, notes)
    types: Any = {"split": "object", "label": "int64", "id1": "object", "id2": "object", "synthetic_id": "object"}
    frame = pd.DataFrame(rows, columns=list(PLAN_COLUMNS)).astype({**types, "lam": "float64"})
    frame.attrs["notes"] = notes
    return frame


def _planned_split(split: str, table: pd.DataFrame, seed: int, share: float, notes: list[str]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    largest = int(table["label"].value_counts().max())
    rows: list[dict[str, Any]] = []
    for label in sorted(table["label"].unique()):
        ids = sorted(table.loc[table["label"] == label, "id"])
        wanted = math.floor(share * (largest - len(ids)) + 0.5)
        drawn = _drawn_pairs(rng, ids, wanted)
        rows += [
            {"split": split, "label": int(label), "id1": id1, "id2": id2, "synthetic_id": f"{id1}_{id2}"}
            for id1, id2 in drawn
        ]
        if len(drawn) < wanted:
            possible = len(ids) * (len(ids) - 1) // 2
            notes.append(
                f"{split}: class {label} lacks {wanted - len(drawn)} of the {wanted} synthetic samples asked for: "
                f"different pairs of its samples, {len(ids)} in number: {possible}"
            )
    for row, lam in zip(rows, rng.random(len(rows)), strict=True):
        row["lam"] = float(lam)
    return rows


def _drawn_pairs(rng: np.random.Generator, ids: list[str], wanted: int) -> list[tuple[str, str]]:
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    misses = 0
    names = np.array(ids)
    while len(pairs) < wanted and len(ids) > 1:
        id1, id2 = (str(name) for name in rng.choice(names, size=2, replace=False))
        if frozenset((id1, id2)) not in pairs:
            pairs[frozenset((id1, id2))] = (id1, id2)
            misses = 0
            continue
        misses += 1
        if misses >= _MISSES:
            break
    return list(pairs.values())


def _share(balance: Balance) -> float:
    if balance == "none":
        return 0.0
    if balance == "max":
        return 1.0
    if isinstance(balance, int | float) and 0.0 < balance <= 1.0:
        return float(balance)
    raise UserError(f"smote.balance is {balance!r}: it can be 'none', 'max' or a fraction above 0 and up to 1.")


def _labelled(labels: pd.DataFrame) -> pd.DataFrame:
    """Columns split, id and label of whatever was given."""
    if "id" not in labels.columns:
        raise UserError(f"The labels have the columns {', '.join(map(str, labels.columns))}, but 'id' is needed.")
    ids = labels["id"].astype(str)
    split = labels["split"].astype(str) if "split" in labels.columns else "train"
    try:
        label = labels["label"].astype(int) if "label" in labels.columns else ids.map(layout.category_of)
    except ValueError:
        raise UserError("The column 'label' of the labels must hold whole numbers, one a class.") from None
    table = pd.DataFrame({"id": ids, "split": split, "label": label})
    double = sorted(table.loc[table["id"].duplicated(), "id"])
    if double:
        raise UserError(f"The labels name {some(double)} more than once: an id must name one sample.")
    return table


def _split_order(name: str) -> int:
    return layout.SPLITS.index(name) if name in layout.SPLITS else len(layout.SPLITS)


def read(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a plan; one without the column `lam`, as published, is read too.

    Raises:
        UserError: there is no such file, it is no CSV, or a column is missing.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"There is no plan at {file}: make one with 'hsdata smote plan'.")
    rows = tables.read(file, SOURCES)
    try:
        table = pd.DataFrame(rows, columns=list(rows[0]) if rows else list(PLAN_COLUMNS), dtype="object")
        types: dict[str, Any] = {"label": "int64", "lam": "float64"}
        return table.astype({name: types.get(name, "object") for name in table.columns})
    except ValueError as error:
        raise UserError(f"{file} cannot be read as a plan: {error}.") from None


def check_columns(table: pd.DataFrame, source: str) -> None:
    """Refuse a plan that does not say what is mixed of what.

    Raises:
        UserError: names the columns that are missing.
    """
    missing = [name for name in SOURCES if name not in table.columns]
    if missing:
        raise UserError(f"{source} lacks the columns {', '.join(missing)}; a plan has {', '.join(PLAN_COLUMNS)}.")


def write(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a plan as CSV; equal plans give equal bytes."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def checked(table: pd.DataFrame, catalog: pd.DataFrame, source: str = "the plan") -> pd.DataFrame:
    """The plan, once every row is known to be possible with the catalog's samples.

    Raises:
        UserError: lists the rows that are not, with what is wrong.
    """
    check_columns(table, source)
    missing = [name for name in PLAN_COLUMNS if name not in table.columns]
    if missing:
        raise UserError(
            f"{source} lacks the column {missing[0]}: make the plan with 'hsdata smote plan', which stores it, "
            "or add it by hand."
        )
    originals = catalog[(catalog["cube"] != "") & ~catalog["synthetic"]]
    category = dict(zip(originals["id"], originals["category"], strict=True))
    taken = set(catalog.loc[~catalog["synthetic"], "id"])
    problems: list[str] = []
    for line, row in enumerate(table.itertuples(index=False), start=2):
        problems += [f"line {line}, {row.synthetic_id}: {text}" for text in _faults(row, category, taken)]
        taken.add(str(row.synthetic_id))
    if problems:
        raise UserError(
            f"{source} cannot be carried out:\n{listed(problems)}\n"
            "Mend these lines or make the plan anew with 'hsdata smote plan'."
        )
    return table


def _faults(row: Any, category: dict[str, int], taken: set[str]) -> list[str]:
    faults = [f"there is no sample {name} with a cube" for name in (row.id1, row.id2) if name not in category]
    if row.id1 == row.id2:
        faults.append(f"{row.id1} cannot be mixed with itself")
    elif not faults and category[row.id1] != category[row.id2]:
        faults.append(
            f"{row.id1} is of category {category[row.id1]}, {row.id2} of {category[row.id2]}; "
            "only samples of one category are mixed"
        )
    elif not faults and int(row.label) != category[row.id1]:
        faults.append(f"label {row.label} is not the category of its sources, {category[row.id1]}")
    if row.split not in layout.LABELLED_SPLITS:
        faults.append(f"split {row.split!r} has no cubes; it can be {' or '.join(layout.LABELLED_SPLITS)}")
    if row.synthetic_id in taken:
        faults.append("the id is taken by another sample")
    if Path(row.synthetic_id).name != row.synthetic_id or row.synthetic_id.startswith("."):
        faults.append("the id cannot be a file's name")
    if not 0.0 <= row.lam <= 1.0:
        faults.append(f"lam {row.lam} is not between 0 and 1")
    return faults


@dataclass(frozen=True)
class Planned:
    """The labels of the samples that may be mixed and the plan made of them."""

    labels: pd.DataFrame
    plan: pd.DataFrame
    notes: list[str] = field(default_factory=list)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write `labels_<split>.csv` for each split and `smote_plan.csv`."""
        for split, rows in self.labels.groupby("split"):
            write_text(Path(folder) / f"labels_{split}.csv", rows.to_csv(index=False, lineterminator="\n"))
        write(self.plan, Path(folder) / PLAN_FILE)

    def __str__(self) -> str:
        counts = Counter(zip(self.plan["split"], self.plan["label"], strict=True))
        lines = [f"{len(self.plan)} synthetic samples planned from {len(self.labels)}"]
        lines += [f"  {split}, class {label}: {count}" for (split, label), count in counts.items()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def planned(
    catalog: pd.DataFrame, training: Iterable[str] | None, *, seed: int = 42, balance: Balance = "none"
) -> Planned:
    """Plan synthetic samples of a catalog.

    Args:
        catalog: the catalog of originals.
        training: the ids that are trained on, so that nothing held out is mixed into what is; None
            plans each split of the catalog on its own, as published.
        seed: see `plan`.
        balance: see `plan`.

    Raises:
        UserError: see `plan`.
    """
    table = labels(catalog, training=training)
    made = plan(table, seed=seed, balance=balance)
    return Planned(table, made, list(made.attrs["notes"]))
