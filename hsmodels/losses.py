"""What training minimises: absolute error, spectral angle, and the challenge's score itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsmodels.score import scale
from hsmodels.score.colour import root
from hsmodels.score.measure import colour_matrix, measures
from hsmodels.score.operations import SAM_EPSILON, working_type

COSINE_LIMIT = 1.0 - 1e-7
"""The cosine of the training angle is clipped here: its arccos has a finite slope everywhere."""

SMOOTH_FLOOR = 5e-4
"""Reflectance around which the smooth score's divergence begins to level off."""

SMOOTH_WIDTH = 0.1
"""Width of the bend at 0 of the smooth S_PSNR and S_SSIM."""


def spectral_angle(prediction: Tensor, truth: Tensor) -> Tensor:
    """The mean angle between spectra, in radians, of each image: (B,) float64.

    Its cosine is a·b / (|a||b| + 1e-8), clipped to ±(1 - 1e-7): within 4.5e-4 rad of the truth there is no
    gradient. Neither is there one at spectra that are exactly zero.

    Args:
        prediction: (B, bands, H, W) float32 or float64.
        truth: (B, bands, H, W).
    """
    dot = (prediction * truth).sum(dim=1).double()
    squares = prediction.square().sum(dim=1).double()
    # The slope at zero is 1e8 rad for a unit of reflectance: true, and of no use.
    dot = torch.where(squares > 0, dot, 0.0)
    product = root(squares) * root(truth.square().sum(dim=1).double())
    cosine = dot / (product + SAM_EPSILON)
    return cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT).acos().flatten(1).mean(dim=1)


class SSCLoss(nn.Module):
    """1 - SSC of each image, differentiable through all six measures.

    The value is that of `hsmodels.score.ssc`, and so is the gradient, clips included: where S_SAM, S_SID,
    S_ERGAS or S_COLOR is at its floor of 1e-6, or S_PSNR at 0 or 1, that measure has none, and where
    S_SPAT is not positive there is none at all. As SSC is a product, its gradient is also small wherever
    one factor is. That makes it a loss for models that already predict well.

    With `smooth`, the loss is -ln SSC with each sub-score replaced by one that equals it near a perfect
    prediction and never saturates:

        S = 1 / (1 + x/τ)                  for SAM, SID, ERGAS, ΔE00 (value and slope of exp(-x/τ) at x = 0)
        S = w ln(1 + exp(t / w)), w = 0.1  for S_PSNR with t = min((PSNR - 20) / 30, 1), S_SSIM with t = SSIM
        SID of spectra (a + sqrt(a² + 4f²)) / 2, f = 5e-4, instead of max(a, 0)

    so that the loss is Σ (0.5/3) ln(1 + x/τ) + 0.15 ln(1 + ΔE00/3) - 0.35 ln S_SPAT. It falls as SSC rises,
    pulls on every measure at any distance, and lifts dark and negative predictions with a slope of at
    most about 1/f.

    Args:
        wavelengths: (bands,) band centres in nm; by default the challenge's grid where there are 61 bands.
        smooth: see above.
    """

    def __init__(self, wavelengths: ArrayLike | None = None, *, smooth: bool = False):
        super().__init__()
        self.wavelengths = wavelengths
        self.smooth = smooth
        self._matrices: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """The loss of each image, float64.

        Args:
            prediction: (B, bands, H, W) or (bands, H, W) reflectance; half types are computed in float32.
            truth: the same shape.

        Returns:
            (B,), or a scalar for a single image.

        Raises:
            UserError: the shapes differ, or the wavelengths do not fit the bands.
        """
        _check(prediction, truth)
        single = prediction.ndim == 3
        if single:
            prediction, truth = prediction[None], truth[None]
        with torch.autocast(prediction.device.type, enabled=False):
            floor = SMOOTH_FLOOR if self.smooth else 0.0
            values = measures(truth, prediction, self._matrix(prediction), floor=floor)
            values = {name: value[:, 0] for name, value in values.items()}
            losses = _smooth_loss(values) if self.smooth else 1.0 - scale.subscores(values)["SSC"]
        return losses[0] if single else losses

    def _matrix(self, cube: Tensor) -> Tensor:
        key = (cube.shape[1], cube.device)
        if key not in self._matrices:
            self._matrices[key] = colour_matrix(cube.shape[1], self.wavelengths).to(cube.device)
        return self._matrices[key]


def _smooth_loss(values: Mapping[str, Tensor]) -> Tensor:
    spectral = [(values[name] / scale.DECAY[name]).log1p() for name in ("SAM_deg", "SID", "ERGAS")]
    colour = (values["DeltaE00"] / scale.DECAY["DeltaE00"]).log1p()
    places = torch.stack([scale.relative_psnr(values["PSNR_dB"]).clamp(max=1.0), values["SSIM"]])
    spatial = (nn.functional.softplus(places / SMOOTH_WIDTH) * SMOOTH_WIDTH).mean(dim=0)
    weights = scale.WEIGHTS
    loss: Tensor = weights["S_SPEC"] / 3.0 * (spectral[0] + spectral[1] + spectral[2])
    return loss + weights["S_COLOR"] * colour - weights["S_SPAT"] * spatial.log()


class ReconstructionLoss(nn.Module):
    """l1 · L1 + sam · SAM + ssc(t) · SSC loss, for each image of a batch.

    L1 is the mean absolute error, SAM the mean spectral angle in radians, the last part `SSCLoss`. Its
    weight rises linearly from 0 to `ssc` over the first `ssc_ramp` of the training, which the caller
    reports by `set_progress`; without a report it has its full weight.

    Args:
        l1: weight of L1.
        sam: weight of SAM.
        ssc: weight of the score.
        ssc_ramp: fraction of the training over which that weight rises; 0 means from the start.
        ssc_smooth: whether `SSCLoss` is smooth.
        wavelengths: see `SSCLoss`.
    """

    def __init__(
        self,
        l1: float = 1.0,
        sam: float = 0.1,
        ssc: float = 0.0,
        ssc_ramp: float = 0.0,
        ssc_smooth: bool = False,
        wavelengths: ArrayLike | None = None,
    ):
        super().__init__()
        self.l1, self.sam, self.ssc, self.ssc_ramp = l1, sam, ssc, ssc_ramp
        self.score = SSCLoss(wavelengths, smooth=ssc_smooth)
        self.progress = 1.0

    def set_progress(self, fraction: float) -> None:
        """Say which fraction of the training, 0 to 1, is done."""
        self.progress = fraction

    @property
    def ssc_weight(self) -> float:
        """The weight that the score has now."""
        return self.ssc * min(1.0, self.progress / self.ssc_ramp) if self.ssc_ramp > 0 else self.ssc

    def forward(self, prediction: Tensor, truth: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each image and its parts, computed in float32 under autocast too.

        Args:
            prediction: (B, bands, H, W).
            truth: (B, bands, H, W).

        Returns:
            The losses (B,), and the unweighted parts (B,) without gradient: `l1`, `sam`, and `ssc` where it
            has a weight at any time. All float32, or float64 for float64 inputs.

        Raises:
            UserError: the shapes differ, or the wavelengths do not fit the bands.
        """
        _check(prediction, truth)
        dtype = working_type(truth, prediction)
        with torch.autocast(prediction.device.type, enabled=False):
            prediction, truth = prediction.to(dtype), truth.to(dtype)
            parts = {
                "l1": (prediction - truth).abs().flatten(1).mean(dim=1),
                "sam": spectral_angle(prediction, truth).to(dtype),
            }
            losses = self.l1 * parts["l1"] + self.sam * parts["sam"]
            if self.ssc > 0:
                weight = self.ssc_weight
                with torch.set_grad_enabled(torch.is_grad_enabled() and weight > 0):
                    parts["ssc"] = self.score(prediction, truth).to(dtype)
                losses = losses + weight * parts["ssc"]
        return losses, {name: part.detach() for name, part in parts.items()}


def _check(prediction: Tensor, truth: Tensor) -> None:
    if prediction.shape != truth.shape:
        raise UserError(
            f"The model predicts {tuple(prediction.shape)}, the truth is {tuple(truth.shape)}: they must be equal; "
            "look at the track and the model's factor and bands."
        )
