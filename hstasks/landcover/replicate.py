"""The stage `replicate`: which training tiles are seen more than once, for the minority classes in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json
from hsengine.base.reading import parsed_json
from hstasks.images import catalog as catalogs
from hstasks.landcover import split
from hstasks.landcover.classes import CLASSES, NAMES
from hstasks.landcover.params import Params, Replicas

FOLDER = paths.DERIVED / "replicas"
TABLE, RECORD = "replicas.csv", "record.json"


@dataclass(frozen=True)
class Summary:
    """What `run` found: tiles by class, and in all."""

    folder: Path
    by_class: dict[str, int]
    tiles: int
    of: int

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in self.by_class.items())
        return f"{self.tiles} of {self.of} training tiles are rich in a minority ({counts})\nwrote {self.folder}"


def run(params: Params) -> Summary:
    """List the training tiles in which a minority class has its share, in `derived/replicas`.

    Raises:
        UserError: catalog or split are missing, or a class does not exist.
    """
    division = split.load()
    rows = split.rows(split.TRAIN, division)
    chosen = rich(split.counts_of(rows), params.replicas)
    by_class = {NAMES[number]: int(chosen[:, place].sum()) for place, number in enumerate(params.replicas.classes)}
    any_of = chosen.any(axis=1)
    names = list(rows.loc[any_of, "id"])
    with replacing(FOLDER) as scratch:
        scratch.mkdir()
        table = pd.DataFrame({"id": names, "copy": [f"{name}_rep1" for name in names]}, columns=["id", "copy"])
        table.to_csv(scratch / TABLE, index=False, lineterminator="\n")
        write_json(scratch / RECORD, {"split": division.hash, "share": params.replicas.share, "tiles": len(names)})
    return Summary(FOLDER, by_class, len(names), len(rows))


def rich(counts: Any, settings: Replicas) -> Any:
    """(n, classes) bool: whether each of `settings.classes` has its share of a tile's pixels with truth.

    Args:
        counts: (n, 6) pixels of each class; class 0 is no truth.
        settings: share and classes.
    """
    wrong = [number for number in settings.classes if not 0 < number < CLASSES]
    if wrong:
        raise UserError(f"replicas.classes: there is no class {wrong[0]}; they are 1 to {CLASSES - 1}.")
    pixels = np.asarray(counts, dtype=np.int64)
    land = pixels[:, 1:].sum(axis=1)
    return (pixels[:, settings.classes] >= settings.share * land[:, None]) & (land[:, None] > 0)


def load(division: split.Division) -> list[str]:
    """The tiles that `run` listed.

    Raises:
        UserError: there is no list, or it is of another split.
    """
    remedy = "make it anew with 'hstasks replicate'."
    if not (FOLDER / TABLE).is_file():
        raise UserError(f"There are no replicas in {FOLDER}: {remedy}")
    split.check(_record(FOLDER / RECORD).get("split"), f"{FOLDER}", division)
    return list(catalogs.table(FOLDER / TABLE, {"id": "str", "copy": "str"}, remedy)["id"])


def _record(file: Path) -> dict[str, Any]:
    found = parsed_json(file, "the record of replicas", "make it anew with 'hstasks replicate'.")
    return found if isinstance(found, dict) else {}
