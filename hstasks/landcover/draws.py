"""How often each training tile is drawn: by what a model finds hard, by the rare classes in it, or by both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hstasks.images.settings import Input
from hstasks.landcover import split
from hstasks.landcover.classes import CLASSES, MINORITIES
from hstasks.landcover.params import Params
from hstasks.landcover.samples import samples
from hstasks.landcover.sampling import (
    class_balanced_weights,
    difficulty_weights,
    hardness_richness_weights,
    rare_class_probabilities,
)
from hstasks.loading import load
from hstasks.losses import cross_entropy


def weights(params: Params, training: pd.DataFrame, division: split.Division) -> list[float]:
    """The weight of each training tile by `draws.kind`.

    Args:
        params: resolved.
        training: rows of `split.rows`.
        division: the present split, which the model must have been trained with.

    Raises:
        UserError: the model is missing, of another split or of other classes.
    """
    counts = split.counts_of(training)
    settings = params.draws
    if settings.kind == "difficulty":
        return list(difficulty_weights(hardness(params, training, division), settings.strength))
    if settings.kind == "class_balanced":
        return list(class_balanced_weights(counts > 0, MINORITIES, settings.scale))
    if settings.kind == "rare_class":
        return list(rare_class_weights(counts, settings.temperature))
    if settings.kind == "hardness_richness":
        land = counts[:, 1:].sum(axis=1)
        richness = counts[:, list(MINORITIES)].sum(axis=1) / np.maximum(land, 1)
        return list(hardness_richness_weights(hardness(params, training, division), richness))
    return [1.0] * len(training)


def rare_class_weights(counts: Any, temperature: float) -> NDArray[np.float64]:
    """Weights that draw a class by `rare_class_probabilities`, then a tile that holds it.

    Args:
        counts: (n, C) pixels of each class; class 0 is no truth.
        temperature: see there.

    Returns:
        (n,), with sum 1 unless no tile has any truth.
    """
    pixels = np.asarray(counts, dtype=np.float64)[:, 1:]
    totals = pixels.sum(axis=0)
    there = totals > 0
    found = np.zeros(len(pixels))
    if not there.any():
        return found + 1.0
    holds = pixels[:, there] > 0
    chances = rare_class_probabilities(totals[there] / totals.sum(), temperature)
    shares: NDArray[np.float64] = (holds * (chances / holds.sum(axis=0))).sum(axis=1)
    return shares


def hardness(params: Params, training: pd.DataFrame, division: split.Division) -> NDArray[np.float64]:
    """Mean cross-entropy of `draws.model` on each tile, without augmentation; NaN for one without truth."""
    folder = Path(str(params.draws.model))
    model, record = load(folder)
    split.check(record.get("split"), f"draws.model: the model in {folder}", division)
    if record["model"]["out_channels"] != CLASSES:
        raise UserError(f"draws.model: the model in {folder} has other classes than the target's {CLASSES}.")
    seen = validated(Input, dict(record["params"]["input"]), f"{folder}: the record's 'input'")
    tiles = samples(training, params.data, seen)
    losses = np.full(len(tiles), np.nan)
    with torch.no_grad():
        for index in range(len(tiles)):
            item = tiles[0, index, 0]
            if bool(item["valid"].any()):
                logits = model(item["image"][None]).logits
                losses[index] = float(cross_entropy(logits, item["mask"][None], item["valid"][None]))
    return losses
