"""What trained models say of tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsengine.predict.views import FLIP_COLUMNS
from hstasks.images.samples import ImageSamples
from hstasks.prediction import Masks, opened
from hstasks.salt.params import Predict
from hstasks.salt.postprocess import Tile


def masks(folders: Sequence[str | Path], settings: Predict, device: str | None = None) -> tuple[Masks, list[dict]]:  # type: ignore[type-arg]
    """The ensemble of some folders, and their records."""
    return opened(folders, FLIP_COLUMNS if settings.flip else (), which=settings.checkpoint, device=device)


def tiles(
    ensemble: Masks,
    samples: ImageSamples,
    settings: Predict,
    label: str,
    follows: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Iterator[Tile]:
    """What an ensemble says of samples, in their order, with the truth where it is known.

    Args:
        ensemble: networks.
        samples: tiles.
        settings: how to predict.
        label: of the progress bar.
        follows: the masks that follow from the tiles above, by id.
    """
    told = follows or {}
    for found in ensemble.over(samples, batch=settings.batch, label=label):
        mask, black = found.picture.mask, not bool(found.picture.image.any())
        truth = None if mask is None else np.asarray(mask) > 0
        yield Tile(found.id, found.probabilities[0], found.presence, black, truth, told.get(found.id))
