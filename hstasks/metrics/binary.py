"""Measures of scores of two classes: 1-D arrays of labels, 0 or 1, and of scores, more meaning more likely 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError

BINS = 10
"""Bins of the calibration error."""


def auroc(truth: ArrayLike, score: ArrayLike) -> float | None:
    """The probability that a 1 scores above a 0, ties counting half; None where a class is missing.

    Args:
        truth: (n,) labels, 0 or 1.
        score: (n,) finite scores of any scale.

    Raises:
        UserError: lengths that differ, labels other than 0 and 1, or a score that is not finite.
    """
    labels, scores = _pair(truth, score)
    if _one_class(labels):
        return None
    _, hits, false = _by_threshold(labels, scores)
    # Twice the area in integers, so that ties count half exactly.
    steps = np.diff(false, prepend=0)
    doubled = int((steps * (hits + np.concatenate([[0], hits[:-1]]))).sum())
    return doubled / (2 * int(hits[-1]) * int(false[-1]))


def average_precision(truth: ArrayLike, score: ArrayLike) -> float | None:
    """Σ (R_n - R_{n-1}) P_n over falling thresholds, without interpolation; arguments and None as for `auroc`."""
    labels, scores = _pair(truth, score)
    if _one_class(labels):
        return None
    _, hits, false = _by_threshold(labels, scores)
    return float((np.diff(hits, prepend=0) * (hits / (hits + false))).sum() / hits[-1])


def youden(truth: ArrayLike, score: ArrayLike) -> float | None:
    """The threshold t where TPR - FPR of (score ≥ t) is largest, the highest of tied ones.

    None where a class is missing, or where no threshold is better than calling nothing a 1. Arguments as for `auroc`.
    """
    best = _best(*_pair(truth, score))
    return None if best is None or best[1] <= 0 else best[0]


def youden_index(truth: ArrayLike, score: ArrayLike) -> float | None:
    """The largest TPR - FPR of all thresholds, at least 0; None where a class is missing. Arguments as for `auroc`."""
    best = _best(*_pair(truth, score))
    return None if best is None else max(best[1], 0.0)


def tpr0(truth: ArrayLike, score: ArrayLike) -> float | None:
    """The largest share of the 1s found without a false positive. Arguments and None as for `auroc`."""
    return tpr_with_false_positives(truth, score, 0)


def tpr10(truth: ArrayLike, score: ArrayLike) -> float | None:
    """The largest share of the 1s found with fewer than ten false positives. Arguments and None as for `auroc`."""
    return tpr_with_false_positives(truth, score, 9)


def tpr_with_false_positives(truth: ArrayLike, score: ArrayLike, at_most: int) -> float | None:
    """The largest true positive rate of thresholds with no more than `at_most` false positives.

    Source: Metcalf et al.: The strong gravitational lens finding challenge, A&A 625, A119 (2019).
    """
    labels, scores = _pair(truth, score)
    if _one_class(labels):
        return None
    _, hits, false = _by_threshold(labels, scores)
    return float(hits[false <= at_most].max(initial=0) / labels.sum())


def brier(truth: ArrayLike, score: ArrayLike) -> float | None:
    """The mean of (p - y)²; None without samples. Scores are probabilities; see `auroc`."""
    labels, scores = _pair(truth, score, probabilities=True)
    return float(np.mean((scores - labels) ** 2)) if len(labels) else None


def ece(truth: ArrayLike, score: ArrayLike, bins: int = BINS) -> float | None:
    """Expected calibration error: Σ_b n_b/n |mean y - mean p| over equal bins [k/B, (k+1)/B), the last one closed.

    None without samples. Scores are probabilities of label 1; see `auroc`.
    """
    labels, scores = _pair(truth, score, probabilities=True)
    if not len(labels):
        return None
    # The edges as quotients, so that a score of 0.3 lies on the edge 3/10.
    places = np.searchsorted(np.arange(1, bins) / bins, scores, side="right")
    gaps = np.bincount(places, weights=labels, minlength=bins) - np.bincount(places, weights=scores, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def counts_at(truth: ArrayLike, score: ArrayLike, threshold: float) -> dict[str, int]:
    """`tn`, `fp`, `fn` and `tp` of the prediction (score ≥ threshold); arguments as for `auroc`."""
    labels, scores = _pair(truth, score)
    said = scores >= threshold
    hits, ones = int(labels[said].sum()), int(labels.sum())
    false = int(said.sum()) - hits
    return {"tn": len(labels) - ones - false, "fp": false, "fn": ones - hits, "tp": hits}


def from_counts(tn: int, fp: int, fn: int, tp: int) -> dict[str, float | None]:
    """What four counts say: accuracy, precision, recall, f1, balanced accuracy, mcc.

    None where a denominator is 0; the correlation `mcc` is 0 there, as scikit-learn has it.
    """
    recall, specificity = _over(tp, tp + fn), _over(tn, tn + fp)
    balanced = None if recall is None or specificity is None else (recall + specificity) / 2
    scale = math.sqrt(tp + fp) * math.sqrt(tp + fn) * math.sqrt(tn + fp) * math.sqrt(tn + fn)
    return {
        "accuracy": _over(tp + tn, tn + fp + fn + tp),
        "precision": _over(tp, tp + fp),
        "recall": recall,
        "f1": _over(2 * tp, 2 * tp + fp + fn),
        "balanced_accuracy": balanced,
        "mcc": (tp * tn - fp * fn) / scale if scale else 0.0,
    }


def binary_measures(truth: ArrayLike, score: ArrayLike, threshold: float | None = None) -> dict[str, Any]:
    """All measures of one set of probabilities, by name.

    Args:
        truth: (n,) labels, 0 or 1.
        score: (n,) probabilities of label 1.
        threshold: where a score becomes a 1, found on other samples; None leaves out what needs one.

    Raises:
        UserError: see `auroc`; or a score outside [0, 1].
    """
    measures: dict[str, Any] = {
        "samples": int(np.size(truth)),
        "auroc": auroc(truth, score),
        "average_precision": average_precision(truth, score),
        "tpr0": tpr0(truth, score),
        "tpr10": tpr10(truth, score),
        "brier": brier(truth, score),
        "ece": ece(truth, score),
    }
    if threshold is not None:
        counts = counts_at(truth, score, threshold)
        measures |= {"threshold": threshold, **counts, **from_counts(**counts)}
    return measures


def _over(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _one_class(labels: NDArray[np.int64]) -> bool:
    return not 0 < labels.sum() < len(labels)


def _best(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[float, float] | None:
    if _one_class(labels):
        return None
    thresholds, hits, false = _by_threshold(labels, scores)
    ones = int(labels.sum())
    zeros = len(labels) - ones
    # In integers, so that ties are ties.
    gain = hits * zeros - false * ones
    place = int(gain.argmax())
    return float(thresholds[place]), float(gain[place] / (ones * zeros))


def _by_threshold(
    labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct scores, falling, and how many true and false positives each has as a threshold."""
    order = np.argsort(-scores, kind="stable")
    falling, sorted_labels = scores[order], labels[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    hits = np.cumsum(sorted_labels)[last]
    return falling[last], hits, last + 1 - hits


def _pair(
    truth: ArrayLike, score: ArrayLike, *, probabilities: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    labels, scores = np.asarray(truth), np.asarray(score, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise UserError(
            f"Labels of shape {labels.shape} and scores of shape {scores.shape}: both must be rows of one length."
        )
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if len(wrong):
        raise UserError(f"Label {labels[wrong[0]]} at position {wrong[0]} ({len(wrong)} such): labels must be 0 or 1.")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise UserError(
            f"Score {scores[bad[0]]} at position {bad[0]} ({len(bad)} such) is not finite: every sample needs a score."
        )
    outside = np.flatnonzero(probabilities & ((scores < 0) | (scores > 1)))
    if len(outside):
        raise UserError(
            f"Score {scores[outside[0]]} at position {outside[0]} ({len(outside)} such) is no probability: give the "
            "sigmoid of the logits."
        )
    return labels.astype(np.int64), scores
