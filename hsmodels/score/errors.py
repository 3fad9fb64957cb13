"""Errors by band, as papers on spectral reconstruction report them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsmodels.score.arrays import Array, as_tensor
from hsmodels.score.spatial import SQUARED_ERROR_FLOOR

TRUTH_FLOOR: Final = 1e-4
"""The least denominator of a relative error, so that black pixels do not make the mean infinite."""


def spectral_errors(truth: Array, prediction: Array) -> dict[str, NDArray[np.float64]]:
    """RMSE, MRAE and PSNR_dB of each band.

    Args:
        truth: (bands, H, W) or (B, bands, H, W).
        prediction: the same shape.

    Returns:
        (bands,) each: the root of the mean squared error; the mean of |error| / truth, the truth at least 1e-4;
        the peak signal-to-noise ratio for data range 1, at most 120 dB.

    Raises:
        UserError: the shapes differ.
    """
    a, b = as_tensor(truth), as_tensor(prediction)
    if a.shape != b.shape or a.ndim not in (3, 4):
        raise UserError(
            f"Errors by band need two arrays of one shape (bands, H, W) or (B, bands, H, W), not {tuple(a.shape)} and "
            f"{tuple(b.shape)}."
        )
    squared, relative = [], []
    for x, y in zip(a.unbind(dim=-3), b.unbind(dim=-3), strict=True):
        error = y.double() - x.double()
        squared.append(float(error.square().mean()))
        relative.append(float((error.abs() / x.double().clamp(min=TRUTH_FLOOR)).mean()))
    mean_squared = np.array(squared)
    return {
        "RMSE": np.sqrt(mean_squared),
        "MRAE": np.array(relative),
        "PSNR_dB": -10.0 * np.log10(np.maximum(mean_squared, SQUARED_ERROR_FLOOR)),
    }


def cube_errors(truth: Array, prediction: Array) -> dict[str, float]:
    """RMSE, MRAE and PSNR_dB of the whole cube; see `spectral_errors`."""
    bands = spectral_errors(truth, prediction)
    mean_squared = float(np.mean(bands["RMSE"] ** 2))
    return {
        "RMSE": float(np.sqrt(mean_squared)),
        "MRAE": float(np.mean(bands["MRAE"])),
        "PSNR_dB": float(-10.0 * np.log10(max(mean_squared, SQUARED_ERROR_FLOOR))),
    }
