"""The stage `submit`: grams of the test images as the competition wants them."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsengine.base import paths, tables
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json, write_text
from hsengine.base.wording import some
from hsengine.evaluate import write_table
from hstasks.biomass import catalog, layout, metadata
from hstasks.biomass.layout import SUBMISSION_TABLE, TEST
from hstasks.biomass.params import Params
from hstasks.biomass.prediction import predicted, repaired
from hstasks.biomass.samples import encoder_of

FILE = "submission.csv"
LATEST, METADATA = "latest_submission.csv", "test_metadata.csv"
"""Names that users of the published system know: the submission once more, and what the network is given of the test
images beside their pictures."""


@dataclass(frozen=True)
class Summary:
    """What was written; `note` says what was missing."""

    folder: Path
    images: int
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return f"{self.note}\nwrote {self.folder} without a submission"
        return f"{self.images} test images, {5 * self.images} rows\nwrote {self.folder / FILE}"


def run(params: Params, *, model: Path = paths.MODEL, folder: Path = paths.SUBMISSION) -> Summary:
    """Predict the test images and write and check `submission.csv`, in the order of the sample submission.

    Raises:
        UserError: there is no model or catalog, or what was written is not what was predicted.
    """
    frame = catalog.load()
    test = frame[frame["split"] == TEST].reset_index(drop=True)
    if test.empty:
        with replacing(folder) as scratch:
            scratch.mkdir()
            write_text(scratch / "README.txt", "There is no test image, so there is no submission.\n")
        return Summary(folder, 0, "There is no test image (test.csv): nothing to submit")
    folders: list[str | Path] = [model, *params.predict.models]
    raw, records = predicted(folders, test, params.predict)
    rows = dict(layout.long(list(test["id"]), repaired(raw, params.predict)))
    order = order_of(Path(params.data.root) / SUBMISSION_TABLE, rows)
    with replacing(folder) as scratch:
        scratch.mkdir()
        write(scratch / FILE, [(name, rows[name]) for name in order])
        check(scratch / FILE, order)
        shutil.copyfile(scratch / FILE, scratch / LATEST)
        write_table(metadata.described(test, encoder_of(records[0])), scratch / METADATA)
        write_json(
            scratch / "record.json",
            {
                "models": [str(one) for one in folders],
                "training": [record["training"] for record in records],
                "repair": params.predict.repair,
                "images": len(test),
            },
        )
    return Summary(folder, len(test))


def write(file: Path, rows: list[tuple[str, float]]) -> None:
    """Write (sample_id, grams)."""
    write_text(file, "".join(["sample_id,target\n", *(f"{name},{value:.4f}\n" for name, value in rows)]))


def check(file: Path, order: list[str]) -> NDArray[np.float64]:
    """See that a submission has every sample once, in order, with numbers of at least 0, five for each image.

    Returns:
        (n, 5) grams.

    Raises:
        UserError: it does not.
    """
    rows = tables.read(file, ("sample_id", "target"))
    if [row["sample_id"] for row in rows] != order:
        raise UserError(f"{file} does not hold every test sample once and in order: run 'hstasks submit' again.")
    try:
        values = [float(row["target"]) for row in rows]
    except ValueError as error:
        raise UserError(f"{file}: {error}: every target must be a number of grams.") from None
    bad = [row["sample_id"] for row, value in zip(rows, values, strict=True) if not 0.0 <= value < math.inf]
    if bad:
        raise UserError(f"{file}: {some(bad)} are not grams of at least 0.")
    return layout.wide(zip(order, values, strict=True))[1]


def order_of(file: Path, rows: dict[str, float]) -> list[str]:
    """The sample ids as the sample submission has them; sorted where there is none.

    Raises:
        UserError: it is of other samples than the rows.
    """
    if not file.is_file():
        return sorted(rows)
    wanted = [row["sample_id"] for row in tables.read(file, ("sample_id", "target"))]
    odd = sorted(set(wanted) ^ set(rows))
    if odd or len(wanted) != len(rows):
        raise UserError(f"{file} and the test images are not of the same samples: {some(odd)}. Make the catalog again.")
    return wanted
