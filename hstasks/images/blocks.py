"""Samples on the ground: which square each lies in, and which come near others."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.base.wording import some

FOOTPRINT: dict[str, str] = {
    "site": "str",
    "left": "float64",
    "bottom": "float64",
    "right": "float64",
    "top": "float64",
}
"""Columns of a catalog that say where a sample lies: coordinates in one unit, comparable within a site."""


def blocks(frame: pd.DataFrame, side: float) -> list[str]:
    """The name of the square of `side` that the middle of each sample lies in.

    Raises:
        UserError: the catalog has no footprints, or one is not a rectangle.
    """
    boxes = _boxes(frame)
    columns = np.floor((boxes[:, 0] + boxes[:, 2]) / 2 / side).astype(np.int64)
    rows = np.floor((boxes[:, 1] + boxes[:, 3]) / 2 / side).astype(np.int64)
    return [f"{site}/{column}/{row}" for site, column, row in zip(frame["site"], columns, rows, strict=True)]


def near(frame: pd.DataFrame, chosen: NDArray[np.bool_], gap: float) -> NDArray[np.bool_]:
    """Which samples overlap a chosen one of their site, or come closer to it than `gap`; chosen ones among them.

    Args:
        frame: with the columns of `FOOTPRINT`.
        chosen: a flag a row.
        gap: in the unit of the footprints.
    """
    boxes = _boxes(frame)
    sites = list(frame["site"])
    # A grid as coarse as the largest sample: what is near lies in the same or a neighbouring cell.
    cell = float(np.max(boxes[:, 2:] - boxes[:, :2])) + gap
    cells: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    places = [(math.floor(left / cell), math.floor(bottom / cell)) for left, bottom in boxes[:, :2].tolist()]
    for index in np.flatnonzero(chosen).tolist():
        cells[sites[index], *places[index]].append(index)
    found = chosen.copy()
    for index in np.flatnonzero(~chosen).tolist():
        column, row = places[index]
        around = ((sites[index], column + dx, row + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1))
        others = [other for place in around for other in cells.get(place, ())]
        if others:
            lower, upper = boxes[others, :2], boxes[others, 2:]
            apart = np.maximum(lower - boxes[index, 2:], boxes[index, :2] - upper).max(axis=1)
            # Neighbours that share an edge do not overlap.
            found[index] = bool((apart < gap).any())
    return found


def _boxes(frame: pd.DataFrame) -> NDArray[np.float64]:
    """(left, bottom, right, top) of each sample."""
    missing = [name for name in FOOTPRINT if name not in frame]
    if missing:
        raise UserError(
            f"The catalog has no {', '.join(missing)}: 'blocked' needs to know where samples lie; choose another "
            "split.strategy."
        )
    boxes = frame[["left", "bottom", "right", "top"]].to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    if wrong.any():
        raise UserError(f"The footprints of {some(list(frame.loc[wrong, 'id']))} are no rectangles: mend the catalog.")
    return boxes
