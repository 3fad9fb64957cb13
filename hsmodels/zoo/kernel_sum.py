"""Kernel ridge regression with two kernels: one for colours in their surroundings, one for the shapes of spectra."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hsdata.camera import colour
from hsmodels.zoo import pixels as sampling
from hsmodels.zoo.baselines import FEEDS, Encoding, Ridge, linear_light
from hsmodels.zoo.kernel import applied, local_mean, surroundings
from hsmodels.zoo.registry import register
from hsmodels.zoo.tracing import full_precision

_SURROUNDINGS, _SHAPE = 39, 11
# Light below which colours are not told apart, relative to a perfect white.
_DARK = 2e-3
_DARKEST = 1e-4
# Weight of the logarithm of brightness among the shape's chromaticities.
_BRIGHTNESS = 0.3
# Weight of the identity in the kernels' penalty, which keeps the equations solvable.
_JITTER = 1e-9


@register("kernel_sum", feeds=FEEDS)
class KernelSum(nn.Module):
    """Least squares on `Ridge`'s features and two Gaussian kernels at once (Nyström approximation).

    The first kernel is that of `KernelRidge`: it compares encoded colours, and adds a spectrum. The second compares
    logarithms of chromaticities, of the pixel, of 15 × 15 pixels about it and of the whole image, and multiplies the
    pixel's brightness: where there is twice the light there is twice the spectrum. A first kernel alone takes the
    spectra of an unseen scene from training scenes of the same brightness, whatever their colour; the second one alone
    cannot say what dark pixels hold. Sources: C. Rasmussen and C. Williams, Gaussian Processes for Machine
    Learning, 2006 (4.2.4, sums and products of kernels); C. Williams and M. Seeger, Using the Nyström method to
    speed up kernel machines, 2001.

    Args:
        out_channels: bands of the cube.
        upscale_factor: pixels of the cube for each pixel of the input along an axis.
        encoding: of the input: gamma-encoded sRGB or linear.
        alpha: weight of the squared coefficients of `Ridge`'s features.
        centres: training pixels that each kernel compares with.
        sigma: width of the first kernel.
        penalty: weight of its squared norm, relative to the number of training pixels.
        shape_sigma: width of the second kernel.
        shape_penalty: weight of its squared norm, relative to the sum of the training pixels' squared brightness.
        pixels: training pixels that are taken of each image at most; less where there are very many images.
        lowest: least reflectance that is predicted. What is uncertain about dark pixels ruins their spectral
            divergence more the lower it is; a model that is trained on top can still go below.
    """

    closed_form = True

    def __init__(
        self,
        out_channels: PositiveInt = 61,
        upscale_factor: PositiveInt = 2,
        encoding: Encoding = "srgb",
        alpha: PositiveFloat = 1e-5,
        centres: PositiveInt = 500,
        sigma: PositiveFloat = 0.45,
        penalty: PositiveFloat = 5e-4,
        shape_sigma: PositiveFloat = 0.7,
        shape_penalty: PositiveFloat = 1e-3,
        pixels: PositiveInt = 2000,
        lowest: NonNegativeFloat = 0.006,
    ):
        super().__init__()
        self.ridge = Ridge(out_channels, upscale_factor, encoding, alpha)
        self.upscale_factor, self.encoding, self.pixels, self.lowest = upscale_factor, encoding, pixels, lowest
        self.sigmas, self.penalties = (sigma, shape_sigma), (penalty, shape_penalty)
        self.centres: Tensor
        self.shape_centres: Tensor
        self.coefficients: Tensor
        self.shape_coefficients: Tensor
        self.register_buffer("centres", torch.full((centres, _SURROUNDINGS), sampling.UNUSED))
        self.register_buffer("shape_centres", torch.full((centres, _SHAPE), sampling.UNUSED))
        self.register_buffer("coefficients", torch.zeros(centres, out_channels))
        self.register_buffer("shape_coefficients", torch.zeros(centres, out_channels))

    def forward(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, out_channels, r·H, r·W), whatever autocast says; see `KernelRidge.forward`."""
        with full_precision(rgb.device.type):
            rgb = rgb.float()
            light = linear_light(rgb, self.encoding, self.upscale_factor)
            exact, (sigma, shape_sigma) = not self.training, self.sigmas
            around = surroundings(rgb, self.upscale_factor)
            added = applied(around, self.centres, self.coefficients, sigma, exact=exact)
            described = self._shape(rgb, light)
            shape = applied(described, self.shape_centres, self.shape_coefficients, shape_sigma, exact=exact)
            cube: Tensor = self.ridge(rgb) + added + _brightness(light) * shape
            return cube.clamp_min(self.lowest)

    @torch.no_grad()
    def fit(self, batches: Iterable[sampling.Pair]) -> None:
        """Solve for the coefficients in one pass and bounded memory; which pixels are taken depends on their number.

        Args:
            batches: pairs of inputs (B, 3, H, W) in [0, 1] and cubes (B, out_channels, r·H, r·W).
        """
        generator = torch.Generator().manual_seed(0)
        sampled = sampling.Sampled(self._described, self.pixels, generator)
        for _ in sampled.watching(batches):
            pass
        surroundings, shapes, brightness, rows, truths = (table.double() for table in sampled.tables())
        picked = torch.randperm(len(rows), generator=generator)[: len(self.centres)]
        used = len(picked)
        among = [
            sampling.gaussian(table[picked], table[picked], sigma)
            for table, sigma in zip((surroundings, shapes), self.sigmas, strict=True)
        ]
        size = 2 * used + rows.shape[1]
        normal = torch.zeros(size, size, dtype=torch.float64)
        moments = torch.zeros(size, truths.shape[1], dtype=torch.float64)
        step = max(sampling.AT_ONCE // size, 1)
        for part in (slice(start, start + step) for start in range(0, len(rows), step)):
            added = sampling.gaussian(surroundings[part], surroundings[picked], self.sigmas[0])
            shape = brightness[part] * sampling.gaussian(shapes[part], shapes[picked], self.sigmas[1])
            values = torch.cat([added, shape, rows[part]], dim=1)
            normal += values.T @ values
            moments += values.T @ truths[part]
        scales = len(rows), float(brightness.square().sum())
        for number, (kernel, penalty, scale) in enumerate(zip(among, self.penalties, scales, strict=True)):
            at = slice(number * used, (number + 1) * used)
            normal[at, at] += scale * (penalty * kernel + _JITTER * torch.eye(used))
        of_rows = normal.diagonal()[2 * used :]
        of_rows += self.ridge.alpha * of_rows.mean()
        solved = torch.linalg.solve(normal, moments)
        for name, table in (("centres", surroundings[picked]), ("shape_centres", shapes[picked])):
            getattr(self, name).fill_(sampling.UNUSED)[:used] = table.to(self.centres)
        self.coefficients.zero_()[:used] = solved[:used].to(self.coefficients)
        self.shape_coefficients.zero_()[:used] = solved[used : 2 * used].to(self.coefficients)
        self.ridge.set_coefficients(solved[2 * used :].T)

    def _described(self, image: Tensor, truth: Tensor, chosen: Tensor) -> tuple[Tensor, ...]:
        """Both descriptions, the brightness, the linear features and the true spectra of some pixels, a row each."""
        light = linear_light(image, self.encoding, self.upscale_factor)
        of_ridge = torch.cat([features[0] for _, features in self.ridge.features(image)], dim=1)
        around = surroundings(image, self.upscale_factor)
        parts = (around[0], self._shape(image, light)[0], _brightness(light)[0], of_ridge, truth)
        return sampling.chosen_rows(parts, chosen)

    def _shape(self, rgb: Tensor, light: Tensor) -> Tensor:
        """Logarithms of chromaticity and brightness: of the pixel, about it, of the image. (B, 11, r·H, r·W)."""
        about = local_mean(light.clamp_min(_DARKEST))
        image = linear_light(rgb, self.encoding, 1).mean(dim=(2, 3), keepdim=True)
        brightness = _brightness(image).clamp_min(_DARK).log()
        scene = torch.cat([_chromaticity(image), brightness], dim=1)
        parts = [
            _chromaticity(light),
            _chromaticity(about),
            _BRIGHTNESS * _brightness(light).clamp_min(_DARK).log(),
            scene.expand(-1, -1, *light.shape[-2:]),
        ]
        return torch.cat(parts, dim=1)


def _brightness(light: Tensor) -> Tensor:
    """Luminance (B, 1, H, W), 1 for a perfect white, of linear RGB (B, 3, H, W)."""
    weights = torch.tensor(colour.RGB_TO_XYZ[1].tolist(), dtype=light.dtype, device=light.device)
    return F.conv2d(light, weights[None, :, None, None]).clamp_min(_DARKEST)


def _chromaticity(light: Tensor) -> Tensor:
    """Logarithms of linear RGB relative to luminance, (B, 3, H, W)."""
    return light.clamp_min(_DARK).log() - _brightness(light).clamp_min(_DARK).log()
