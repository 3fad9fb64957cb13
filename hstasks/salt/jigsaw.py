"""Which tiles were neighbours: borders that continue each other, chained into mosaics.

The recipe is that of the published jigsaws of the TGS tiles: each border is extrapolated by a line, standardised
by the place of the pixel over all tiles, then by tile; mutual nearest neighbours count where they are near, and
much nearer than the second nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Lines = NDArray[np.float64]
"""Borders of n tiles, (n, pixels)."""

# Rows of a block of similarities: 22,000 tiles take 45 MB.
_BLOCK = 512
# Standard deviation, in grey levels, below which a border shows nothing.
_FLAT = 1e-6


@dataclass(frozen=True)
class Link:
    """Two tiles that touch.

    Attributes:
        first: index of the left or upper tile.
        second: index of the right or lower tile.
        below: whether the second is below the first; otherwise it is to its right.
        distance: of the standardised borders.
    """

    first: int
    second: int
    below: bool
    distance: float


@dataclass(frozen=True)
class Borders:
    """The extrapolated borders of n tiles, (n, pixels) each; see `border_lines`."""

    left: Lines
    right: Lines
    top: Lines
    bottom: Lines


def border_lines(tile: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """What a tile (H, W), signed, lets expect beyond its left, right, top and bottom border: 2 · edge - inner."""
    return (
        2 * tile[:, 0] - tile[:, 1],
        2 * tile[:, -1] - tile[:, -2],
        2 * tile[0] - tile[1],
        2 * tile[-1] - tile[-2],
    )


def links(borders: Borders, distance: float, contrast: float) -> list[Link]:
    """The pairs of tiles whose borders continue each other, nearest first.

    Args:
        borders: of all tiles.
        distance: largest distance of a pair's borders.
        contrast: least 1 - d1 / d2, of each to its nearest and second nearest.
    """
    pairs = ((borders.right, borders.left, False), (borders.bottom, borders.top, True))
    found = [
        Link(first, second, below, gap)
        for ahead, behind, below in pairs
        for first, second, gap in _mutual(ahead, behind, distance, contrast)
    ]
    return sorted(found, key=lambda link: (link.distance, link.first, link.second, link.below))


def _mutual(ahead: Lines, behind: Lines, distance: float, contrast: float) -> list[tuple[int, int, float]]:
    tiles = np.flatnonzero((ahead.std(axis=1) > _FLAT) & (behind.std(axis=1) > _FLAT))
    if len(tiles) < 3:
        return []
    one, other = _standardised(ahead[tiles]), _standardised(behind[tiles])
    forth, back = _nearest_two(one, other)
    near, far = (_distances(one, other[forth[rank]]) for rank in (0, 1))
    near_back, far_back = (_distances(other, one[back[rank]]) for rank in (0, 1))
    clear = (near < distance) & (near < (1.0 - contrast) * far)
    clear_back = near_back < (1.0 - contrast) * far_back
    mutual = back[0][forth[0]] == np.arange(len(tiles))
    accepted = np.flatnonzero(clear & mutual & clear_back[forth[0]])
    return [(int(tiles[place]), int(tiles[forth[0][place]]), float(near[place])) for place in accepted]


def _standardised(lines: Lines) -> Lines:
    """Of mean 0 and standard deviation 1 by place over all tiles, then by tile."""
    spread = lines.std(axis=0)
    by_place = (lines - lines.mean(axis=0)) / np.where(spread > _FLAT, spread, 1.0)
    deviation = by_place.std(axis=1, keepdims=True)
    standard: Lines = (by_place - by_place.mean(axis=1, keepdims=True)) / np.where(deviation > _FLAT, deviation, 1.0)
    return standard


def _nearest_two(one: Lines, other: Lines) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each line the two most similar ones of the other tiles, (2, n), from `one` to `other` and back."""
    left, right = one.astype(np.float32), other.astype(np.float32)
    count = len(one)
    forth = np.zeros((2, count), dtype=np.int64)
    back = np.zeros((2, count), dtype=np.int64)
    best = np.full((2, count), -np.inf, dtype=np.float32)
    columns = np.arange(count)
    for start in range(0, count, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, count))
        similar = left[rows] @ right.T
        # A tile is not its own neighbour.
        similar[rows - start, rows] = -np.inf
        forth[0, rows] = similar.argmax(axis=1)
        first = similar[rows - start, forth[0, rows]]
        similar[rows - start, forth[0, rows]] = -np.inf
        forth[1, rows] = similar.argmax(axis=1)
        similar[rows - start, forth[0, rows]] = first
        for _ in range(min(2, len(rows))):
            place = similar.argmax(axis=0)
            value = similar[place, columns]
            similar[place, columns] = -np.inf
            _insert(best, back, value, place + start)
    return forth, back


def _insert(
    best: NDArray[np.float32], indices: NDArray[np.int64], value: NDArray[np.float32], index: NDArray[np.int64]
) -> None:
    """Put a value for each column among its two best."""
    first, second = value > best[0], value > best[1]
    # What was first becomes second.
    best[1] = np.where(first, best[0], np.where(second, value, best[1]))
    indices[1] = np.where(first, indices[0], np.where(second, index, indices[1]))
    best[0] = np.where(first, value, best[0])
    indices[0] = np.where(first, index, indices[0])


def _distances(one: Lines, other: Lines) -> Lines:
    """Euclidean distances of lines, in double precision; (n,)."""
    gaps: Lines = np.sqrt(((one - other) ** 2).sum(axis=1))
    return gaps


@dataclass(frozen=True)
class Placed:
    """Where tiles lie: tile by tile, the mosaic's first tile, and row and column in it, from 0.

    Attributes:
        mosaic: index of the first tile of each tile's mosaic.
        row: row of each tile.
        column: column of each tile.
        used: links that the mosaics keep.
        refused: links that contradict nearer ones.
    """

    mosaic: list[int]
    row: list[int]
    column: list[int]
    used: list[Link]
    refused: list[Link]


def chained(count: int, found: list[Link]) -> Placed:
    """Chain links, nearest first, into mosaics: a link that would put two tiles in one place is refused."""
    mosaic = list(range(count))
    members: dict[int, dict[tuple[int, int], int]] = {tile: {(0, 0): tile} for tile in range(count)}
    row, column = [0] * count, [0] * count
    used: list[Link] = []
    refused: list[Link] = []
    for link in found:
        first, second = link.first, link.second
        wanted = (row[first] + link.below, column[first] + (not link.below))
        if mosaic[first] == mosaic[second]:
            fits = (row[second], column[second]) == wanted
        else:
            down, across = wanted[0] - row[second], wanted[1] - column[second]
            small, large = mosaic[second], mosaic[first]
            if len(members[small]) > len(members[large]):
                small, large, down, across = large, small, -down, -across
            moved = {(r + down, c + across): tile for (r, c), tile in members[small].items()}
            fits = moved.keys().isdisjoint(members[large])
            if fits:
                for (r, c), tile in moved.items():
                    mosaic[tile], row[tile], column[tile] = large, r, c
                members[large].update(moved)
                del members[small]
        (used if fits else refused).append(link)
    for cells in members.values():
        top, left, lead = min(r for r, _ in cells), min(c for _, c in cells), min(cells.values())
        for (r, c), tile in cells.items():
            mosaic[tile], row[tile], column[tile] = lead, r - top, c - left
    return Placed(mosaic, row, column, used, refused)
