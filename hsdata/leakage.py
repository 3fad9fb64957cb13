"""Leaks between the held-out samples and those that are trained on."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from hsdata import catalog as catalogs
from hsdata import layout
from hsdata.mixing import pairs
from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hsengine.base.reading import check_kind
from hsengine.base.wording import close_matches, some

Fix = Literal["drop-synthetic", "drop-held-out"]

# Unknown ids for which a close one is sought.
_HINTS = 5
_MIXED_NAME = re.compile(r"^(Category-\d+_.+)_(Category-\d+_.+)$")


@dataclass(frozen=True)
class Leak:
    """One way in which training sees a held-out sample.

    Attributes:
        id: the held-out id.
        reason: what is wrong with it.
        other: the training sample it is tied to; "" where the id alone is the fault.
        pair: the two sources of the synthetic sample concerned, where there is one.
    """

    id: str
    reason: str
    other: str = ""
    pair: tuple[str, str] | None = None

    def __str__(self) -> str:
        text = f"{self.id} is held out, but {self.reason}"
        if self.other:
            text += f" {self.other}"
        if self.pair:
            text += f" (made of {self.pair[0]} and {self.pair[1]})"
        return text + "."


IS_SOURCE = "it is a source of the synthetic training sample"
IS_SYNTHETIC = "it is a synthetic sample itself"
SAME_CUBE = "its cube has the same content as that of the training sample"
SAME_INPUT = "its input has the same content as that of the training sample"
SAME_GROUP = "it is of the same group as the training sample"
RELATED_SOURCE = "it is of the same group or content as a source of the synthetic training sample"


def leaks(
    held_out: Iterable[str],
    *,
    plan: pd.DataFrame | str | os.PathLike[str] | None = None,
    catalog: pd.DataFrame | str | os.PathLike[str] | None = None,
    training: Iterable[str] | None = None,
) -> list[Leak]:
    """Every way in which training would see a held-out sample; an empty list is clean.

    Found are held-out sources of synthetic training samples, synthetic ids in the hold-out, and the
    same content (by hash) or the same group on both sides. Planned samples of a split other than
    `train` are never trained on, so that their sources may be held out.

    Args:
        held_out: the ids that are held out.
        plan: a plan of synthetic samples (columns id1, id2, synthetic_id; with a column split, only
            its `train` rows are training samples), or the CSV file of one.
        catalog: a catalog, possibly with synthetic samples, or the CSV file of one.
        training: the originals that are trained on; by default every sample of the catalog with a
            cube that is not held out. Synthetic samples of split `train` always count.

    Raises:
        UserError: a file cannot be read or lacks a column.
    """
    held = dict.fromkeys(held_out)
    mixtures = _planned(plan) | (mixtures_of(_frame(catalog)) if catalog is not None else {})
    named = {name: _named(name) for name in held if name not in mixtures}
    pairs_held = {name: mixtures[name].pair if name in mixtures else named[name] for name in held}
    found = [Leak(name, IS_SYNTHETIC, pair=pair) for name, pair in pairs_held.items() if pair]
    trained = {name: mixture for name, mixture in mixtures.items() if mixture.trained and name not in held}
    for name, mixture in trained.items():
        found += [Leak(source, IS_SOURCE, name, mixture.pair) for source in mixture.pair if source in held]
    if catalog is not None:
        found += _shared(held, _frame(catalog), trained, training)
    return sorted(set(found), key=lambda leak: (leak.id, leak.reason, leak.other))


@dataclass(frozen=True)
class Mixture:
    """A synthetic sample: its two sources, and whether it is trained on, which those of split `train` are."""

    pair: tuple[str, str]
    trained: bool


def _frame(catalog: pd.DataFrame | str | os.PathLike[str]) -> pd.DataFrame:
    return catalog if isinstance(catalog, pd.DataFrame) else catalogs.load(catalog)


def mixtures_of(frame: pd.DataFrame) -> dict[str, Mixture]:
    """The synthetic samples of a catalog, by id: those it says are, and those whose name joins two ids."""
    known = frame["synthetic"].astype(bool).tolist() if "synthetic" in frame.columns else [False] * len(frame)
    splits = frame["split"].tolist() if "split" in frame.columns else ["train"] * len(frame)
    found = {}
    for place, (name, synthetic, split) in enumerate(zip(frame["id"].astype(str).tolist(), known, splits, strict=True)):
        pair = _named(name)
        if synthetic and {"id1", "id2"} <= set(frame.columns):
            pair = str(frame["id1"].iat[place]), str(frame["id2"].iat[place])
        if pair:
            found[name] = Mixture(pair, split == "train")
    return found


def _planned(plan: pd.DataFrame | str | os.PathLike[str] | None) -> dict[str, Mixture]:
    if plan is None:
        return {}
    table = plan if isinstance(plan, pd.DataFrame) else pairs.read(plan)
    pairs.check_columns(table, "the plan")
    splits = table["split"] if "split" in table.columns else ["train"] * len(table)
    rows = zip(table["synthetic_id"], table["id1"], table["id2"], splits, strict=True)
    return {str(name): Mixture((str(id1), str(id2)), split == "train") for name, id1, id2, split in rows}


def _named(name: str) -> tuple[str, str] | None:
    """The two sources that a synthetic sample's name joins; None for an original's."""
    found = _MIXED_NAME.match(name)
    return (found.group(1), found.group(2)) if found else None


def _shared(
    held: Collection[str], frame: pd.DataFrame, trained: dict[str, Mixture], training: Iterable[str] | None
) -> list[Leak]:
    """Content and groups that stand on both sides."""
    ids = frame["id"].astype(str)
    usable = ~ids.isin(list(held))
    if training is not None:
        usable &= ids.isin([*training, *trained])
    else:
        if "split" in frame.columns:
            usable &= frame["split"].isin(layout.LABELLED_SPLITS)
        usable &= ~ids.isin(list(mixtures_of(frame))) | ids.isin(list(trained))
    is_held = ids.isin(list(held))
    found = []
    names, used_rows = ids.tolist(), usable.tolist()
    kin: dict[str, set[str]] = defaultdict(set)
    for column, reason in (("cube_hash", SAME_CUBE), ("input_hash", SAME_INPUT), ("group", SAME_GROUP)):
        if column not in frame.columns:
            continue
        holders: dict[str, list[str]] = defaultdict(list)
        for name, value in zip(ids[is_held].tolist(), frame.loc[is_held, column].tolist(), strict=True):
            if isinstance(value, str) and value:
                holders[value].append(name)
        for name, value, used in zip(names, frame[column].tolist(), used_rows, strict=True):
            for holder in holders.get(value, ()):
                kin[name].add(holder)
                if used:
                    found.append(Leak(holder, reason, name))
    for name, mixture in trained.items():
        for source in mixture.pair:
            if source not in held:
                found += [Leak(holder, RELATED_SOURCE, name, mixture.pair) for holder in kin[source]]
    return found


def read(path: str | os.PathLike[str]) -> list[str]:
    """The ids of an index file, one a line, each once.

    Blank lines, spaces around ids, Windows line ends and a byte order mark are accepted.

    Raises:
        UserError: there is no such file, it is not text, or it names nothing.
    """
    file = Path(path)
    try:
        check_kind(file)
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(f"There is no index file {file}: give one with an id a line.") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise UserError(f"{file} is not a text file: an index has one id a line.") from None
    ids = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not ids:
        raise UserError(f"{file} names no id: an index has one id a line.")
    return ids


def lines_of(ids: Iterable[str]) -> str:
    """The text of an index file."""
    return "".join(f"{name}\n" for name in ids)


@dataclass(frozen=True)
class Check:
    """What a check of an index found, and what a fix wrote.

    Attributes:
        held_out: the ids of the index.
        leaks: everything found.
        notes: what is odd but is no leak.
        written: the clean index or plan, where a fix was asked for and needed.
        remaining: the leaks that the fix could not mend.
    """

    held_out: list[str]
    leaks: list[Leak]
    notes: list[str] = field(default_factory=list)
    written: Path | None = None
    remaining: list[Leak] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing leaks, or the clean version that was written leaves nothing."""
        return not self.leaks or (self.written is not None and not self.remaining)

    def __str__(self) -> str:
        lines = [f"{len(self.leaks) or 'no'} leak{'' if len(self.leaks) == 1 else 's'}, {len(self.held_out)} held out"]
        lines += [f"  {leak}" for leak in self.leaks]
        lines += [f"note: {note}" for note in self.notes]
        if self.written:
            lines.append(f"a clean version is in {self.written}")
            lines += [f"  still there: {leak}" for leak in self.remaining]
        elif self.leaks:
            lines.append("'--fix drop-synthetic' writes a plan, '--fix drop-held-out' an index without them")
        return "\n".join(lines)


def check(
    index: str | os.PathLike[str],
    *,
    plan: str | os.PathLike[str] | None = None,
    catalog: pd.DataFrame | str | os.PathLike[str] | None = None,
    training: Iterable[str] | None = None,
    fix: Fix | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Check:
    """Check an index file for leaks, and on demand write a version without them.

    Args:
        index: the file of held-out ids.
        plan: the CSV file of the plan of synthetic samples.
        catalog: a catalog or its CSV file.
        training: see `leaks`.
        fix: `drop-synthetic` writes a plan without the samples that leak; `drop-held-out` an index
            without the ids that leak.
        out: the file to write; by default `<name>-clean` beside the index or the plan.

    Raises:
        UserError: a file cannot be read, `drop-synthetic` has no plan, or no held-out id would be left.
    """
    held = read(index)
    table = pairs.read(plan) if plan is not None else None
    training = list(training) if training is not None else None
    found = leaks(held, plan=table, catalog=catalog, training=training)
    notes = _notes(held, table, catalog)
    if not found or fix is None:
        return Check(held, found, notes)
    if fix == "drop-held-out":
        written = Path(out) if out is not None else _beside(Path(index))
        kept = [name for name in held if name not in {leak.id for leak in found}]
        if not kept:
            raise UserError(f"Each id in {index} leaks, so that none would be left: hold out other samples.")
        write_text(written, lines_of(kept))
        remaining = leaks(kept, plan=table, catalog=catalog, training=training)
        return Check(held, found, notes, written, remaining)
    if plan is None or table is None:
        raise UserError("'drop-synthetic' needs the plan whose synthetic samples leak: give it with --plan.")
    written = Path(out) if out is not None else _beside(Path(plan))
    bad = {leak.other for leak in found if leak.reason in (IS_SOURCE, RELATED_SOURCE)}
    table = table[~table["synthetic_id"].isin(bad)]
    pairs.write(table, written)
    return Check(held, found, notes, written, leaks(held, plan=table, catalog=catalog, training=training))


def _notes(
    held: list[str], plan: pd.DataFrame | None, catalog: pd.DataFrame | str | os.PathLike[str] | None
) -> list[str]:
    notes = []
    if plan is not None and "split" in plan.columns:
        rows = plan[(plan["split"] != "train") & (plan["id1"].isin(held) | plan["id2"].isin(held))]
        if len(rows):
            names = some(list(rows["synthetic_id"]))
            notes.append(f"{names}: of held-out samples, but planned outside the training split and not trained on")
    if catalog is not None:
        known = set(_frame(catalog)["id"])
        unknown = [name for name in held if name not in known]
        if unknown:
            near = [name + close_matches(name, known) for name in unknown[:_HINTS]]
            notes.append("not in the catalog: " + some(near + unknown[_HINTS:]))
    return notes


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}-clean{path.suffix}")
