"""The stage `split`: which training tiles are held out, whole mosaics at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hsengine.base.errors import UserError
from hsengine.base.wording import some
from hstasks.images import split as splits
from hstasks.salt import catalog, mosaic
from hstasks.salt.layout import TRAIN
from hstasks.salt.params import DataParams, Split

# Classes of depth that are spread evenly.
_DEPTHS = 10


@dataclass(frozen=True)
class Summary:
    """What `run` decided.

    Attributes:
        folder: where it is written.
        decision: who is held out, and why.
    """

    folder: Path
    decision: splits.Decision

    def __str__(self) -> str:
        return f"{self.decision}\nwritten to {self.folder}, split {self.decision.hash[:10]}"


def run(params: DataParams) -> Summary:
    """Divide the training tiles into folds and write `derived/split/`.

    Raises:
        UserError: catalog or mosaics are missing or do not belong together, or the tiles cannot be so divided.
    """
    decision = splits.decide(labelled(params.split), params.split)
    splits.write(decision)
    return Summary(splits.FOLDER, decision)


def labelled(params: Split) -> pd.DataFrame:
    """The catalog's training tiles, with their mosaics as groups and the strata that `params` asks for.

    Raises:
        UserError: see `run`.
    """
    frame = catalog.load()
    frame = frame[frame["split"] == TRAIN].reset_index(drop=True)
    found = mosaic.load()
    groups = dict(zip(found["id"], found["group"], strict=True))
    missing = [name for name in frame["id"] if name not in groups]
    if missing:
        raise UserError(f"{mosaic.PATH} does not have {some(missing)}: make it anew with 'hstasks mosaic'.")
    strata = {"coverage": frame["stratum"], "depth": _depth_classes(frame), "none": pd.Series([""] * len(frame))}
    return frame.assign(group=frame["id"].map(groups), stratum=strata[params.stratify])


def _depth_classes(frame: pd.DataFrame) -> pd.Series[str]:
    """The tenth of all depths that each tile's is in, `0` the shallowest; empty where it is unknown."""
    known = frame["depth"].notna().to_numpy(dtype=bool)
    classes = np.full(len(frame), "", dtype=object)
    # Equal depths are one class, whatever the order of the rows.
    places = frame.loc[known, "depth"].rank(method="min").to_numpy(dtype=np.int64) - 1
    classes[known] = (places * _DEPTHS // max(int(known.sum()), 1)).astype(str)
    return pd.Series(classes, index=frame.index)
