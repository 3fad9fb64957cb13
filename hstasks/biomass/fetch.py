"""The verb `fetch`: the competition's files from Kaggle, in its own layout."""

from __future__ import annotations

import os
from pathlib import Path

from hsengine.base.errors import UserError
from hsengine.base.filling import begun
from hstasks.biomass.layout import TRAIN, TRAIN_TABLE, find
from hstasks.images import fetch

COMPETITION = "csiro-biomass"


def run(to: str | os.PathLike[str] = "data", *, again: bool = False) -> str:
    """Download the competition's files with the user's account into a data folder.

    Args:
        to: the data folder.
        again: download even if the data are there.

    Returns:
        What there is now, in a sentence.

    Raises:
        UserError: the data are there already; or see `hstasks.images.fetch.competition`.
    """
    root = Path(to)
    if not again and begun(root) is None and (root / TRAIN_TABLE).is_file():
        raise UserError(f"{root} holds {TRAIN_TABLE} already: nothing was fetched; --again fetches the files anew.")
    fetch.competition(COMPETITION, root, {}, again=again)
    entries = find(root).entries
    train = sum(entry.split == TRAIN for entry in entries)
    return f"{train} training and {len(entries) - train} test pictures in {root}"
