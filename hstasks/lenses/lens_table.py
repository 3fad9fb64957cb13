"""What `parameters.fits` says of lenses, as a table by object that the stage `catalog` makes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hsengine.base.paths import DERIVED
from hstasks.lenses.layout import LENS_VALUES

TABLE = DERIVED / "parameters.csv"
"""The table: object, and the columns of a submission."""


def of_bucket(ids: Sequence[str], table: Mapping[str, Any], index: Sequence[int]) -> pd.DataFrame:
    """The rows of the lenses that a bucket's table has.

    Args:
        ids: the objects of the bucket.
        table: see `layout.read_parameters`.
        index: row of each object in it; -1: none.
    """
    listed = [(name, row) for name, row in zip(ids, index, strict=True) if row >= 0]
    rows = [row for _, row in listed]
    columns = {name: table[name][rows] if name in table else np.nan for name in LENS_VALUES}
    return pd.DataFrame({"id": [name for name, _ in listed], **columns})


def save(buckets: Sequence[pd.DataFrame], path: str | os.PathLike[str]) -> None:
    """Write the rows of all buckets as CSV; what is unknown is empty."""
    frame = pd.concat(buckets) if buckets else pd.DataFrame(columns=["id", *LENS_VALUES])
    write_text(path, str(frame.to_csv(index=False, lineterminator="\n")))


def load(path: str | os.PathLike[str] = TABLE) -> pd.DataFrame:
    """What is known of lenses, by id: the columns of a submission, NaN where unknown.

    Raises:
        UserError: there is no such table.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"There is no table of parameters at {file}: make it with the stage 'catalog'.")
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False).set_index("id")[list(LENS_VALUES)]
        # Python's own float parser gives back exactly what was written.
        return frame.map(lambda text: float(text) if text else float("nan")).astype("float64")
    except (ValueError, KeyError) as error:
        raise UserError(f"{file} is no table of parameters ({error}): make it anew with 'catalog'.") from None
