"""A small model to copy. To add your own:

1. Write a file like this one in this folder: an `nn.Module` whose `__init__` annotates each
   parameter and gives it a default. Files are found by themselves.
2. Decorate it with `register`: its name, and how the batch of each track that it can take enters it.
3. Name it in `params.yaml`: `model: example`, and its parameters below `models:`.
"""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from hsdata.layout import RGB_FULL
from hsmodels.zoo import bayer
from hsmodels.zoo.registry import Feed, register


@register(
    "example",
    feeds={
        1: Feed(bayer.with_masks, fixed={"in_channels": 4, "upscale_factor": 1}),
        2: Feed(fixed={"in_channels": 3, "upscale_factor": 2}),
        RGB_FULL: Feed(fixed={"in_channels": 3, "upscale_factor": 1}),
    },
)
class Example(nn.Module):
    """Two convolutions and a bilinear enlargement.

    Args:
        in_channels: channels of the input.
        out_channels: bands of the cube.
        width: channels between the convolutions.
        upscale_factor: pixels of the cube for each pixel of the input along an axis.
    """

    def __init__(
        self,
        in_channels: PositiveInt = 3,
        out_channels: PositiveInt = 61,
        width: PositiveInt = 32,
        upscale_factor: PositiveInt = 2,
    ):
        super().__init__()
        self.expand = nn.Conv2d(in_channels, width, 3, padding=1)
        self.reduce = nn.Conv2d(width, out_channels, 3, padding=1)
        self.upscale_factor = upscale_factor

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, out_channels, r·H, r·W)."""
        cube: Tensor = self.reduce(F.gelu(self.expand(x)))
        return F.interpolate(cube, scale_factor=float(self.upscale_factor), mode="bilinear", align_corners=False)
