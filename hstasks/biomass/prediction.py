"""What trained networks say of images, with what their records hold for that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hsengine.predict.run import device_named
from hsengine.train.task import seeded
from hstasks.biomass.augment import window
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.params import Params, Predict, Window
from hstasks.biomass.repair import repair, repair_published
from hstasks.biomass.samples import BiomassSamples, restored
from hstasks.loading import load

Floats = NDArray[np.float64]

_FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


def predicted(
    folders: Sequence[str | Path],
    rows: pd.DataFrame,
    settings: Predict,
    *,
    guess: bool | None = None,
    device: str | None = None,
) -> tuple[Floats, list[dict[str, Any]]]:
    """Grams (n, 5) of catalog rows, of all folders' networks and views together, and the folders' records.

    Args:
        folders: of trained models of this challenge.
        rows: images, with their metadata where they are to be used.
        settings: how to predict.
        guess: whether missing metadata are guessed from the picture; None: as each model's parameters say.
        device: cpu or cuda.

    Raises:
        UserError: a folder is not a trained model's of this challenge, or a picture cannot be read.
    """
    each, records = each_view(folders, rows, settings, guess=guess, device=device)
    return combined(each, settings.combine), records


@torch.no_grad()
def each_view(
    folders: Sequence[str | Path],
    rows: pd.DataFrame,
    settings: Predict,
    *,
    guess: bool | None = None,
    device: str | None = None,
) -> tuple[Floats, list[dict[str, Any]]]:
    """Grams (m, n, 5) by each of m networks and views; see `predicted`."""
    place, found, records = device_named(device), [], []
    for folder in folders:
        model, record = load(folder, settings.checkpoint)
        if record.get("challenge") != "biomass" or "fitted" not in record:
            raise UserError(f"{folder} holds no model of the biomass challenge: name a folder that its training wrote.")
        params = validated(Params, dict(record["params"]), f"{folder}: the record's parameters")
        wanted = params.metadata.missing == "predicted" if guess is None else guess
        numbers = restored(record["fitted"]).numbers(rows, guess=wanted)
        model.to(place)
        if settings.dropout_passes:
            _awake(model)
        for views in dict.fromkeys([params.input.views, *settings.layouts]):
            samples = BiomassSamples(rows, numbers, params.input.model_copy(update={"views": views}))
            parts = []
            for first in range(0, len(samples), settings.batch):
                indices = range(first, min(first + settings.batch, len(samples)))
                metadata = torch.from_numpy(numbers[list(indices)].astype(np.float32)).to(place)
                shown = _shown([samples.whole(index) for index in indices], [samples.ids[i] for i in indices], settings)
                told = []
                for number, pictures in enumerate(shown):
                    image = torch.stack([samples.cut(picture) for picture in pictures]).to(place)
                    for again in range(max(settings.dropout_passes, 1)):
                        seeded(first, number, again)
                        told.append(model(image, metadata).grams)
                parts.append(torch.stack(told).double().cpu().numpy())
            found.append(np.concatenate(parts, axis=1))
        records.append(record)
    return np.concatenate(found), records


def combined(each: Floats, how: str) -> Floats:
    """(n, 5) of (m, n, 5): their mean, median, or geometric mean (of grams and one, so that 0 is allowed)."""
    if how == "median":
        middle: Floats = np.median(each, axis=0)
        return middle
    if how == "geometric":
        grown: Floats = np.expm1(np.log1p(each.clip(min=0.0)).mean(axis=0))
        return grown
    mean: Floats = each.mean(axis=0)
    return mean


def _shown(images: list[Tensor], ids: list[str], settings: Predict) -> list[list[Tensor]]:
    """The pictures of a batch in each of the views that are averaged over."""
    found = [
        [image.flip(axes) if axes else image for image in images] for axes in (_FLIPS if settings.flips else ((),))
    ]
    for number in range(settings.crops):
        part = Window(p=1.0, scale=[settings.crop_scale] * 2, ratio=[1.0, 1.0])
        found.append([window(image, part, (0, 0, name, number)) for image, name in zip(images, ids, strict=True)])
    return found


def _awake(model: nn.Module) -> None:
    """Let dropout work; normalisation stays as it was learnt."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()


def repaired(grams: Floats, settings: Predict) -> Floats:
    """Grams (n, 5) by the rule of `predict.repair`."""
    if settings.repair == "none":
        return grams
    return repair(grams, TARGETS, tolerance=0.0) if settings.repair == "projection" else repair_published(grams)
