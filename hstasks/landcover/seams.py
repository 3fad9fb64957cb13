"""Errors near the seams between classes, and away from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hstasks.metrics.matrix import same_masks

BACKGROUND = 0


def seam_errors(
    truth: ArrayLike,
    prediction: ArrayLike,
    distance: float,
    background: int = BACKGROUND,
    scored: ArrayLike | None = None,
) -> dict[str, Any]:
    """How many pixels of a tile lie near a class seam, how many beyond, and how many of each are wrong.

    A pixel is on a seam where one of its four neighbours has another truth label, the background included. Near is
    a Euclidean distance below `distance` to the nearest such pixel. Add the counts of tiles, then divide.

    Args:
        truth: (H, W) labels; pixels of the background do not count.
        prediction: (H, W) labels.
        distance: pixels.
        background: the label that does not count.
        scored: (H, W) bool, which pixels count; None: all.

    Returns:
        `near_pixels`, `far_pixels`, `near_wrong`, `far_wrong`; all 0 for a tile without a seam.

    Raises:
        UserError: the shapes differ, or the labels are no integers.
    """
    from scipy.ndimage import distance_transform_edt

    labels, said = same_masks(truth, prediction)
    seams = on_seam(labels)
    if not seams.any():
        return dict.fromkeys(("near_pixels", "far_pixels", "near_wrong", "far_wrong"), 0)
    near = distance_transform_edt(~seams) < distance
    counts, wrong = labels != background, labels != said
    if scored is not None:
        counts = counts & np.asarray(scored, dtype=bool)
    return {
        "near_pixels": int((near & counts).sum()),
        "far_pixels": int((~near & counts).sum()),
        "near_wrong": int((near & counts & wrong).sum()),
        "far_wrong": int((~near & counts & wrong).sum()),
    }


def on_seam(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Which pixels of (H, W) labels have a neighbour, above, below or beside, of another label."""
    seams = np.zeros(labels.shape, dtype=bool)
    below = labels[1:] != labels[:-1]
    beside = labels[:, 1:] != labels[:, :-1]
    seams[1:] |= below
    seams[:-1] |= below
    seams[:, 1:] |= beside
    seams[:, :-1] |= beside
    return seams
