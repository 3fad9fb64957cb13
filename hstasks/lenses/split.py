"""The stage `split`: which objects are trained on, validated on and tested on, once for all members of an ensemble.

The published system deals out files instead of objects, by another seed for each member. It is here by name, so that
what it leaks can be measured: bands of one object in training and test, and members that were trained on each
other's test files.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsengine.base import tables
from hsengine.base.errors import UserError
from hsengine.base.files import write_json, write_text
from hsengine.base.paths import CATALOG, DERIVED
from hsengine.base.reading import parsed_json
from hsengine.base.wording import some
from hstasks.images import split as folds
from hstasks.lenses import catalog as catalogs
from hstasks.lenses.params import LensSections
from hstasks.lenses.params import Split as Section

SPLIT = DERIVED / "split.csv"
PARTS = ("train", "val", "test")
_COLUMNS = ("id", "band", "part")
# Folds into which objects are dealt before folds are joined to parts.
_FOLDS = 20
_REMEDY = "make it anew with the stage 'split'."


@dataclass(frozen=True)
class Decision:
    """A split.

    Attributes:
        strategy: see `hstasks.lenses.params.Split`.
        seed: of its random choices.
        rows: `id`, `band` (letter of a single file, "" for all bands of the object) and `part`, sorted.
        sisters: part `val` and `test` -> share of its files that have another band of their object in training.
        strata: `domain_label` -> objects or files in each part.
        reasons: what to know of it, in sentences.
    """

    strategy: str
    seed: int
    rows: pd.DataFrame
    sisters: dict[str, float]
    strata: dict[str, dict[str, int]] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def hash(self) -> str:
        """A name of who is in which part; models of one ensemble must share it."""
        return hashlib.blake2b(_text(self.rows).encode(), digest_size=16).hexdigest()

    @property
    def by_object(self) -> bool:
        """Whether all bands of each object are in one part."""
        return bool((self.rows["band"] == "").all())

    def ids(self, part: str) -> list[str]:
        """Ids of the objects of a part.

        Raises:
            UserError: the split deals out single files.
        """
        if not self.by_object:
            raise UserError(
                f"A split of strategy '{self.strategy}' divides objects into files and serves models of one band only: "
                "set split.strategy to 'grouped' for models of several bands."
            )
        return list(self.rows.loc[self.rows["part"] == part, "id"])

    def files(self, part: str, frame: pd.DataFrame) -> list[tuple[str, str]]:
        """(id, band) of every readable file of a part.

        Args:
            part: `train`, `val` or `test`.
            frame: the catalog.
        """
        bands = dict(zip(frame["id"], frame["bands"], strict=True))
        chosen = self.rows[self.rows["part"] == part]
        pairs = zip(chosen["id"], chosen["band"], strict=True)
        return [(name, band) for name, own in pairs for band in (own or bands.get(name, ""))]


@dataclass(frozen=True)
class Summary:
    """What was decided: how many objects or files each part has, and what leaks."""

    counts: dict[str, int]
    unit: str
    sisters: dict[str, float]
    hash: str
    reasons: list[str]
    seconds: float

    def __str__(self) -> str:
        counts = ", ".join(f"{self.counts.get(part, 0)} {part}" for part in PARTS)
        shares = ", ".join(f"{share:.1%} of the {part} files" for part, share in self.sisters.items())
        lines = [f"{counts} ({self.unit}), split {self.hash[:12]}", f"{shares} have a sister band in training"]
        return "\n".join([*lines, *self.reasons])


def run(
    params: LensSections, *, catalog: str | os.PathLike[str] = CATALOG, out: str | os.PathLike[str] = SPLIT
) -> Summary:
    """Write the split as a table (id, band, part) and a record of the same name that ends in `.json`.

    Raises:
        UserError: there is no labelled object, too few independent ones, or the split of a file leaks.
    """
    start = time.perf_counter()
    decision = decide(catalogs.load(catalog), params.split)
    write(decision, out)
    counts = Counter(decision.rows["part"])
    return Summary(
        counts={part: counts[part] for part in PARTS},
        unit="objects" if decision.by_object else "files",
        sisters=decision.sisters,
        hash=decision.hash,
        reasons=decision.reasons,
        seconds=time.perf_counter() - start,
    )


def decide(frame: pd.DataFrame, section: Section) -> Decision:
    """Divide the labelled objects of a catalog; see `hstasks.lenses.params.Split`.

    Raises:
        UserError: see `run`.
    """
    known = catalogs.labelled(frame)
    if known.empty:
        raise UserError("The catalog has no labelled object that can be read: there is nothing to train on.")
    known = known.assign(stratum=known["domain"] + "_" + known["label"].astype(str), group=known["group"].astype(str))
    known = known[["id", "bands", "stratum", "group", "content", "label"]]
    if section.strategy == "published":
        rows = _published(known, section)
    elif section.strategy == "file":
        rows = _from_file(known, str(section.path))
    else:
        rows = _grouped(known, section)
    rows = rows.sort_values(["id", "band"], ignore_index=True)[list(_COLUMNS)]
    decision = Decision(section.strategy, section.seed, rows, _sisters(rows, known), _strata(rows, known))
    if section.strategy == "published":
        decision.reasons.append(
            f"warning: files were dealt out, not objects: {decision.sisters['test']:.1%} of the test files show an "
            "object whose other bands are trained on. What is measured on them flatters."
        )
    else:
        check(decision, known)
    return decision


def check(decision: Decision, frame: pd.DataFrame) -> None:
    """Refuse a split whose parts share objects, places in the sky, hosts or images.

    Raises:
        UserError: names what leaks.
    """
    parts = {part: decision.ids(part) for part in PARTS}
    known = frame.assign(group=frame["group"].astype(str))
    folds.check(known, parts["val"] + parts["test"], parts["train"])
    folds.check(known, parts["test"], parts["val"])


def write(decision: Decision, path: str | os.PathLike[str] = SPLIT) -> None:
    """Write the table and its record."""
    write_text(path, _text(decision.rows))
    record = {
        "strategy": decision.strategy,
        "seed": decision.seed,
        "hash": decision.hash,
        "sisters": decision.sisters,
        "strata": decision.strata,
        "reasons": decision.reasons,
    }
    write_json(Path(path).with_suffix(".json"), record)


def load(path: str | os.PathLike[str] = SPLIT) -> Decision:
    """Read what `write` wrote.

    Raises:
        UserError: there is none, or table and record do not belong together.
    """
    table, record = Path(path), Path(path).with_suffix(".json")
    if not table.is_file() or not record.is_file():
        raise UserError(f"There is no split at {table}: {_REMEDY}")
    try:
        rows = _read(table)[list(_COLUMNS)]
        content = parsed_json(record, "the record of a split", _REMEDY)
        fields = ("strategy", "seed", "sisters", "strata", "reasons")
        decision = Decision(rows=rows, **{name: content[name] for name in fields})
        intact = decision.hash == content["hash"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{table} and {record.name} cannot be used ({error!r}): {_REMEDY}") from None
    if not intact:
        raise UserError(f"{table} is not what {record} records: {_REMEDY}")
    return decision


def _grouped(known: pd.DataFrame, section: Section) -> pd.DataFrame:
    groups = int(known["group"].nunique())
    if groups < len(PARTS):
        raise UserError(
            f"The {len(known)} labelled objects are {groups} independent groups (places in the sky, hosts): training, "
            "validation and test need one each."
        )
    count = min(_FOLDS, groups)
    test = max(1, round(section.test * count))
    val = max(1, round(section.val * count))
    if test + val >= count:
        raise UserError(f"{groups} independent groups are too few for split.val {section.val} and {section.test}.")
    dealt = folds.decide(known, folds.Split(strategy="grouped", folds=count, seed=section.seed)).folds
    parts = ["test"] * test + ["val"] * val + ["train"] * (count - test - val)
    return pd.DataFrame({"id": known["id"], "band": "", "part": [parts[dealt[name]] for name in known["id"]]})


def _published(known: pd.DataFrame, section: Section) -> pd.DataFrame:
    from sklearn.model_selection import train_test_split

    files = pd.DataFrame(
        [
            (name, band, label)
            for name, bands, label in zip(known["id"], known["bands"], known["label"], strict=True)
            for band in bands
        ],
        columns=["id", "band", "label"],
    )
    held = section.val + section.test
    try:
        _, rest = train_test_split(
            files.index.to_numpy(), test_size=held, random_state=section.seed, stratify=files["label"]
        )
        val, test = train_test_split(
            rest, test_size=section.test / held, random_state=section.seed, stratify=files.loc[rest, "label"]
        )
    except ValueError as error:
        raise UserError(f"{len(files)} files cannot be divided ({error}): add objects of both labels.") from None
    part = pd.Series("train", index=files.index)
    part[val], part[test] = "val", "test"
    return files.assign(part=part).drop(columns="label")


def _from_file(known: pd.DataFrame, path: str) -> pd.DataFrame:
    file = Path(path)
    if not file.is_file():
        raise UserError(f"There is no table of a split at {file}: split.path names it, with the columns id and part.")
    rows = pd.DataFrame(tables.read(file, ("id", "part")), columns=["id", "part"], dtype=str).assign(band="")
    strange = sorted(set(rows["part"]) - set(PARTS))
    if strange:
        raise UserError(f"{file} has the parts {some(strange)}; {', '.join(PARTS)} are possible.")
    double = sorted(rows.loc[rows["id"].duplicated(), "id"])
    if double:
        raise UserError(f"{file} names {some(double)} more than once: an object belongs to one part.")
    missing = [part for part in PARTS if part not in set(rows["part"])]
    if missing:
        raise UserError(f"{file} puts no object into {' and '.join(missing)}.")
    unknown = sorted(set(rows["id"]) - set(known["id"]))
    if unknown:
        raise UserError(f"{file} names objects that the catalog does not have with a label: {some(unknown)}.")
    return rows


def _sisters(rows: pd.DataFrame, known: pd.DataFrame) -> dict[str, float]:
    """Share of the files of each held-out part that have another band of their object in training."""
    bands = dict(zip(known["id"], known["bands"], strict=True))
    trained = set(rows.loc[(rows["part"] == "train"), "id"])
    shares = {}
    for part in PARTS[1:]:
        chosen = rows[rows["part"] == part]
        files = [1 if band else len(bands[name]) for name, band in zip(chosen["id"], chosen["band"], strict=True)]
        # A file is in one part only: whatever of its object is in training is another band.
        shared = np.asarray(chosen["id"].isin(trained)) * np.asarray(files, np.int64)
        shares[part] = float(shared.sum() / max(1, sum(files)))
    return shares


def _strata(rows: pd.DataFrame, known: pd.DataFrame) -> dict[str, dict[str, int]]:
    stratum = rows["id"].map(dict(zip(known["id"], known["stratum"], strict=True)))
    table = pd.crosstab(stratum, rows["part"])
    return {str(name): {part: int(table.loc[name].get(part, 0)) for part in PARTS} for name in sorted(table.index)}


def _text(rows: pd.DataFrame) -> str:
    return str(rows[list(_COLUMNS)].to_csv(index=False, lineterminator="\n"))


def _read(path: Path) -> pd.DataFrame:
    content: Any = StringIO(path.read_text(encoding="utf-8-sig"))
    return pd.read_csv(content, dtype=str, keep_default_na=False)
