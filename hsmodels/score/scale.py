"""From the six measures to their sub-scores and the score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from hsmodels.score.colour import root

MEASURES: Final = ("SAM_deg", "SID", "ERGAS", "PSNR_dB", "SSIM", "DeltaE00")
SUBSCORES: Final = ("S_SAM", "S_SID", "S_ERGAS", "S_PSNR", "S_SSIM", "S_SPEC", "S_SPAT", "S_COLOR", "SSC", "SSC_arith")
NAMES: Final = (*MEASURES, *SUBSCORES)
"""Every value of the score, in the order in which it is reported."""

DECAY: Final[Mapping[str, float]] = {"SAM_deg": 5.0, "SID": 0.02, "ERGAS": 3.0, "DeltaE00": 3.0}
"""τ of S = exp(-x / τ)."""

FLOOR: Final = 1e-6
"""The least value of an exponential sub-score."""

PSNR_RANGE: Final = (20.0, 50.0)
"""The decibels that S_PSNR maps to 0 and to 1."""

WEIGHTS: Final[Mapping[str, float]] = {"S_SPEC": 0.5, "S_SPAT": 0.35, "S_COLOR": 0.15}

ERGAS_EPSILON: Final = 1e-12


def ergas(squared_error: Tensor, mean: Tensor) -> Tensor:
    """ERGAS, resolution ratio 1, from each band's mean squared error and mean truth, (..., bands).

    L. Wald, "Quality of high resolution synthesised images: is there a simple criterion?", Fusion of Earth Data, 2000.
    """
    return 100.0 * root((squared_error / (mean.abs() + ERGAS_EPSILON) ** 2).mean(dim=-1))


def relative_psnr(decibels: Tensor) -> Tensor:
    """Where PSNR lies in its range, 0 to 1 inside it."""
    low, high = PSNR_RANGE
    return (decibels - low) / (high - low)


def power(base: Tensor, exponent: float) -> Tensor:
    """`base` to a power below 1; 0, and without gradient, where `base` is not positive."""
    positive = base > 0
    return torch.where(positive, torch.where(positive, base, 1.0) ** exponent, 0.0)


def subscores(measures: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sub-scores and scores (`SUBSCORES`) of measures (`MEASURES`), tensors of one shape.

    S_SSIM is SSIM itself, and so may be negative; SSC is 0 where S_SPAT is.
    """
    score = {
        f"S_{name}": (-measures[measure] / DECAY[measure]).exp().clamp(FLOOR, 1.0)
        for name, measure in (("SAM", "SAM_deg"), ("SID", "SID"), ("ERGAS", "ERGAS"))
    }
    score["S_PSNR"] = relative_psnr(measures["PSNR_dB"]).clamp(0.0, 1.0)
    score["S_SSIM"] = measures["SSIM"]
    score["S_SPEC"] = (score["S_SAM"] * score["S_SID"] * score["S_ERGAS"]) ** (1.0 / 3.0)
    score["S_SPAT"] = 0.5 * (score["S_PSNR"] + score["S_SSIM"])
    score["S_COLOR"] = (-measures["DeltaE00"] / DECAY["DeltaE00"]).exp().clamp(FLOOR, 1.0)
    score["SSC"] = torch.ones_like(score["S_COLOR"])
    score["SSC_arith"] = torch.zeros_like(score["S_COLOR"])
    for name, weight in WEIGHTS.items():
        score["SSC"] = score["SSC"] * power(score[name], weight)
        score["SSC_arith"] = score["SSC_arith"] + weight * score[name]
    return {name: score[name] for name in SUBSCORES}
