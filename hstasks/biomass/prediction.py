"""What trained networks say of images, with what their records hold for that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hsengine.predict.run import device_named
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.params import Params, Predict
from hstasks.biomass.repair import repair, repair_published
from hstasks.biomass.samples import BiomassSamples, restored
from hstasks.loading import load

Floats = NDArray[np.float64]

_FLIPS = ((), (-1,), (-2,), (-2, -1))


@torch.no_grad()
def predicted(
    folders: Sequence[str | Path],
    rows: pd.DataFrame,
    settings: Predict,
    *,
    guess: bool | None = None,
    device: str | None = None,
) -> tuple[Floats, list[dict[str, Any]]]:
    """Grams (n, 5) of catalog rows, the mean of all folders' networks and views, and the folders' records.

    Args:
        folders: of trained models of this challenge.
        rows: images, with their metadata where they are to be used.
        settings: how to predict.
        guess: whether missing metadata are guessed from the picture; None: as each model's parameters say.
        device: cpu or cuda.

    Raises:
        UserError: a folder is not a trained model's of this challenge, or a picture cannot be read.
    """
    place, total, records = device_named(device), np.zeros((len(rows), len(TARGETS))), []
    for folder in folders:
        model, record = load(folder, settings.checkpoint)
        if record.get("challenge") != "biomass" or "fitted" not in record:
            raise UserError(f"{folder} holds no model of the biomass challenge: name a folder that its training wrote.")
        params = validated(Params, dict(record["params"]), f"{folder}: the record's parameters")
        wanted = params.metadata.missing == "predicted" if guess is None else guess
        samples = BiomassSamples(rows, restored(record["fitted"]).numbers(rows, guess=wanted), params.input)
        model.to(place)
        found = []
        for first in range(0, len(samples), settings.batch):
            items = [samples[0, index, 0] for index in range(first, min(first + settings.batch, len(samples)))]
            image = torch.stack([item["image"] for item in items]).to(place)
            metadata = torch.stack([item["metadata"] for item in items]).to(place)
            shown = [image.flip(axes) if axes else image for axes in (_FLIPS if settings.flips else ((),))]
            found.append(torch.stack([model(view, metadata).grams for view in shown]).mean(dim=0).double().cpu())
        total += torch.cat(found).numpy()
        records.append(record)
    return total / len(folders), records


def repaired(grams: Floats, settings: Predict) -> Floats:
    """Grams (n, 5) by the rule of `predict.repair`."""
    if settings.repair == "none":
        return grams
    return repair(grams, TARGETS, tolerance=0.0) if settings.repair == "projection" else repair_published(grams)
