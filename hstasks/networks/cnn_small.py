"""A small convolutional network of classes, for pictures of a few dozen pixels and for machines without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from hsengine.base.errors import UserError

Rate = Annotated[float, Field(ge=0, lt=1)]


class CNNSmall(nn.Module):
    """(B, in_channels, H, W) → (B, out_channels) logits.

    Each level has `depth` convolutions 3 x 3 with batch normalisation and ReLU; all but the last end in a max-pool.
    The head sees the mean and the largest value of each channel.

    Args:
        in_channels: channels of the picture.
        out_channels: logits.
        widths: channels of the levels.
        depth: convolutions of a level.
        drop_rate: share of the head's inputs that is left out in training.

    Raises:
        UserError: a level without channels, or no level.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int] = (16, 32, 64),
        depth: Annotated[int, Field(ge=1)] = 2,
        drop_rate: Rate = 0.1,
    ):
        super().__init__()
        if not widths or min(widths) < 1:
            raise UserError(f"widths {list(widths)}: give the channels of one level at least, each 1 or more.")
        layers: list[nn.Module] = []
        channels = in_channels
        for level, width in enumerate(widths):
            layers += [nn.MaxPool2d(2, ceil_mode=True)] if level else []
            for _ in range(depth):
                convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
        self.layers = nn.Sequential(*layers)
        self.drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(2 * channels, out_channels)

    def forward(self, image: Tensor) -> Tensor:
        """The logits of a batch."""
        features: Tensor = self.layers(image)
        pooled = torch.cat([features.mean(dim=(-2, -1)), features.amax(dim=(-2, -1))], dim=1)
        logits: Tensor = self.head(self.drop(pooled))
        return logits
