"""Kernel ridge regression: a closed-form model that sees in which kind of scene a pixel lies."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from hsmodels.zoo import pixels as sampling
from hsmodels.zoo.baselines import FEEDS, Encoding, Ridge
from hsmodels.zoo.registry import register
from hsmodels.zoo.tracing import enlarged, full_precision, is_exported

_PATCH = 3
# Weights of the parts of a pixel's description; Gaussian distances of encoded colours are near to perceived ones.
_COLOUR, _AROUND, _SCENE = 0.5, 2.0, 0.5
# Half the side, in output pixels, of what counts as around a pixel.
_REACH = 7


@register("kernel_ridge", feeds=FEEDS)
class KernelRidge(nn.Module):
    """`Ridge`, and Gaussian kernel ridge regression of what that leaves over (Nyström approximation).

    A pixel is described by the encoded colours of its 3 × 3 neighbourhood, the mean colour of 15 × 15
    pixels about it, and the mean and standard deviation of the whole image's colours: what looks alike in
    a like scene gets a like spectrum. The description of the image is that of the crop or tile where the
    model sees no more. Source: C. Williams and M. Seeger, Using the Nyström method to speed up kernel
    machines, 2001.

    Args:
        out_channels: bands of the cube.
        upscale_factor: pixels of the cube for each pixel of the input along an axis.
        encoding: of the input, for `Ridge`: gamma-encoded sRGB or linear.
        alpha: weight of the squared coefficients of `Ridge`.
        centres: training pixels that the kernel compares with.
        sigma: width of the kernel.
        penalty: weight of the squared norm, relative to the number of training pixels.
        pixels: training pixels that are taken of each image at most; less where there are very many images.
    """

    closed_form = True

    def __init__(
        self,
        out_channels: PositiveInt = 61,
        upscale_factor: PositiveInt = 2,
        encoding: Encoding = "srgb",
        alpha: PositiveFloat = 1e-6,
        centres: PositiveInt = 1000,
        sigma: PositiveFloat = 0.45,
        penalty: PositiveFloat = 5e-5,
        pixels: PositiveInt = 2000,
    ):
        super().__init__()
        self.ridge = Ridge(out_channels, upscale_factor, encoding, alpha)
        self.upscale_factor, self.sigma, self.penalty, self.pixels = upscale_factor, sigma, penalty, pixels
        self.centres: Tensor
        self.coefficients: Tensor
        self.register_buffer("centres", torch.zeros(centres, 3 * _PATCH**2 + 12))
        self.register_buffer("coefficients", torch.zeros(centres, out_channels))

    def forward(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, out_channels, r·H, r·W), whatever autocast says.

        Large coefficients nearly cancel: in float32 a cube is off by some 1e-4, other on each kind of processor.
        Training, which asks for the same pixels again and again, can do with that.
        """
        with full_precision(rgb.device.type):
            rgb = rgb.float()
            cube: Tensor = self.ridge(rgb)
            features = surroundings(rgb, self.upscale_factor)
            return cube + applied(features, self.centres, self.coefficients, self.sigma, exact=not self.training)

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Solve for the coefficients in one pass and bounded memory; which pixels are taken depends on their number.

        Args:
            batches: pairs of inputs (B, 3, H, W) in [0, 1] and cubes (B, out_channels, r·H, r·W).
        """
        generator = torch.Generator().manual_seed(0)
        sampled = sampling.Sampled(self._described, self.pixels, generator)
        self.ridge.fit(sampled.watching(batches))
        pixels, rows, truths = sampled.tables()
        centres = pixels[torch.randperm(len(pixels), generator=generator)[: len(self.centres)]].double()
        self.centres.fill_(sampling.UNUSED)
        self.coefficients.zero_()
        self.centres[: len(centres)] = centres.to(self.centres)
        of_ridge = self.ridge.coefficients().T.double().cpu()
        among = sampling.gaussian(centres, centres, self.sigma)
        normal = len(pixels) * (self.penalty * among + 1e-9 * torch.eye(len(centres)))
        moments = torch.zeros(len(centres), truths.shape[1], dtype=torch.float64)
        step = max(sampling.AT_ONCE // len(centres), 1)
        for part in (slice(start, start + step) for start in range(0, len(pixels), step)):
            values = sampling.gaussian(pixels[part].double(), centres, self.sigma)
            normal += values.T @ values
            moments += values.T @ (truths[part].double() - rows[part].double() @ of_ridge)
        self.coefficients[: len(centres)] = torch.linalg.solve(normal, moments).to(self.coefficients)

    def _described(self, image: Tensor, truth: Tensor, chosen: Tensor) -> tuple[Tensor, ...]:
        """The descriptions, the features for `ridge` and the true spectra of some pixels, a row each."""
        of_ridge = torch.cat([features[0] for _, features in self.ridge.features(image)], dim=1)
        return sampling.chosen_rows((surroundings(image, self.upscale_factor)[0], of_ridge, truth), chosen)


def surroundings(rgb: Tensor, upscale_factor: int) -> Tensor:
    """What lies around each pixel of the cube, in encoded colours; see `KernelRidge`.

    Args:
        rgb: (B, 3, H, W) in [0, 1].
        upscale_factor: pixels of the cube for each pixel of the input along an axis.

    Returns:
        (B, 39, r·H, r·W); the weights of the parts are in it.
    """
    whole = enlarged(rgb, upscale_factor)
    height, width = whole.shape[-2:]
    patches = F.unfold(F.pad(whole, (1, 1, 1, 1), mode="replicate"), _PATCH) / _PATCH
    around = local_mean(whole)
    scene = torch.cat([rgb.mean(dim=(2, 3)), rgb.std(dim=(2, 3))], dim=1)[:, :, None, None]
    parts = [
        patches.reshape(rgb.shape[0], -1, height, width),
        _COLOUR * whole,
        _AROUND * around,
        _SCENE * scene.expand(-1, -1, height, width),
    ]
    return torch.cat(parts, dim=1)


def local_mean(image: Tensor) -> Tensor:
    """(B, C, H, W) → the mean of 15 × 15 pixels about each, edges repeated."""
    return F.avg_pool2d(F.pad(image, (_REACH,) * 4, mode="replicate"), 2 * _REACH + 1, 1)


def applied(features: Tensor, centres: Tensor, coefficients: Tensor, sigma: float, *, exact: bool) -> Tensor:
    """What a kernel makes of an image's pixels, some at a time.

    Args:
        features: (B, d, H, W).
        centres: (m, d).
        coefficients: (m, bands).
        sigma: width of the kernel.
        exact: compute in float64, where the device has it.

    Returns:
        (B, bands, H, W), of the features' type.
    """
    kind = torch.float64 if exact and features.device.type != "mps" else torch.float32
    centres, coefficients = centres.to(kind), coefficients.to(kind)
    if is_exported():
        return by_rows(features.to(kind), centres, coefficients, -0.5 / sigma**2).to(features)
    weights = coefficients.T.contiguous()
    made = features.new_empty(len(features), len(weights), *features.shape[2:])
    at_once = sampling.AT_ONCE if features.device.type == "cpu" else sampling.GPU_AT_ONCE
    step = max(at_once // len(centres), 1)
    for image, cube in zip(features.flatten(2), made.flatten(2), strict=True):
        for pixels, spectra in zip(image.split(step, dim=1), cube.split(step, dim=1), strict=True):
            spectra.copy_(weights @ sampling.gaussian(centres, pixels.T.to(kind), sigma))
    return made


def by_rows(features: Tensor, centres: Tensor, coefficients: Tensor, scale: float) -> Tensor:
    """Kernel values times coefficients as a loop of the graph over the image's rows, whatever their number.

    Args:
        features: (B, d, H, W).
        centres: (m, d).
        coefficients: (m, bands).
        scale: of the squared distance in the exponent.

    Returns:
        (B, bands, H, W).
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        traced: Tensor = _loop(features, centres, coefficients, scale)
        return traced

    def step(carry: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        return carry.clone(), _row(row, centres, coefficients, scale)

    _, rows = scan(step, features.new_zeros(1), features.movedim(2, 0))
    made: Tensor = rows.movedim(0, 2)
    return made


def _row(row: Tensor, centres: Tensor, coefficients: Tensor, scale: float) -> Tensor:
    """(B, d, W) → (B, bands, W)."""
    pixels = row.transpose(1, 2)
    squares = pixels.square().sum(dim=2, keepdim=True) + centres.square().sum(dim=1)
    distances = (squares - 2.0 * pixels @ centres.T).clamp_min(0.0)
    return (torch.exp(distances * scale) @ coefficients).transpose(1, 2)


@torch.jit.script_if_tracing  # type: ignore[untyped-decorator]
def _loop(features: Tensor, centres: Tensor, coefficients: Tensor, scale: float) -> Tensor:
    rows = [_row(features[:, :, row], centres, coefficients, scale) for row in range(features.shape[2])]
    return torch.stack(rows, dim=2)
