"""Tiles as the networks take them, and how what is said of them is measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base.memory import Cache
from hstasks.images import readers
from hstasks.images.samples import ImageSamples, Picture
from hstasks.images.settings import Augment, Input
from hstasks.salt import layout
from hstasks.salt.score import iou, score
from hstasks.segmentation import Scoring

MEASURE, IOU = "metric", "IoU"


def samples(
    rows: pd.DataFrame, settings: Input, *, augment: Augment | None = None, seed: int = 0, cache: Cache = "none"
) -> ImageSamples:
    """The tiles of a catalog's rows, with their masks where they have some.

    Args:
        rows: rows of a catalog.
        settings: what the network sees.
        augment: how tiles are changed; None leaves them.
        seed: of the changes.
        cache: whether what was read stays in memory, for those that are read in every epoch.
    """
    images, masks = list(rows["image"]), list(rows["mask"])

    def read(index: int) -> Picture:
        mask = readers.read_mask(masks[index]).astype(np.uint8) if masks[index] else None
        return Picture(image_of(images[index]), mask)

    classes = [max(int(value), 0) for value in rows["coverage_class"]]
    return ImageSamples(list(rows["id"]), read, settings, augment=augment, seed=seed, categories=classes, cache=cache)


def image_of(file: str | Path) -> NDArray[np.float32]:
    """A tile's image, (3, H, W), the channels equal, white as 1; files of one channel give the same as those of three.

    Raises:
        UserError: the file cannot be read, or is coloured.
    """
    levels = readers.to_float(layout.grey(file))
    return np.broadcast_to(levels, (3, *levels.shape))


def measured(truth: NDArray[Any], mask: NDArray[np.bool_]) -> dict[str, float]:
    """The competition's metric and the seed's IoU of a mask (H, W)."""
    return {MEASURE: score(truth, mask), IOU: iou(truth, mask)}


def _at_half(truth: NDArray[Any], valid: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> Mapping[str, float]:
    return measured(truth, probabilities[0] > 0.5)


SCORING = Scoring(_at_half, {MEASURE: "max", IOU: "max", "loss": "min"}, MEASURE)
"""Measures of a prediction as it is, at a threshold of 0.5: what validation compares epochs by."""
