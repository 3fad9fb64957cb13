"""The verb `predict`: grams of any folder of pictures, with a table beside them or without; no pipeline is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from hsengine.base.errors import UserError
from hsengine.base.wording import some
from hstasks.biomass import catalog, layout
from hstasks.biomass.layout import TEST, Entry
from hstasks.biomass.params import Predict
from hstasks.biomass.prediction import predicted, repaired
from hstasks.biomass.submit import write
from hstasks.images import readers


@dataclass(frozen=True)
class Summary:
    """What was predicted."""

    images: int
    file: Path

    def __str__(self) -> str:
        return f"{self.images} pictures, {5 * self.images} rows in {self.file}"


def run(
    input: Path,
    output: Path,
    model: Sequence[Path],
    *,
    table: Path | None = None,
    checkpoint: Literal["best", "last"] = "best",
    device: str | None = None,
) -> Summary:
    """Predict all pictures of a folder into a table as the competition wants it.

    Args:
        input: a folder of pictures, or one.
        output: the CSV file to write.
        model: folders that training wrote; several are an ensemble.
        table: metadata, `image_path` and any of `layout.METADATA`; what is empty or not there is not known.
        checkpoint: which weights.
        device: cpu or cuda.

    Raises:
        UserError: there is no picture, one cannot be read, or a folder is not a trained model's.
    """
    rows = rows_of(input, table)
    settings = Predict(checkpoint=checkpoint)
    grams, _ = predicted(list(model), rows, settings, device=device)
    write(output, layout.long(list(rows["id"]), repaired(grams, settings)))
    return Summary(len(rows), output)


def rows_of(input: Path, table: Path | None) -> pd.DataFrame:
    """The catalog's rows of a folder of pictures, or of one, with what a table says of them.

    Raises:
        UserError: there is no picture, one cannot be read, or the table lacks one.
    """
    if not input.exists():
        raise UserError(f"There is no {input}: give a folder of pictures, or one picture.")
    files = [input] if input.is_file() else sorted(f for f in input.iterdir() if f.suffix.lower() in readers.FORMATS)
    if not files:
        raise UserError(f"{input} holds no picture: the suffixes are {', '.join(sorted(readers.FORMATS))}.")
    entries = [Entry(file.stem, TEST, file) for file in files]
    if table is not None:
        known = layout.metadata_entries(table)
        lacking = [entry.id for entry in entries if entry.id not in known]
        if lacking:
            raise UserError(f"{table} has no row of {some(lacking)}: leave the table away, or complete it.")
        for entry in entries:
            said = known[entry.id]
            entry.date, entry.state, entry.species = said.date, said.state, said.species
            entry.ndvi, entry.height = said.ndvi, said.height
    return catalog.read(entries)
