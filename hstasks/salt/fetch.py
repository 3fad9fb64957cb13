"""The verb `fetch`: the competition's files from Kaggle, unpacked into the layout."""

from __future__ import annotations

import os
from pathlib import Path

from hsengine.base.errors import UserError
from hsengine.base.filling import begun
from hstasks.images import fetch
from hstasks.salt.layout import IMAGES, TEST, TRAIN, find

COMPETITION = "tgs-salt-identification-challenge"
# The bundle holds everything once more.
_ARCHIVES = {"train.zip": TRAIN, "test.zip": TEST, "competition_data.zip": ""}


def run(to: str | os.PathLike[str] = "data", *, again: bool = False) -> str:
    """Download the competition's files with the user's account and unpack them into a data folder.

    Args:
        to: the data folder.
        again: download even if the data are there.

    Returns:
        What there is now, in a sentence.

    Raises:
        UserError: the data are there already; or see `hstasks.images.fetch.competition`.
    """
    root = Path(to)
    if not again and begun(root) is None and (root / TRAIN / IMAGES).is_dir():
        raise UserError(f"{root} holds training tiles already: nothing was fetched; --again fetches them anew.")
    fetch.competition(COMPETITION, root, _ARCHIVES, again=again)
    tiles = find(root).tiles
    train = sum(tile.split == TRAIN for tile in tiles)
    return f"{train} training and {len(tiles) - train} test tiles in {root}"
