"""A picture as a bag of small patches: each is described by itself, and the picture is the mean of its patches.

For few pictures and many things in each. What a patch of 17 pixels holds is counted wherever it lies, so a picture of
128 x 256 is two thousand examples, and nothing can be learnt of how a whole picture looks (Brendel and Bethge 2019,
"Approximating CNNs with bag-of-local-features models works surprisingly well on ImageNet"; counting by a density that
is summed: Lempitsky and Zisserman 2010, "Learning to count objects in images").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

NAMES = {"bag17": 16, "bag17_wide": 32}
"""The backbones of this module, and the channels of their first layer."""

_DARK = 0.2
_SPREAD = ((0.35, 0.12), (0.0, 0.08), (0.25, 0.12))
"""Mean and deviation of the three, by which they are brought to a common size."""


class BagOfPatches(nn.Module):
    """(B, in_channels, H, W), white as 1 → (B, 3 · width): means over all patches of 17 pixels, one every 4 pixels.

    Colour pictures are seen as lightness and two ratios of colours, which shade leaves as they are. The means are
    normalised over pictures: they differ far less between pictures than between patches.

    Args:
        in_channels: of the pictures.
        width: channels of the first layer.
    """

    def __init__(self, in_channels: int = 3, width: int = 16):
        super().__init__()
        self.num_features = 3 * width
        self.colour = in_channels == 3
        sizes = ((in_channels, width, 5, 2), (width, 2 * width, 3, 2), (2 * width, 3 * width, 3, 1))
        layers: list[nn.Module] = []
        for inner, outer, kernel, stride in (*sizes, (3 * width, 3 * width, 1, 1)):
            layers += [nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outer)]
            layers.append(nn.ReLU(inplace=True))
        self.layers = nn.Sequential(*layers)
        self.norm = nn.BatchNorm1d(3 * width)

    def forward(self, image: Tensor) -> Tensor:
        """The mean description of the patches."""
        described: Tensor = self.layers(opposed(image) if self.colour else image)
        normal: Tensor = self.norm(described.mean(dim=(2, 3)))
        return normal


def opposed(image: Tensor) -> Tensor:
    """(B, 3, H, W): lightness, red against green, and yellow against blue, of pictures white as 1, each about -1 to 1.

    The colours are shares of the sum, as hue is; a constant keeps dark pixels from being all noise.
    """
    red, green, blue = image.unbind(dim=1)
    total = red + green + blue
    share = 1.0 / (total + _DARK)
    parts = (total / 3.0, (red - green) * share, (red + green - 2.0 * blue) * share)
    return torch.stack([(part - mean) / sd for part, (mean, sd) in zip(parts, _SPREAD, strict=True)], dim=1)


def bag(name: str, in_channels: int) -> tuple[Any, int]:
    """The backbone of a name in `NAMES`, and the length of its vector."""
    network = BagOfPatches(in_channels, NAMES[name])
    return network, network.num_features
