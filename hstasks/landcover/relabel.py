"""The stage `relabel`: OpenEarthMap's rural tiles, with labels of the target's classes.

It is of use for training alone. The regions that a teacher is measured on are chosen here too: whole ones.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json
from hsengine.base.wording import listed
from hstasks.images import catalog as catalogs
from hstasks.images import readers
from hstasks.landcover import layout, split
from hstasks.landcover.classes import BUILT, OEM_CLASSES, OEM_NAMES, relabelling
from hstasks.landcover.params import OEM, Params
from hstasks.landcover.replicate import _record

FOLDER = paths.DERIVED / "oem"
TABLE, RECORD, MASKS, NATIVE = "tiles.csv", "record.json", "masks", "native"
COLUMNS = {"id": "str", "region": "str", "image": "str", "built": "float64", "use": "str", "content": "str"}
TRAIN, VAL, URBAN = "train", "val", "urban"


@dataclass(frozen=True)
class Summary:
    """What `run` made: tiles by use, and what the folders hold."""

    folder: Path
    uses: Mapping[str, int]
    found: str
    table: str

    def __str__(self) -> str:
        kept = ", ".join(f"{count} {use}" for use, count in sorted(self.uses.items())) or "no tile"
        return f"{self.found}\n{kept}; labels by the table '{self.table}'\nwrote {self.folder}"


@dataclass(frozen=True)
class Relabelled:
    """What `load` gives.

    Attributes:
        tiles: rows with `COLUMNS`, `mask` (codes) and `native` (labels).
        sets: the classes that each code may be.
        table: what they were relabelled by.
    """

    tiles: pd.DataFrame
    sets: dict[int, tuple[int, ...]]
    table: str


def run(params: Params) -> Summary:
    """Pair, filter and relabel OpenEarthMap's tiles into `derived/oem`.

    Raises:
        UserError: a file cannot be read, a label is none of the nine, or the table cannot be used.
    """
    division = split.load()
    found = layout.find_oem(params.data.root)
    table = relabelling(params.oem.table)
    codes = np.array(table.codes, dtype=np.uint8)
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    with replacing(FOLDER) as scratch:
        for folder in (MASKS, NATIVE):
            (scratch / folder).mkdir(parents=True)
        for pair in found.pairs:
            try:
                labels = _labels(pair)
                image = readers.read(pair.image)
                if image.shape[1:] != labels.shape:
                    raise UserError(f"{pair.image} has {image.shape[1:]} pixels, its label {labels.shape}")
            except UserError as error:
                problems.append(f"{pair.id}: {error}")
                continue
            built = float(np.isin(labels, BUILT).mean())
            use = URBAN if built > params.oem.built else TRAIN
            content = catalogs.content_hash(np.concatenate([image.astype(np.float32), labels[None].astype(np.float32)]))
            rows.append({"id": pair.id, "region": pair.region, "image": pair.image.as_posix(), "built": built})
            rows[-1] |= {"use": use, "content": content}
            if use != URBAN:
                _save(scratch / MASKS / f"{pair.id}.png", codes[labels])
                _save(scratch / NATIVE / f"{pair.id}.png", labels.astype(np.uint8))
        if problems:
            raise UserError(f"OpenEarthMap's tiles are unsound:\n{listed(problems)}\nMend or remove them.")
        held_out = measured_on([row["region"] for row in rows if row["use"] == TRAIN], params.oem)
        for row in rows:
            if row["use"] == TRAIN and row["region"] in held_out:
                row["use"] = VAL
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(scratch / TABLE, index=False, lineterminator="\n")
        record = {
            "split": division.hash,
            "table": params.oem.table,
            "sets": {str(code): list(classes) for code, classes in table.sets.items()},
            "labels": dict(zip(OEM_NAMES, table.codes, strict=True)),
        }
        write_json(scratch / RECORD, record)
    return Summary(FOLDER, Counter(str(row["use"]) for row in rows), str(found), params.oem.table)


def load(division: split.Division) -> Relabelled:
    """The tiles that `run` kept.

    Raises:
        UserError: there are none, or they are of another split.
    """
    remedy = "make it anew with 'hstasks relabel'."
    if not (FOLDER / TABLE).is_file():
        raise UserError(f"There is no relabelled OpenEarthMap in {FOLDER}: {remedy}")
    record = _record(FOLDER / RECORD)
    split.check(record.get("split"), f"{FOLDER}", division)
    tiles = catalogs.table(FOLDER / TABLE, COLUMNS, remedy)
    tiles = tiles[tiles["use"] != URBAN].reset_index(drop=True)
    for folder, column in ((MASKS, "mask"), (NATIVE, "native")):
        tiles[column] = [(FOLDER / folder / f"{name}.png").as_posix() for name in tiles["id"]]
    sets = {int(code): tuple(classes) for code, classes in record["sets"].items()}
    return Relabelled(tiles, sets, record["table"])


def measured_on(regions: list[str], settings: OEM) -> set[str]:
    """The regions that a teacher is measured on: those whose names have the smallest hashes; none of a single one."""
    names = sorted(set(regions), key=lambda name: hashlib.blake2b(name.encode()).hexdigest())
    return set(names[: max(1, round(settings.held_out * len(names)))]) if len(names) > 1 else set()


def _labels(pair: layout.Pair) -> Any:
    labels = readers.read_labels(pair.label)
    if labels.min() < 0 or labels.max() >= OEM_CLASSES:
        raise UserError(f"{pair.label} holds label {int(labels.max())}, and they are 0 to {OEM_CLASSES - 1}")
    return labels


def _save(path: Path, labels: Any) -> None:
    from PIL import Image

    Image.fromarray(labels).save(path)
