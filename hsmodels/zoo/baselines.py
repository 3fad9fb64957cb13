"""Models that are solved for in closed form: the bars that a trained network has to clear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from hsdata.camera import colour
from hsdata.layout import RGB_FULL
from hsmodels.zoo import bayer
from hsmodels.zoo.registry import Feed, Key, register
from hsmodels.zoo.tracing import enlarged

FEEDS: dict[Key, Feed] = {
    1: Feed(bayer.demosaic, fixed={"upscale_factor": 1}),
    2: Feed(fixed={"upscale_factor": 2}),
    RGB_FULL: Feed(fixed={"upscale_factor": 1}),
}
Encoding = Literal["srgb", "linear"]

_SIDE = 3
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
# Rows of pixels whose features are in memory at once while fitting.
_STRIP = 64


def linear_light(rgb: Tensor, encoding: Encoding, upscale_factor: int) -> Tensor:
    """Linear RGB at the cube's size: (B, 3, H, W) → (B, 3, r·H, r·W), bicubic."""
    if encoding == "srgb":
        low = rgb / colour.SRGB_SLOPE
        raised = (rgb.clamp_min(0.0) + colour.SRGB_OFFSET) / (1.0 + colour.SRGB_OFFSET)
        rgb = torch.where(rgb <= colour.SRGB_ENCODED_THRESHOLD, low, raised**colour.SRGB_GAMMA)
    if upscale_factor == 1:
        return rgb
    return enlarged(rgb, upscale_factor)


@register("ridge", feeds=FEEDS)
class Ridge(nn.Module):
    """Regularised least squares from a pixel's neighbourhood to its spectrum.

    The features of a pixel are the linear-light RGB of its 3 × 3 neighbourhood (27), the products of its
    own channels (6) and a constant.

    Args:
        out_channels: bands of the cube.
        upscale_factor: pixels of the cube for each pixel of the input along an axis.
        encoding: of the input: gamma-encoded sRGB or linear.
        alpha: weight of the squared coefficients, relative to the mean square of a feature.
    """

    closed_form = True

    def __init__(
        self,
        out_channels: PositiveInt = 61,
        upscale_factor: PositiveInt = 2,
        encoding: Encoding = "srgb",
        alpha: PositiveFloat = 1e-6,
    ):
        super().__init__()
        self.upscale_factor, self.encoding, self.alpha = upscale_factor, encoding, alpha
        self.neighbours: Tensor
        self.products: Tensor
        self.constant: Tensor
        self.register_buffer("neighbours", torch.zeros(out_channels, 3, _SIDE, _SIDE))
        self.register_buffer("products", torch.zeros(out_channels, len(_PAIRS), 1, 1))
        self.register_buffer("constant", torch.zeros(out_channels))

    def forward(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, out_channels, r·H, r·W)."""
        light = linear_light(rgb, self.encoding, self.upscale_factor)
        around = F.pad(light, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(around, self.neighbours, self.constant) + F.conv2d(_squares(light), self.products)

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Solve for the coefficients.

        Args:
            batches: pairs of inputs (B, 3, H, W) in [0, 1] and cubes (B, out_channels, r·H, r·W).
        """
        count = 3 * _SIDE**2 + len(_PAIRS) + 1
        bands = len(self.constant)
        normal = torch.zeros(count, count, dtype=torch.float64)
        moments = torch.zeros(count, bands, dtype=torch.float64)
        for rgb, cube in batches:
            for top, features in self.features(rgb):
                flat = features.transpose(0, 1).reshape(count, -1).double()
                target = cube[:, :, top : top + _STRIP].transpose(0, 1).reshape(bands, -1).double()
                normal += (flat @ flat.T).cpu()
                moments += (flat @ target.T).cpu()
        penalty = torch.full((count,), self.alpha * float(normal.diagonal().mean()), dtype=torch.float64)
        penalty[-1] = 0.0
        # Not lstsq, whose last bits differ from one process to the next.
        self.set_coefficients(torch.linalg.solve(normal + torch.diag(penalty), moments).T)

    def set_coefficients(self, coefficients: Tensor) -> None:
        """Take what the features are multiplied by: (bands, features), as `coefficients` gives it."""
        solved = coefficients.to(self.constant)
        split = 3 * _SIDE**2
        self.neighbours.copy_(solved[:, :split].reshape(self.neighbours.shape))
        self.products.copy_(solved[:, split:-1].reshape(self.products.shape))
        self.constant.copy_(solved[:, -1])

    def features(self, rgb: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The features of the cube's pixels by strips of rows: the first row, and (B, features, rows · r·W)."""
        light = linear_light(rgb, self.encoding, self.upscale_factor)
        around = F.pad(light, (1, 1, 1, 1), mode="replicate")
        for top in range(0, light.shape[2], _STRIP):
            part = light[:, :, top : top + _STRIP]
            windows = F.unfold(around[:, :, top : top + part.shape[2] + _SIDE - 1], _SIDE)
            squares = _squares(part).flatten(2)
            yield top, torch.cat([windows, squares, torch.ones_like(squares[:, :1])], dim=1)

    def coefficients(self) -> Tensor:
        """What the features are multiplied by: (bands, features)."""
        return torch.cat([self.neighbours.flatten(1), self.products.flatten(1), self.constant[:, None]], dim=1)


@register("mean_spectrum", feeds=FEEDS)
class MeanSpectrum(nn.Module):
    """The mean training spectrum, scaled to each pixel's brightness.

    Brightness is the mean of the linear-light channels, and the spectrum the training cubes' mean over
    their mean brightness.

    Args:
        out_channels: bands of the cube.
        upscale_factor: pixels of the cube for each pixel of the input along an axis.
        encoding: of the input: gamma-encoded sRGB or linear.
    """

    closed_form = True

    def __init__(self, out_channels: PositiveInt = 61, upscale_factor: PositiveInt = 2, encoding: Encoding = "srgb"):
        super().__init__()
        self.upscale_factor, self.encoding = upscale_factor, encoding
        self.spectrum: Tensor
        self.register_buffer("spectrum", torch.zeros(out_channels))

    def forward(self, rgb: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → (B, out_channels, r·H, r·W)."""
        return self._brightness(rgb) * self.spectrum[:, None, None]

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take the mean spectrum per brightness; see `Ridge.fit` for the batches."""
        light, reflected = 0.0, torch.zeros(len(self.spectrum), dtype=torch.float64)
        for rgb, cube in batches:
            light += float(self._brightness(rgb).double().sum())
            reflected += cube.sum(dim=(0, 2, 3), dtype=torch.float64).cpu()
        self.spectrum.copy_((reflected / max(light, 1e-12)).to(self.spectrum))

    def _brightness(self, rgb: Tensor) -> Tensor:
        brightness: Any = linear_light(rgb, self.encoding, self.upscale_factor).mean(dim=1, keepdim=True)
        return brightness  # type: ignore[no-any-return]


def _squares(light: Tensor) -> Tensor:
    """(B, 3, H, W) → the six products of two channels, (B, 6, H, W)."""
    return torch.stack([light[:, i] * light[:, j] for i, j in _PAIRS], dim=1)
