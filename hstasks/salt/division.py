"""Which tiles are learned from and which are held out, checked against each other."""

from __future__ import annotations

import pandas as pd

from hsengine.base.errors import UserError
from hsengine.base.wording import some
from hsengine.train.identity import content
from hstasks.images import split as splits
from hstasks.salt import pseudo
from hstasks.salt.params import DataParams
from hstasks.salt.split import labelled


def divided(params: DataParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Catalog rows to learn from, pseudo-labelled tiles included, and those held out.

    Raises:
        UserError: catalog, mosaics or split are missing or do not belong together, or training would see a
            held-out tile.
    """
    frame = labelled(params.split)
    decided = splits.load()
    held_out = frame[frame["id"].isin(decided.held_out)]
    training = frame[frame["id"].isin(decided.train)]
    left = sorted(set(frame["id"]) - set(decided.folds))
    if left:
        raise UserError(f"The split does not have {some(left)} of the catalog: make it anew with 'hstasks split'.")
    labels = pseudo.rows()
    kinds = ("id", "group", "content") if params.split.strategy == "grouped" else ("id", "content")
    everything = pd.concat([frame, labels], ignore_index=True)
    splits.check(everything, decided.held_out, [*decided.train, *labels["id"]], kinds)
    return pd.concat([training, labels], ignore_index=True), held_out.reset_index(drop=True)


def data_hash(training: pd.DataFrame, held_out: pd.DataFrame) -> str:
    """Hash of the tiles' and masks' content, and of which are held out."""
    return content(training, held_out, ("id", "content", "mask_content"))
