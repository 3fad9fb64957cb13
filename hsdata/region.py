"""Parts of a scene, by a rule on each pixel's true spectrum.

The challenge's images show an object on a white sheet, on a dark table rail, before a background:

- `rail`: mean reflectance over the bands below `RAIL_MEAN`;
- `background` (sheet and wall): mean reflectance at least `BACKGROUND_MEAN` and neutral, that is a standard
  deviation over the bands of at most `NEUTRAL` times the mean;
- `object`: all other pixels.

A white or grey part of an object counts as background, a shadow on the sheet as object: the rule sees
neither neighbours nor shapes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

NAMES: Final = ("object", "rail", "background")
"""Names of the parts."""

RAIL_MEAN: Final = 0.01
BACKGROUND_MEAN: Final = 0.25
NEUTRAL: Final = 0.12

# Optical brighteners and dark current make the ends of the range no measure of neutrality.
_NEUTRAL_RANGE = (450.0, 950.0)
_ROWS = 64


def regions(truth: NDArray[np.floating], wavelengths: ArrayLike) -> dict[str, NDArray[np.bool_]]:
    """The pixels of each part; every pixel is in exactly one.

    Args:
        truth: (bands, height, width) reflectance.
        wavelengths: (bands,) nm.

    Returns:
        A mask (height, width) for each of `NAMES`; a mask can be empty.
    """
    centres = np.asarray(wavelengths, dtype=np.float64).reshape(-1)
    low, high = _NEUTRAL_RANGE
    judged = np.flatnonzero((centres >= low) & (centres <= high))
    if len(judged) < 2:
        judged = np.arange(len(centres))
    rail = np.empty(truth.shape[1:], dtype=np.bool_)
    background = np.empty_like(rail)
    for top in range(0, truth.shape[1], _ROWS):
        rows = np.s_[top : top + _ROWS]
        strip = np.asarray(truth[:, rows], dtype=np.float32)
        rail[rows] = strip.mean(axis=0) < RAIL_MEAN
        part = strip[judged]
        mean = part.mean(axis=0)
        background[rows] = (mean >= BACKGROUND_MEAN) & (part.std(axis=0) <= NEUTRAL * mean)
    background &= ~rail
    return {"object": ~(rail | background), "rail": rail, "background": background}
