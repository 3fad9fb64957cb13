"""The stage `submit`: the test tiles' masks as the competition wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json, write_text
from hsengine.base.wording import some
from hstasks.images.catalog import table
from hstasks.salt import catalog
from hstasks.salt.layout import SUBMISSION_TABLE, TEST, root_of
from hstasks.salt.neighbours import below_known
from hstasks.salt.params import Params
from hstasks.salt.postprocess import fitted_rules, mask_of
from hstasks.salt.prediction import masks, tiles
from hstasks.salt.rle import rle_decode, rle_encode
from hstasks.salt.samples import samples

FILE = "submission.csv"


@dataclass(frozen=True)
class Summary:
    """What was written; `note` says what was missing."""

    folder: Path
    tiles: int
    empty: int
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return f"{self.note}\nwrote {self.folder} without a submission"
        return f"{self.tiles} test tiles, {self.empty} of them without salt\nwrote {self.folder / FILE}"


def run(params: Params, *, model: Path = paths.MODEL, folder: Path = paths.SUBMISSION) -> Summary:
    """Predict the test tiles, with the rules that `evaluate` fitted, and write and check `submission.csv`.

    Raises:
        UserError: there is no model, catalog or evaluation; or what was written does not read back as the masks.
    """
    frame = catalog.load()
    test = frame[frame["split"] == TEST].reset_index(drop=True)
    if test.empty:
        with replacing(folder) as scratch:
            scratch.mkdir()
            write_text(scratch / "README.txt", "There is no test tile, so there is no submission.\n")
        return Summary(folder, 0, 0, "There is no test tile (test/images): nothing to submit")
    ensemble, records = masks([model, *params.predict.models], params.predict)
    rules = fitted_rules(paths.EVALUATION, records[0]["training"])
    known = below_known() if rules.mosaic else {}
    found = {
        tile.id: mask_of(tile, rules)
        for tile in tiles(ensemble, samples(test, params.input), params.predict, "predicting", known)
    }
    ids = _order(params.data.root, list(test["id"]))
    with replacing(folder) as scratch:
        scratch.mkdir()
        write(scratch / FILE, ids, [found[name] for name in ids])
        check(scratch / FILE, ids, found)
        write_json(
            scratch / "record.json",
            {
                "models": [str(one) for one in (model, *params.predict.models)],
                "training": [record["training"] for record in records],
                "rules": rules.plain(),
                "tiles": len(ids),
            },
        )
    return Summary(folder, len(ids), sum(not mask.any() for mask in found.values()))


def write(file: Path, ids: Sequence[str], found: Sequence[NDArray[np.bool_]]) -> None:
    """Write masks (H, W) as run lengths, a row a tile."""
    frame = pd.DataFrame({"id": ids, "rle_mask": [rle_encode(mask) for mask in found]})
    frame.to_csv(file, index=False, lineterminator="\n")


def check(file: Path, ids: Sequence[str], found: dict[str, NDArray[np.bool_]]) -> None:
    """See that a submission reads back as the masks that it was made from, every tile once and in order.

    Raises:
        UserError: it does not.
    """
    rows = table(file, {"id": "str", "rle_mask": "str"}, "run 'hstasks submit' again.")
    if list(rows["id"]) != list(ids):
        raise UserError(f"{file} does not hold every test tile once and in order: run 'hstasks submit' again.")
    wrong = [
        name
        for name, text in zip(rows["id"], rows["rle_mask"], strict=True)
        if not np.array_equal(rle_decode(text, found[name].shape), found[name])
    ]
    if wrong:
        raise UserError(f"{file}: the run lengths of {some(wrong)} are not those of their masks.")


def _order(root: str, ids: Sequence[str]) -> list[str]:
    """The tiles in the order of the sample submission where there is one, else by id."""
    file = root_of(root) / SUBMISSION_TABLE
    if not file.is_file():
        return sorted(ids)
    wanted = list(table(file, {"id": "str", "rle_mask": "str"}, "take the competition's file.")["id"])
    if set(wanted) != set(ids):
        odd = sorted(set(wanted) ^ set(ids))
        raise UserError(f"{file} and the test tiles are not of the same ids: {some(odd)}. Make the catalog again.")
    return wanted
