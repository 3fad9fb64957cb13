"""Raw2HSI: a residual network on the packed mosaic, the challenge's own baseline of track 1."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from hsmodels.zoo import bayer
from hsmodels.zoo.registry import Feed, State, register


class ConvBlock(nn.Module):
    """3 × 3 convolution, batch norm and, unless told otherwise, SiLU."""

    def __init__(self, in_ch: int, out_ch: int, *, activation: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(in_ch, out_ch, 3, padding=1)
        self.bn = nn.BatchNorm2d(out_ch)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_ch, H, W) → (B, out_ch, H, W)."""
        x = self.bn(self.conv(x))
        return F.silu(x) if self.activation else x


class ResidualBlock(nn.Module):
    """x + c2(c1(x))."""

    def __init__(self, channels: int):
        super().__init__()
        self.c1 = ConvBlock(channels, channels)
        self.c2 = ConvBlock(channels, channels, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        out: Tensor = x + self.c2(self.c1(x))
        return out


def infer(state: State) -> dict[str, Any] | None:
    """The parameters that a published state dict was trained with; None for another family's."""
    if "skip_conv.weight" not in state or "head.conv.weight" not in state:
        return None
    return {
        "base_ch": state["head.conv.weight"].shape[0],
        "n_blocks": len({key.split(".")[1] for key in state if key.startswith("body.")}),
        "out_bands": state["skip_conv.weight"].shape[0] // 4,
    }


@register(
    "raw2hsi",
    feeds={1: Feed(defaults={"clamp": False})},
    bands="out_bands",
    infer=infer,
)
class Raw2HSI(nn.Module):
    """Raw2HSI, with the layer names of the published checkpoints.

    Args:
        base_ch: channels of the residual blocks.
        n_blocks: residual blocks.
        out_bands: bands of the cube.
        clamp: hold the output within [0, 1], as published. A clamp stops the gradient of dark
            pixels, so training on a track leaves it off.
    """

    def __init__(
        self, base_ch: PositiveInt = 64, n_blocks: NonNegativeInt = 8, out_bands: PositiveInt = 61, clamp: bool = True
    ):
        super().__init__()
        self.head = ConvBlock(4, base_ch)
        self.body = nn.Sequential(*[ResidualBlock(base_ch) for _ in range(n_blocks)])
        self.tail = ConvBlock(base_ch, base_ch)
        self.out_conv = nn.Conv2d(base_ch, 4 * out_bands, 1)
        self.skip_conv = nn.Conv2d(4, 4 * out_bands, 1)
        self.clamp = clamp

    def forward(self, plane: Tensor) -> Tensor:
        """RGGB planes (B, 1, H, W) in [0, 1] → cubes (B, out_bands, H, W).

        Raises:
            UserError: the height or the width is odd.
        """
        x = bayer.packed(plane)
        y = self.out_conv(self.tail(self.body(self.head(x)))) + self.skip_conv(x)
        cube = F.pixel_shuffle(y, 2)
        return torch.clamp(cube, 0.0, 1.0) if self.clamp else cube
