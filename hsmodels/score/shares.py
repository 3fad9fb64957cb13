"""Which pixels cost how much of the score.

The score is a product of powers, so -ln SSC is a sum over its parts. What a part costs is handed to the pixels in
proportion to what each adds to the measure: its angle, its divergence, its squared errors relative to the bands'
means (ERGAS), its squared error of the render (PSNR), its lack of similarity, its colour difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hsmodels.score import scale
from hsmodels.score.measure import colour_matrix, measures_of, pixel_maps

_BANDS_AT_ONCE: Final = 8


@dataclass(frozen=True)
class Shares:
    """A scored cube, pixel by pixel.

    Attributes:
        measures: (H, W) each: `SAM_deg`, `SID`, `SSIM`, `DeltaE00` and `squared_error` of the render.
        costs: (H, W) each, by the measure (`scale.MEASURES`): what each pixel adds to -ln SSC. All of them add up to
            it, unless a sub-score is at its floor.
        values: every value of the score, as `hsmodels.score.ssc` gives it.
    """

    measures: Mapping[str, NDArray[np.float64]]
    costs: Mapping[str, NDArray[np.float64]]
    values: Mapping[str, float]


def shares(truth: Tensor, prediction: Tensor, wavelengths: ArrayLike | None = None) -> Shares:
    """Take the score of a finished prediction apart.

    Args:
        truth: (bands, H, W) finite reflectance.
        prediction: the same shape, on the same device.
        wavelengths: (bands,) nm; by default the challenge's grid.
    """
    _, height, width = truth.shape
    to_rgb = colour_matrix(len(truth), wavelengths).to(truth.device)
    with torch.no_grad():
        maps = pixel_maps(truth[None], prediction[None], to_rgb)
        found = measures_of(maps)
        found |= scale.subscores(found)
    values = {name: float(value) for name, value in found.items()}
    means = (maps.truth_sum[0, 0] / (height * width)).abs() + scale.ERGAS_EPSILON
    per_pixel = {
        "SAM_deg": torch.rad2deg(maps.sam[0]),
        "SID": maps.sid[0],
        "ERGAS": _relative(truth, prediction, means),
        "PSNR_dB": maps.squared[0],
        "SSIM": 1.0 - maps.similarity[0],
        "DeltaE00": maps.difference[0],
    }
    total = _lost(values)

    def image(values: Tensor) -> NDArray[np.float64]:
        array: NDArray[np.float64] = values.reshape(height, width).cpu().numpy()
        return array

    costs = {name: image(total[name] * _share(part)) for name, part in per_pixel.items()}
    shown = {name: image(per_pixel[name]) for name in ("SAM_deg", "SID", "DeltaE00")}
    shown |= {"SSIM": image(maps.similarity[0]), "squared_error": image(maps.squared[0])}
    return Shares(shown, costs, values)


def _lost(values: Mapping[str, float]) -> dict[str, float]:
    """What each measure costs: the addends of -ln SSC.

    S_SPAT is a mean, not a product: its cost is divided between PSNR and SSIM as they fall short of 1.
    """
    spectral = scale.WEIGHTS["S_SPEC"] / 3.0
    lost = {
        name: -spectral * np.log(values[f"S_{part}"])
        for name, part in (("SAM_deg", "SAM"), ("SID", "SID"), ("ERGAS", "ERGAS"))
    }
    spatial = -scale.WEIGHTS["S_SPAT"] * np.log(max(values["S_SPAT"], scale.FLOOR))
    short = {"PSNR_dB": 1.0 - values["S_PSNR"], "SSIM": 1.0 - values["S_SSIM"]}
    whole = sum(short.values())
    lost |= {name: spatial * part / whole if whole > 0 else 0.0 for name, part in short.items()}
    lost["DeltaE00"] = -scale.WEIGHTS["S_COLOR"] * np.log(values["S_COLOR"])
    return {name: float(value) for name, value in lost.items()}


def _share(values: Tensor) -> Tensor:
    """Each pixel's share of a sum; equal ones where it is 0."""
    kept = values.clamp(min=0.0)
    total = kept.sum()
    return kept / total if total > 0 else torch.full_like(kept, 1.0 / kept.numel())


def _relative(truth: Tensor, prediction: Tensor, means: Tensor) -> Tensor:
    """(H·W,) float64: a pixel's squared errors, each relative to its band's mean truth (bands,), summed."""
    total = torch.zeros(truth[0].numel(), dtype=torch.float64, device=truth.device)
    for first in range(0, len(truth), _BANDS_AT_ONCE):
        at = slice(first, first + _BANDS_AT_ONCE)
        error = (prediction[at] - truth[at]).flatten(1).double() / means[at, None]
        total += error.square_().sum(dim=0)
    return total
