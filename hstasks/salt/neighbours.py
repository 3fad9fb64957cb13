"""What the known tile above says of a tile: the rules that the competition's entrants found in its mosaics.

Under a tile whose mask is vertical, or vertical in its lower half, the mask goes on as its last row says; under one
whose last row is salt all the way the labels end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hstasks.images import readers
from hstasks.salt import catalog, mosaic
from hstasks.salt.layout import TRAIN

_TELLING = {"vertical", "half-vertical", "cap"}


def below_known() -> dict[str, NDArray[np.bool_]]:
    """The masks that follow for tiles from the labelled ones above them, (H, W), by id.

    A tile's own mask says nothing here, so that a held-out tile's rule is measured by its own truth; the tiles above
    are labelled ones wherever they are in the split, as they are above test tiles.

    Raises:
        UserError: there is no catalog or mosaic, or a mask cannot be read.
    """
    frame = catalog.load()
    labelled = frame[(frame["split"] == TRAIN) & frame["defects"].map(lambda told: bool(_TELLING & set(told.split())))]
    telling = dict(zip(labelled["id"], labelled["mask"], strict=True))
    places = mosaic.load()
    return {
        name: follows(readers.read_mask(telling[above]))
        for name, above in zip(places["id"], places["above"], strict=True)
        if above in telling
    }


def follows(above: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask (H, W) under a tile whose mask is `above`, (H, W)."""
    last = above[-1]
    return np.zeros_like(above) if last.all() else np.repeat(last[None], len(above), axis=0)
