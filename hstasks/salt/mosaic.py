"""The stage `mosaic`: which tiles were cut from one section, and how they lay in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base import paths, workers
from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hstasks.images.catalog import table
from hstasks.salt import catalog, layout
from hstasks.salt.jigsaw import Borders, Placed, border_lines, chained, links
from hstasks.salt.params import DataParams

PATH = paths.DERIVED / "mosaic.csv"

COLUMNS: dict[str, str] = {
    "id": "str",
    "group": "str",
    "row": "int64",
    "column": "int64",
    "left": "str",
    "right": "str",
    "above": "str",
    "below": "str",
}
"""Columns of the table. `group` is the least id of the mosaic, empty for a tile that is alone; rows and columns count
from 0; `left` to `below` are the ids of the tiles found to touch there, or empty."""

_CHUNK, _WORTH_PROCESSES = 250, 4000


@dataclass(frozen=True)
class Summary:
    """What `run` found.

    Attributes:
        path: the table.
        tiles: how many tiles there are.
        placed: how many are in a mosaic.
        mosaics: how many mosaics.
        pairs: how many pairs touch.
        largest: tiles of the largest mosaic.
        refused: pairs left out since they contradict nearer ones.
    """

    path: Path
    tiles: int
    placed: int
    mosaics: int
    pairs: int
    largest: int
    refused: int

    def __str__(self) -> str:
        return (
            f"{self.placed} of {self.tiles} tiles are in {self.mosaics} mosaics of up to {self.largest}; "
            f"{self.pairs} pairs touch, {self.refused} more contradict them\nwritten to {self.path}"
        )


def run(params: DataParams) -> Summary:
    """Find the neighbours among all tiles of the catalog and write `derived/mosaic.csv`.

    Memory grows with the number of tiles by their borders, 3 kB each, and a block of 512 similarities.

    Raises:
        UserError: there is no catalog, or a tile cannot be read any more.
    """
    tiles = catalog.load().sort_values("id", ignore_index=True)
    placed = chained(
        len(tiles),
        links(_borders(list(tiles["image"]), params.machine.workers), params.mosaic.distance, params.mosaic.contrast),
    )
    frame = _framed(list(tiles["id"]), placed)
    write_text(PATH, frame.to_csv(index=False, lineterminator="\n"))
    sizes = Counter(frame.loc[frame["group"] != "", "group"])
    largest = max(sizes.values(), default=0)
    return Summary(PATH, len(frame), sum(sizes.values()), len(sizes), len(placed.used), largest, len(placed.refused))


def load() -> pd.DataFrame:
    """The table that `run` wrote, with the columns of `COLUMNS`, by id.

    Raises:
        UserError: there is none, or it is another one.
    """
    remedy = "make it with 'hstasks mosaic' or 'dvc repro mosaic'."
    if not PATH.is_file():
        raise UserError(f"There is no {PATH}: {remedy}")
    return table(PATH, COLUMNS, remedy)


def _borders(images: list[str], count: int) -> Borders:
    chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    processes = 1 if not count and len(images) < _WORTH_PROCESSES else count
    lines = np.concatenate(workers.run(_read, chunks, workers=processes, label="mosaic"), axis=1).astype(np.float64)
    return Borders(*lines)


def _read(images: list[str]) -> NDArray[np.int32]:
    """The extrapolated borders of some tiles, (4, n, pixels)."""
    lines = [border_lines(layout.grey(image).astype(np.int32)) for image in images]
    return np.stack([np.stack(borders) for borders in zip(*lines, strict=True)])


def _framed(ids: list[str], placed: Placed) -> pd.DataFrame:
    sizes = Counter(placed.mosaic)
    frame = pd.DataFrame(
        {
            "id": ids,
            "group": [ids[lead] if sizes[lead] > 1 else "" for lead in placed.mosaic],
            "row": placed.row,
            "column": placed.column,
        }
    )
    touching = {side: [""] * len(ids) for side in ("left", "right", "above", "below")}
    for link in placed.used:
        ahead, behind = ("below", "above") if link.below else ("right", "left")
        touching[ahead][link.first], touching[behind][link.second] = ids[link.second], ids[link.first]
    return frame.assign(**touching)[list(COLUMNS)]
