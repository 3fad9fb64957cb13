"""Frozen features of pictures: what a network that is not trained here says of them, for a ridge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.base.wording import some
from hstasks.biomass.params import Frozen

Floats = NDArray[np.float64]


def vectors(rows: pd.DataFrame, settings: Frozen) -> dict[str, Floats]:
    """A vector for each image of the catalog, by id: from a file, or by a network.

    Raises:
        UserError: the file lacks an image or is none, or the network or its weights cannot be had.
    """
    return loaded(rows, Path(settings.file)) if settings.file else computed(rows, settings)


def loaded(rows: pd.DataFrame, file: Path) -> dict[str, Floats]:
    """The vectors of a `.npz` with `image_path` (n,) and `features` (n, D).

    Raises:
        UserError: it is no such file, or lacks images.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            pairs = zip(content["image_path"], content["features"].astype(np.float64), strict=True)
            found = {Path(str(path)).stem: vector for path, vector in pairs}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"frozen.file: {file} holds no image_path and features ({error}).") from None
    lacking = sorted(set(rows["id"]) - set(found))
    if lacking:
        raise UserError(f"frozen.file: {file} has no features of {some(lacking)}.")
    return {name: found[name] for name in rows["id"]}


def computed(rows: pd.DataFrame, settings: Frozen, batch: int = 16) -> dict[str, Floats]:
    """The mean over a picture's views of a backbone's pooled vector.

    Raises:
        UserError: the backbone or its weights cannot be had, or a picture cannot be read.
    """
    import torch

    from hstasks.biomass.samples import BiomassSamples
    from hstasks.networks import encoders

    torch.manual_seed(0)
    network, _ = encoders.backbone(str(settings.backbone), settings.weights)
    samples = BiomassSamples(rows, np.zeros((len(rows), 0)), settings.input)
    mean, std = (torch.tensor(v)[:, None, None] for v in (settings.input.mean, settings.input.std))
    found: list[Floats] = []
    with torch.no_grad():
        for first in range(0, len(rows), batch):
            pictures = [samples[0, i, 0]["image"] for i in range(first, min(first + batch, len(rows)))]
            views = torch.stack(pictures)
            told = network.eval()((views.flatten(0, 1) - mean) / std)
            found += list(told.reshape(*views.shape[:2], -1).mean(dim=1).double().numpy())
    return dict(zip(rows["id"], found, strict=True))
