"""Pictures of scored tiles: the image, its label, the probability of salt and the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_TITLES = ("image", "label", "probability", "mask")
_INCHES = 1.6


@dataclass(frozen=True)
class Drawn:
    """A tile to draw; arrays are (H, W)."""

    title: str
    image: NDArray[np.float32]
    truth: NDArray[np.bool_]
    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]


def chosen(scores: Sequence[float], count: int) -> list[int]:
    """Places of tiles to draw, from the worst to the best at even steps; equal scores keep their order."""
    order = np.argsort(scores, kind="stable")
    steps = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))
    return [int(order[step]) for step in steps]


def draw(tiles: Sequence[Drawn], file: Path) -> None:
    """Draw a row of pictures for each tile into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCHES * len(_TITLES), _INCHES * len(tiles) + 0.3), layout="constrained")
    for row, tile in enumerate(tiles):
        parts = (tile.image, tile.truth, tile.probability, tile.mask)
        for column, (name, values) in enumerate(zip(_TITLES, parts, strict=True)):
            axes = figure.add_subplot(len(tiles), len(_TITLES), row * len(_TITLES) + column + 1)
            axes.imshow(values, cmap="gray" if column == 0 else "viridis", vmin=0.0, vmax=1.0)
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(name, fontsize=8)
            if column == 0:
                axes.set_ylabel(tile.title, fontsize=6)
    # A fixed stamp: the same pictures are the same bytes.
    figure.savefig(file, dpi=100, metadata={"Software": None})
