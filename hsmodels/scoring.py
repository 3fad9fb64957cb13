"""The one place that scores a sample: validation, evaluation and reports all come here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hsdata import layout, region
from hsengine.train.task import Direction
from hsmodels import score
from hsmodels.score.shares import Shares
from hsmodels.score.shares import shares as _shares
from hsmodels.score.spatial import psnr

SCORE = "SSC"
"""Leads among the values of cubes."""

PSNR = "PSNR_dB"
"""Leads among the values of full-size RGB, which the challenge's score does not apply to."""

DIRECTIONS: Mapping[str, Direction] = {
    **dict.fromkeys(score.NAMES, "max"),
    **dict.fromkeys(("SAM_deg", "SID", "ERGAS", "DeltaE00"), "min"),
}


def leading(target: str) -> str:
    """The value that models of a target are compared by."""
    return SCORE if target == layout.CUBES else PSNR


def values(
    truth: Tensor, prediction: Tensor, wavelengths: NDArray[np.float64], target: str = layout.CUBES
) -> dict[str, Tensor]:
    """Every value of finished predictions, float64 (B,) each.

    Args:
        truth: (B, bands, H, W) reflectance, or (B, 3, H, W) RGB in [0, 1].
        prediction: the same shape, on any device; the score is computed there.
        wavelengths: (bands,) nm.
        target: what was predicted: cubes get the score and all it is made of, RGB its PSNR, at most 120 dB.

    Raises:
        UserError: shapes that do not belong together, or values that are not finite.
    """
    shown = truth.to(prediction.device)
    if target == layout.CUBES:
        return score.ssc_batch(shown, prediction, wavelengths=wavelengths)
    return {PSNR: psnr((shown - prediction).double().square().mean(dim=(1, 2, 3)))}


def regions(truth: Tensor, prediction: Tensor, wavelengths: NDArray[np.float64]) -> dict[str, float]:
    """The score of each region that a finished cube's truth has; (bands, H, W) reflectance each."""
    masks = region.regions(truth.cpu().numpy(), wavelengths)
    parts = score.ssc_regions(truth.to(prediction.device), prediction, masks, wavelengths=wavelengths)
    return {name: part[SCORE] for name, part in parts.items()}


def shares(truth: Tensor, prediction: Tensor, wavelengths: NDArray[np.float64]) -> Shares:
    """The score of a finished cube pixel by pixel, and which pixel costs how much; (bands, H, W) reflectance each."""
    return _shares(truth.to(prediction.device), prediction, wavelengths)
