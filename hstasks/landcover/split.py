"""The stage `split`: which tiles are for training, for validation and for the test, and the masks of the first two.

The masks of training and validation are copied to `derived/masks`, and their classes counted. Every later stage but
the test reads masks there alone: the test's are not opened before it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json, write_text
from hsengine.base.reading import parsed_json
from hsengine.base.wording import listed, some
from hstasks.images import catalog as catalogs
from hstasks.images import readers
from hstasks.images import split as splits
from hstasks.landcover import catalog, ground
from hstasks.landcover.classes import CLASSES, NAMES
from hstasks.landcover.params import Params, Split

FOLDER, MASKS = paths.DERIVED / "split", paths.DERIVED / "masks"
ROLES, DECISION, SHARES = "roles.csv", "decision.json", "shares.csv"
TRAIN, VAL, TEST, DROPPED = "train", "val", "test", "dropped"

_REMEDY = "make it anew with 'hstasks split' or 'dvc repro split'."
_COUNTS = [f"class_{number}" for number in range(CLASSES)]
# A class that a validation shows in fewer places is hardly measured by it.
_PLACES = 5


@dataclass(frozen=True)
class Division:
    """What each tile is for.

    Attributes:
        strategy: of `Split`.
        roles: train, val, test or dropped, by id.
        reasons: how it came about and what to know of it, in sentences.
    """

    strategy: str
    roles: dict[str, str]
    reasons: list[str] = field(default_factory=list)

    def ids(self, role: str) -> list[str]:
        """The tiles of a role, sorted."""
        return sorted(name for name, own in self.roles.items() if own == role)

    @property
    def hash(self) -> str:
        """A name for the roles of all ids, which everything carries that is made by them."""
        return hashlib.blake2b(_lines(self.roles).encode(), digest_size=16).hexdigest()

    def __str__(self) -> str:
        counts = ", ".join(f"{len(self.ids(role))} {role}" for role in (TRAIN, VAL, TEST, DROPPED))
        return "\n".join([counts, *self.reasons])


@dataclass(frozen=True)
class Summary:
    """What `run` decided."""

    folder: Path
    division: Division

    def __str__(self) -> str:
        return f"{self.division}\nwritten to {self.folder}, split {self.division.hash[:10]}"


def run(params: Params) -> Summary:
    """Divide the labelled tiles, and write `derived/split` and `derived/masks`.

    Raises:
        UserError: the catalog is missing, nothing is left to train or to validate on, or a mask is unsound.
    """
    frame = catalog.load()
    labelled = frame[frame["mask"] != ""].reset_index(drop=True)
    made = divide(labelled, params.split)
    rows = labelled[labelled["id"].map(made.roles).isin((TRAIN, VAL))].reset_index(drop=True)
    with replacing(FOLDER) as scratch:
        scratch.mkdir()
        counted = _set_aside(rows, made)
        made.reasons.extend(_shares(counted, made))
        write_text(scratch / ROLES, _lines(made.roles))
        counted.to_csv(scratch / SHARES, index=False, lineterminator="\n")
        record = {"strategy": made.strategy, "hash": made.hash, "reasons": made.reasons}
        write_json(scratch / DECISION, record)
    return Summary(FOLDER, made)


def load() -> Division:
    """The division that `run` wrote.

    Raises:
        UserError: there is none, or the files do not belong together.
    """
    if not (FOLDER / ROLES).is_file() or not (FOLDER / DECISION).is_file():
        raise UserError(f"There is no split in {FOLDER}: {_REMEDY}")
    frame = catalogs.table(FOLDER / ROLES, {"id": "str", "role": "str"}, _REMEDY)
    try:
        record = parsed_json(FOLDER / DECISION, "the record of a split", _REMEDY)
        roles = dict(zip(frame["id"], frame["role"], strict=True))
        made = Division(record["strategy"], roles, list(record["reasons"]))
        intact = made.hash == record["hash"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{FOLDER / DECISION} cannot be used ({error!r}): {_REMEDY}") from None
    if not intact:
        raise UserError(f"{FOLDER / ROLES} is not what {FOLDER / DECISION} records: {_REMEDY}")
    return made


def rows(role: str, division: Division | None = None) -> pd.DataFrame:
    """The catalog's rows of a role, `mask` as it lies in `derived/masks` (for the test: where the user put it), and
    for training and validation the pixels of each class as `class_0` to `class_5` and `mask_content`.

    Raises:
        UserError: catalog and split are missing or do not belong together.
    """
    made = division or load()
    frame = catalog.load()
    missing = sorted(made.roles.keys() - set(frame["id"]))
    if missing:
        raise UserError(f"The split names tiles that the catalog does not have: {some(missing)}; {_REMEDY}")
    chosen = frame[frame["id"].map(made.roles) == role].reset_index(drop=True)
    if role not in (TRAIN, VAL):
        return chosen
    counted = catalogs.table(
        FOLDER / SHARES, {"id": "str", "mask_content": "str", **dict.fromkeys(_COUNTS, "int64")}, _REMEDY
    )
    chosen["mask"] = [(MASKS / f"{name}.png").as_posix() for name in chosen["id"]]
    return chosen.merge(counted, on="id", how="left", validate="one_to_one")


def check(found: object, what: str, division: Division | None = None) -> str:
    """The hash of the present split, which something was made with.

    Raises:
        UserError: it was made with another.
    """
    now = (division or load()).hash
    if found != now:
        raise UserError(
            f"{what} was made with another split ({str(found)[:10]}, now {now[:10]}): what is held out now may be in "
            "it. Make it anew."
        )
    return now


def divide(frame: pd.DataFrame, params: Split) -> Division:
    """Divide labelled tiles.

    Args:
        frame: a catalog's rows.
        params: how.

    Raises:
        UserError: a site is not there, tiles have no footprints, or training or validation would be empty.
    """
    ordered = frame.sort_values("id", ignore_index=True)
    if ordered.empty:
        raise UserError("The catalog has no tile with a mask: there is nothing to train on.")
    sites = set(ordered["site"])
    unknown = [site for site in params.test_sites if site not in sites]
    if unknown:
        raise UserError(f"split.test_sites: there is no site {some(unknown)}; there are {some(sorted(sites))}.")
    away = ordered["site"].isin(params.test_sites).to_numpy(dtype=bool)
    pool = ordered[~away].reset_index(drop=True)
    folds = _folds(pool, params)
    roles = dict.fromkeys(ordered.loc[away, "id"], TEST)
    for name, fold in folds.items():
        roles[name] = VAL if fold == params.fold else TEST if fold == params.test_fold else TRAIN
    reasons = [f"{params.strategy}, fold {params.fold} of {params.folds}, seed {params.seed}."]
    if params.test_sites:
        reasons.append(f"The test has the whole of {some(params.test_sites)}.")
    if params.strategy == "blocked":
        gap = ground.side(ordered) if params.gap is None else params.gap
        reasons.append(_apart(ordered, roles, gap))
    made = Division(params.strategy, dict(sorted(roles.items())), reasons)
    for role, what in ((TRAIN, "to train on"), (VAL, "to validate on")):
        if not made.ids(role):
            raise UserError(
                f"The split leaves no tile {what} ({made}): lower split.gap or split.folds, or choose another strategy."
            )
    held = [*made.ids(VAL), *made.ids(TEST)]
    splits.check(ordered, held, made.ids(TRAIN), ("id", "content"))
    made.reasons.extend(_warnings(ordered, made))
    return made


def _folds(frame: pd.DataFrame, params: Split) -> dict[str, int]:
    if frame.empty:
        raise UserError("split.test_sites names every site: leave one to train on.")
    if params.strategy == "blocked":
        return ground.strips(frame, params.folds)
    strategy: Any = "random" if params.strategy == "random" else "grouped"
    plain = splits.Split(strategy=strategy, folds=params.folds, fold=params.fold, seed=params.seed)
    return splits.decide(frame.assign(group=frame["site"], stratum=""), plain).folds


def _apart(frame: pd.DataFrame, roles: dict[str, str], gap: float) -> str:
    """Drop what comes near the test or the validation, the validation before the training."""
    counts = []
    for held, others in ((TEST, (VAL, TRAIN)), (VAL, (TRAIN,))):
        own = frame["id"].map(roles)
        close = ground.near(frame, own == held, gap)
        dropped = list(frame.loc[close & own.isin(others).to_numpy(dtype=bool), "id"])
        roles.update(dict.fromkeys(dropped, DROPPED))
        counts.append(len(dropped))
    return f"{sum(counts)} tiles within {gap:g} of the test's or the validation's ground are left out."


def _warnings(frame: pd.DataFrame, made: Division) -> list[str]:
    """What share of held-out ground is in training."""
    found = []
    own = frame["id"].map(made.roles)
    for role in (VAL, TEST):
        if not (own == role).any() or frame[["left", "right"]].isna().any(axis=None):
            continue
        share = ground.shared(frame[own == role], frame[own == TRAIN])
        if share > 0:
            found.append(
                f"warning: {share:.1%} of the ground of '{role}' is in training too (strategy '{made.strategy}'): what "
                "is measured there flatters."
            )
    return found


def _set_aside(rows: pd.DataFrame, made: Division) -> pd.DataFrame:
    """Copy masks to `derived/masks` and count their classes."""
    problems, counted = [], []
    with replacing(MASKS) as scratch:
        scratch.mkdir()
        for row in rows.to_dict("records"):
            try:
                labels = readers.read_labels(row["mask"])
                if labels.shape != (row["height"], row["width"]):
                    raise UserError(f"has {labels.shape}, its image {(row['height'], row['width'])} pixels")
                if labels.max(initial=0) >= CLASSES:
                    raise UserError(f"holds label {int(labels.max())}, and the classes are 0 to {CLASSES - 1}")
            except UserError as error:
                problems.append(f"{row['mask']}: {error}")
                continue
            counts = np.bincount(labels.reshape(-1), minlength=CLASSES).tolist()
            shutil.copyfile(row["mask"], scratch / f"{row['id']}.png")
            content = catalogs.content_hash(labels[np.newaxis]) or f"all {int(labels.flat[0])}"
            counted.append({"id": row["id"], "mask_content": content} | dict(zip(_COUNTS, counts, strict=True)))
        if problems:
            raise UserError(f"Masks cannot be used:\n{listed(problems)}\nMend them, or remove them with their images.")
        write_json(scratch / DECISION, {"hash": made.hash})
    return pd.DataFrame(counted)


def _shares(counted: pd.DataFrame, made: Division) -> list[str]:
    """The classes' shares of training and validation, and a warning for a class that is hardly there."""
    found = []
    for role in (TRAIN, VAL):
        part = counted[counted["id"].map(made.roles) == role]
        totals = part[_COUNTS[1:]].sum()
        land = max(int(totals.sum()), 1)
        shares = ", ".join(f"{name} {totals.iloc[k] / land:.1%}" for k, name in enumerate(NAMES[1:]))
        found.append(f"{role}: {shares} of the pixels with truth.")
        few = [NAMES[k + 1] for k, name in enumerate(_COUNTS[1:]) if 0 < (part[name] > 0).sum() < _PLACES]
        none = [NAMES[k + 1] for k, name in enumerate(_COUNTS[1:]) if not (part[name] > 0).any()]
        if few or none:
            said = [f"{some(few)} in fewer than {_PLACES} tiles"] * bool(few) + [f"{some(none)} in none"] * bool(none)
            found.append(f"warning: {role} has {', '.join(said)}: what is measured of them says little.")
    return found


def _lines(roles: dict[str, str]) -> str:
    return "".join(["id,role\n", *(f"{name},{role}\n" for name, role in sorted(roles.items()))])


def counts_of(frame: pd.DataFrame, classes: Sequence[str] = _COUNTS) -> Any:
    """(n, 6) pixels of each class of rows that `rows` gave."""
    return frame[list(classes)].to_numpy(dtype=np.int64)
