"""The catalog of an image task: one row a sample, with its files, size, content and what is odd about it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hsengine.base.wording import listed, some

COLUMNS: dict[str, str] = {
    "id": "str",
    "split": "str",
    "image": "str",
    "mask": "str",
    "channels": "int64",
    "height": "int64",
    "width": "int64",
    "group": "str",
    "stratum": "str",
    "content": "str",
    "defects": "str",
}
"""Columns that every catalog has, in order, and their types; a task adds its own.

`image` and `mask` are paths, `mask` empty where there is none. Samples of one `group` are not independent;
`stratum` is what a split spreads evenly; either may be empty. `content` is the hash of the image's pixels, empty
where they are all the same value, which is no content to recognise. `defects` are names with spaces between.
"""

Columns = Mapping[str, str]
"""Names and types of a task's own columns: str, int64, float64 or bool."""


@dataclass(frozen=True)
class Summary:
    """What a stage `catalog` found.

    Attributes:
        path: the table.
        description: the samples by split and defect, what was left out, what is odd.
    """

    path: Path
    description: str

    def __str__(self) -> str:
        return f"{self.description}\nwritten to {self.path}"


def framed(rows: Sequence[Mapping[str, Any]], own: Columns | None = None) -> pd.DataFrame:
    """Rows as a catalog, by split and id; columns that no row has are empty.

    Raises:
        UserError: an id stands twice.
    """
    kinds = {**COLUMNS, **(own or {})}
    filled = [{name: row.get(name, _EMPTY[kind]) for name, kind in kinds.items()} for row in rows]
    frame = pd.DataFrame(filled, columns=list(kinds)).astype(_types(kinds))
    double = sorted(frame.loc[frame["id"].duplicated(), "id"])
    if double:
        raise UserError(f"{some(double)} stand in the catalog twice: an id must name one sample.")
    # Names of splits are ordered as they are used: train before all others.
    order = frame["split"] != "train"
    return frame.assign(_order=order).sort_values(["_order", "split", "id"], ignore_index=True).drop(columns="_order")


def kept(frame: pd.DataFrame) -> Summary:
    """Write a catalog to `derived/catalog.csv`, and say what is in it."""
    save(frame, paths.CATALOG)
    return Summary(paths.CATALOG, describe(frame))


def save(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a catalog as CSV; equal catalogs give equal bytes."""
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def load(path: str | os.PathLike[str], own: Columns | None = None) -> pd.DataFrame:
    """Read a catalog that `save` wrote.

    Raises:
        UserError: there is none, or it has other columns or values.
    """
    file, kinds = Path(path), {**COLUMNS, **(own or {})}
    if not file.is_file():
        raise UserError(f"There is no catalog at {file}: make it with 'hstasks catalog' or 'dvc repro catalog'.")
    return table(file, kinds, "make it anew with 'hstasks catalog'.")


def table(file: Path, kinds: Columns, remedy: str) -> pd.DataFrame:
    """A CSV file with the columns of `kinds`; nothing but an empty field is missing.

    Args:
        file: the file.
        kinds: names and types of the columns, all of which it must have.
        remedy: what to do where it cannot be used.

    Raises:
        UserError: it cannot be read so.
    """
    try:
        frame = pd.read_csv(StringIO(file.read_text(encoding="utf-8")), dtype="str", keep_default_na=False)
        for name, kind in kinds.items():
            if kind == "float64":
                # Python's own parser gives back exactly what was written.
                frame[name] = [float(text) if text else float("nan") for text in frame[name]]
            elif kind == "bool":
                frame[name] = frame[name].map({"True": True, "False": False})
        return frame[list(kinds)].astype(_types(kinds))
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise UserError(f"{file} cannot be used ({error}): {remedy}") from None


def content_hash(pixels: NDArray[Any]) -> str:
    """A name for the values of an image, (channels, H, W); empty where they are all the same."""
    if pixels.size == 0 or (pixels == pixels.flat[0]).all():
        return ""
    digest = hashlib.blake2b(f"{pixels.dtype.str}{pixels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def duplicates(frame: pd.DataFrame) -> dict[str, list[str]]:
    """The ids of the samples that show the same image, by its hash, where there are several."""
    known = frame[frame["content"] != ""]
    several = known[known["content"].duplicated(keep=False)].sort_values(["content", "id"])
    return {str(content): list(part["id"]) for content, part in several.groupby("content")}


def with_defect(frame: pd.DataFrame, name: str) -> pd.Series[bool]:
    """Which rows have a defect of that name."""
    return frame["defects"].map(lambda text: name in str(text).split()).astype(bool)


def describe(frame: pd.DataFrame) -> str:
    """A few lines: how many samples of which split, with which defects, and what is odd."""
    lines = [f"{len(frame)} samples"]
    for split, part in frame.groupby("split", sort=False):
        counts = part["defects"].str.split().explode().dropna().value_counts().sort_index()
        defects = ", ".join(f"{count} {name}" for name, count in counts.items())
        lines.append(f"  {split}: {len(part)}" + (f" ({defects})" if defects else ""))
    for title, key in (("left out:", "problems"), ("note:", "notes")):
        if frame.attrs.get(key):
            lines += [title, listed(frame.attrs[key])]
    return "\n".join(lines)


_EMPTY: dict[str, Any] = {"str": "", "int64": 0, "float64": float("nan"), "bool": False}


def _types(kinds: Columns) -> Any:
    return {name: "object" if kind == "str" else kind for name, kind in kinds.items()}
