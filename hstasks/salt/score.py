"""The competition's metric in exact arithmetic, and intersection over union as measured beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError

# Added to intersection and union by `iou_smoothed`.
_SMOOTH = 1e-6


def score(truth: ArrayLike, prediction: ArrayLike) -> float:
    """The metric of the TGS Salt Identification Challenge for one image.

    The share of the thresholds 0.50, 0.55 ... 0.95 that the intersection over union exceeds. An empty truth
    scores 1 with an empty prediction and 0 with any other; an empty prediction of a truth that is not scores 0.

    Args:
        truth: mask (H, W) of any integer or boolean type; not 0 is salt.
        prediction: mask of the same shape.

    Raises:
        UserError: the shapes differ, an array is not two-dimensional, empty, or of another type.
    """
    return float(tenths(*_counts(truth, prediction))) / 10.0


def tenths(truth: ArrayLike, prediction: ArrayLike, intersection: ArrayLike) -> NDArray[np.int64]:
    """Ten times the score, from counts of pixels; elementwise.

    Whole numbers throughout: floating point goes wrong where the overlap is a threshold exactly.

    Args:
        truth: pixels of salt.
        prediction: pixels predicted.
        intersection: pixels in both.
    """
    t, p, i = (np.asarray(counts, dtype=np.int64) for counts in (truth, prediction, intersection))
    union = t + p - i
    exceeded = np.clip(-(-20 * i // np.maximum(union, 1)) - 10, 0, 10)
    return np.where(union == 0, 10, exceeded)


def iou(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Intersection over union of two masks (H, W); 1 where both are empty.

    Raises:
        UserError: see `score`.
    """
    t, p, i = _counts(truth, prediction)
    union = t + p - i
    return i / union if union else 1.0


def iou_smoothed(truth: ArrayLike, prediction: ArrayLike) -> float:
    """(intersection + 1e-6) / (union + 1e-6) of two masks (H, W), as the published notebook measures it.

    Raises:
        UserError: see `score`.
    """
    t, p, i = _counts(truth, prediction)
    return (i + _SMOOTH) / (t + p - i + _SMOOTH)


def _counts(truth: ArrayLike, prediction: ArrayLike) -> tuple[int, int, int]:
    t, p = _mask(truth, "truth"), _mask(prediction, "prediction")
    if t.shape != p.shape:
        raise UserError(f"The truth has shape {t.shape} and the prediction {p.shape}: they must be of one image.")
    return int(np.count_nonzero(t)), int(np.count_nonzero(p)), int(np.count_nonzero(t & p))


def _mask(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    array: NDArray[Any] = np.asarray(values)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "biu":
        raise UserError(
            f"The {name} is {array.dtype} of shape {array.shape}: give a mask (height, width) of an integer or "
            "boolean type (cut probabilities at a threshold first)."
        )
    mask: NDArray[np.bool_] = array != 0
    return mask
