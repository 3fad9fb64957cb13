"""Measures of land cover, from one confusion matrix over a set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hstasks.metrics.matrix import mean_defined, per_class

BACKGROUND = 0
"""The class whose truth does not count."""


def measures(confusion: ArrayLike, background: int = BACKGROUND) -> dict[str, Any]:
    """What a confusion matrix says, with None where something is not defined.

    Pixels whose truth is the background are dropped; a prediction of background elsewhere stays an error. Means are
    over the other classes that are defined: a class in neither truth nor prediction is left out.

    Args:
        confusion: (C, C) counts, rows are the truth.
        background: the class left out.

    Returns:
        `mIoU_excluding_bg`, `mF1_excluding_bg`, `OA`, `kappa`, `frequency_weighted_iou`, `mIoU_present` (classes in
        the truth only), `pixels`, and lists by class number, None at the background: `per_class_iou`,
        `per_class_f1`, `per_class_precision`, `per_class_recall`, `support`, `predicted`.

    Raises:
        UserError: the matrix is not square, or holds a negative count.
    """
    every = per_class(confusion)
    counts = np.array(confusion)
    if background < len(counts):
        counts[background] = 0
        every = per_class(counts)
        every[background] = dict.fromkeys(every[background])
    pixels = int(counts.sum())
    hits = int(np.trace(counts))
    ious = [row["iou"] for row in every]
    weighted = [row["support"] * row["iou"] for row in every if row["support"]]
    return {
        "mIoU_excluding_bg": mean_defined(ious),
        "mF1_excluding_bg": mean_defined([row["f1"] for row in every]),
        "OA": hits / pixels if pixels else None,
        "kappa": _kappa(counts, pixels, hits),
        "frequency_weighted_iou": sum(weighted) / pixels if pixels else None,
        "mIoU_present": mean_defined([row["iou"] for row in every if row["support"]]),
        "pixels": pixels,
        "per_class_iou": ious,
        "per_class_f1": [row["f1"] for row in every],
        "per_class_precision": [row["precision"] for row in every],
        "per_class_recall": [row["recall"] for row in every],
        "support": [row["support"] for row in every],
        "predicted": [row["predicted"] for row in every],
    }


def _kappa(counts: Any, pixels: int, hits: int) -> float | None:
    """Cohen's kappa; 1 where all is one class and right, as the limit has it."""
    if not pixels:
        return None
    rows, columns = (counts.sum(axis=axis).astype(float) / pixels for axis in (1, 0))
    chance = float((rows * columns).sum())
    return (hits / pixels - chance) / (1.0 - chance) if chance < 1.0 else 1.0
