"""What trained models say of tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hsengine.predict.views import FLIP_COLUMNS
from hstasks.images.samples import ImageSamples
from hstasks.prediction import Masks, opened
from hstasks.salt.params import Predict
from hstasks.salt.postprocess import Tile


def masks(folders: Sequence[str | Path], settings: Predict, device: str | None = None) -> tuple[Masks, list[dict]]:  # type: ignore[type-arg]
    """The ensemble of some folders, and their records."""
    return opened(folders, FLIP_COLUMNS if settings.flip else (), which=settings.checkpoint, device=device)


def tiles(ensemble: Masks, samples: ImageSamples, settings: Predict, label: str) -> Iterator[Tile]:
    """What an ensemble says of samples, in their order, with the truth where it is known."""
    for found in ensemble.over(samples, batch=settings.batch, label=label):
        picture = samples.picture(found.index)
        truth = None if picture.mask is None else np.asarray(picture.mask) > 0
        yield Tile(
            samples.ids[found.index], found.probabilities[0], found.presence, not bool(picture.image.any()), truth
        )
