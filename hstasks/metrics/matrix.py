"""One confusion matrix over a whole set, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError


def confusion(
    truth: ArrayLike, prediction: ArrayLike, classes: int, ignore: int | Collection[int] | None = None
) -> NDArray[np.int64]:
    """How often each class was predicted as each: (classes, classes), rows are the truth.

    Matrices of several tiles are added; measures are made of the sum, never averaged over tiles.

    Args:
        truth: integer labels of any shape.
        prediction: the same shape.
        classes: how many classes there are, numbered from 0.
        ignore: labels of the truth that do not count. A prediction of such a label where the truth counts stays
            an error.

    Raises:
        UserError: shapes that differ, values that are no integers, or a label outside the classes.
    """
    rows, columns = same_masks(truth, prediction)
    rows, columns = rows.reshape(-1), columns.reshape(-1)
    left_out = [] if ignore is None else [ignore] if isinstance(ignore, (int, np.integer)) else list(ignore)
    for label in left_out:
        kept = rows != label
        rows, columns = rows[kept], columns[kept]
    for name, labels in (("truth", rows), ("prediction", columns)):
        outside = labels[(labels < 0) | (labels >= classes)]
        if len(outside):
            raise UserError(
                f"The {name} holds label {int(outside[0])} on {len(outside)} pixels, but the classes are 0 to "
                f"{classes - 1}: map it to a class, or ignore it."
            )
    pairs = rows.astype(np.int64) * classes + columns.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def per_class(matrix: ArrayLike) -> list[dict[str, Any]]:
    """What a confusion matrix says of each class.

    IoU = TP / (TP + FP + FN), F1 = 2 TP / (2 TP + FP + FN): 0 for a class that is only predicted, undefined for one
    that is in neither truth nor prediction. Precision needs a prediction, recall a truth.

    Returns:
        For each class `support` and `predicted` (pixels), `iou`, `f1`, `precision` and `recall` (None where undefined).

    Raises:
        UserError: the matrix is not square, or holds a negative count.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not len(counts) or (counts < 0).any():
        raise UserError(f"A confusion matrix is square and counts pixels; this one has shape {counts.shape}.")
    rows = []
    for number in range(len(counts)):
        hits = counts[number, number].item()
        support, predicted = counts[number].sum().item(), counts[:, number].sum().item()
        union = support + predicted - hits
        rows.append(
            {
                "support": support,
                "predicted": predicted,
                "iou": hits / union if union else None,
                "f1": 2 * hits / (support + predicted) if union else None,
                "precision": hits / predicted if predicted else None,
                "recall": hits / support if support else None,
            }
        )
    return rows


def same_masks(truth: ArrayLike, prediction: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as arrays of integers of one shape.

    Raises:
        UserError: shapes that differ, or values that are no integers.
    """
    rows, columns = _labels(truth, "truth"), _labels(prediction, "prediction")
    if rows.shape != columns.shape:
        raise UserError(
            f"The truth has shape {rows.shape}, the prediction {columns.shape}: compare masks of the same size."
        )
    return rows, columns


def mean_defined(values: Collection[float | None]) -> float | None:
    """The mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _labels(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "biu":
        raise UserError(f"The {name} is of type {array.dtype}, but labels are integers: convert it where it is read.")
    return array
