"""Tiles on the ground: strips of it, what two sets share, and which tile a pixel that several show is scored in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.base.wording import some
from hstasks.images.blocks import near as _near

_BOX = ["left", "bottom", "right", "top"]


def boxes(frame: pd.DataFrame) -> NDArray[np.float64]:
    """(n, 4) left, bottom, right, top.

    Raises:
        UserError: a tile lies nowhere.
    """
    found = frame[_BOX].to_numpy(dtype=np.float64)
    nowhere = ~np.isfinite(found).all(axis=1)
    if nowhere.any():
        raise UserError(
            f"{some(list(frame.loc[nowhere, 'id']))} have no georeference, so that a blocked split does not know where "
            "they lie: set split.strategy to 'site', or give the files one."
        )
    return found


def side(frame: pd.DataFrame) -> float:
    """The largest side of a tile, in the unit of the footprints."""
    found = boxes(frame)
    return float((found[:, 2:] - found[:, :2]).max())


def near(frame: pd.DataFrame, chosen: Any, gap: float) -> NDArray[np.bool_]:
    """Which tiles overlap a chosen one, or come closer than `gap`; the chosen ones among them."""
    return _near(frame, np.asarray(chosen, dtype=bool), gap)


def strips(frame: pd.DataFrame, folds: int) -> dict[str, int]:
    """The fold of each tile: each site is cut across its longer axis into as many strips.

    Strips are of equal extent, by the middles of the tiles. A fold is a strip of every site.
    """
    found = boxes(frame)
    assigned: dict[str, int] = {}
    for _, part in frame.groupby("site", sort=True):
        own = found[part.index]
        middles = (own[:, :2] + own[:, 2:]) / 2
        extent = middles.max(axis=0) - middles.min(axis=0)
        axis = int(np.argmax(extent))
        along = (middles[:, axis] - middles[:, axis].min()) / (extent[axis] or 1.0)
        # A tile on a cut, but for the last bits, is in the next strip on every machine.
        numbers = np.minimum(np.floor(along * folds + 1e-6).astype(np.int64), folds - 1)
        assigned.update(zip(part["id"], numbers.tolist(), strict=True))
    return assigned


def shared(held: pd.DataFrame, train: pd.DataFrame, points: int = 8) -> float:
    """The share of the ground of held-out tiles that training tiles show, on a grid of points in each."""
    ticks = (np.arange(points) + 0.5) / points
    seen = total = 0
    places, others = boxes(held), boxes(train)
    sites = train["site"].to_numpy()
    for site, box in zip(held["site"], places, strict=True):
        x, y = box[0] + ticks * (box[2] - box[0]), box[1] + ticks * (box[3] - box[1])
        beside = others[
            (sites == site)
            & (others[:, 0] < box[2])
            & (others[:, 2] > box[0])
            & (others[:, 1] < box[3])
            & (others[:, 3] > box[1])
        ]
        covered = np.zeros((points, points), dtype=bool)
        for other in beside:
            covered |= ((y > other[1]) & (y < other[3]))[:, None] & ((x > other[0]) & (x < other[2]))
        seen, total = seen + int(covered.sum()), total + points * points
    return seen / total if total else 0.0


def owned(frame: pd.DataFrame) -> list[NDArray[np.bool_]]:
    """For each tile, which of its pixels (H, W) are scored in it: those of which no tile's middle is nearer.

    Tiles without a footprint overlap nothing. Of equally near ones the first has the pixel.
    """
    place = frame[_BOX].to_numpy(dtype=np.float64)
    sites, sizes = frame["site"].to_numpy(), frame[["height", "width"]].to_numpy(dtype=np.int64)
    found = []
    for index, box in enumerate(place):
        height, width = sizes[index]
        mine = np.ones((height, width), dtype=bool)
        if np.isfinite(box).all():
            x = box[0] + (np.arange(width) + 0.5) / width * (box[2] - box[0])
            y = box[3] - (np.arange(height) + 0.5) / height * (box[3] - box[1])
            beside = (sites == sites[index]) & (place[:, 0] < box[2]) & (place[:, 2] > box[0])
            beside &= (place[:, 1] < box[3]) & (place[:, 3] > box[1])
            own = _distance(box, x, y)
            for other in np.flatnonzero(beside).tolist():
                if other != index:
                    theirs = place[other]
                    inside = ((y > theirs[1]) & (y < theirs[3]))[:, None] & ((x > theirs[0]) & (x < theirs[2]))
                    distance = _distance(theirs, x, y)
                    # Distances that differ in the last bits are equal.
                    margin = 1e-6 * (box[2] - box[0])
                    nearer = distance < own - margin
                    if other < index:
                        nearer |= np.abs(distance - own) <= margin
                    mine &= ~(inside & nearer)
        found.append(mine)
    return found


def _distance(box: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chebyshev distance of each pixel (H, W) to a tile's middle."""
    across = np.abs(x - (box[0] + box[2]) / 2)
    down = np.abs(y - (box[1] + box[3]) / 2)
    found: NDArray[np.float64] = np.maximum(down[:, None], across)
    return found
