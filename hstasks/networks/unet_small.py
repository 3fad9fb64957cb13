"""A U-Net for tiles of about 100 pixels, few samples and few cores, trained from nothing."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from hstasks.networks.output import Output


class UNetSmall(nn.Module):
    """Residual U-Net: (B, in_channels, H, W) of any size → `Output` of that size.

    The finest level works at half the picture's size behind a stem of stride 2, or at full size with stride 1; each
    level below has half the size and, up to `widest` times, twice the width. The decoder adds what comes from below
    to the skip, so that its convolutions stay narrow. All logits come from a hypercolumn of the decoder's levels.

    Args:
        in_channels: channels of the input.
        out_channels: classes; 1 for binary masks.
        width: channels of the finest level.
        depth: levels.
        blocks: residual blocks a level of the encoder.
        stem_stride: 1 or 2.
        widest: the most that a level is wider than the finest.
        scse: squeeze and excitation at the end of each level of the decoder.
        deep_supervision: logits of each level of the decoder.
        presence: a head of whether there is anything.
        dropout: share of the hypercolumn's channels that are dropped in training.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: Annotated[int, Field(ge=4)] = 24,
        depth: Annotated[int, Field(ge=2, le=6)] = 5,
        blocks: Annotated[int, Field(ge=1)] = 2,
        stem_stride: Literal[1, 2] = 2,
        widest: Annotated[int, Field(ge=1)] = 8,
        scse: bool = True,
        deep_supervision: bool = False,
        presence: bool = False,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ):
        super().__init__()
        widths = [width * min(2**level, widest) for level in range(depth)]
        self.stem = _conv(in_channels, width, 3, stem_stride)
        self.levels = nn.ModuleList(
            nn.Sequential(
                _Residual(widths[max(level - 1, 0)], own, 1 if level == 0 else 2),
                *(_Residual(own, own) for _ in range(blocks - 1)),
            )
            for level, own in enumerate(widths)
        )
        self.raise_ = nn.ModuleList(nn.Conv2d(below, own, 1, bias=False) for own, below in itertools.pairwise(widths))
        self.decoder = nn.ModuleList(
            nn.Sequential(_Residual(own, own), _Gate(own) if scse else nn.Identity()) for own in widths[:-1]
        )
        self.column = nn.ModuleList(nn.Conv2d(own, width, 1, bias=False) for own in widths)
        self.head = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(width, out_channels, 3, padding=1),
        )
        sides = widths[1:] if deep_supervision else []
        self.sides = nn.ModuleList(nn.Conv2d(own, out_channels, 1) for own in sides)
        self.presence = nn.Linear(widths[-1], 1) if presence else None

    def forward(self, image: Tensor) -> Output:
        """The masks of a batch of images."""
        size = image.shape[-2:]
        x = self.stem(image)
        skips = []
        for level in self.levels:
            x = level(x)
            skips.append(x)
        maps = [x]
        for skip, narrow, block in reversed(list(zip(skips[:-1], self.raise_, self.decoder, strict=True))):
            maps.insert(0, block(skip + _resized(narrow(maps[0]), skip.shape[-2:])))
        # Summing what each level says is the hypercolumn's first convolution, at a fraction of its cost.
        column = self.column[0](maps[0])
        for narrow, level in zip(self.column[1:], maps[1:], strict=True):
            column = column + _resized(narrow(level), column.shape[-2:])
        logits = _resized(self.head(column), size)
        sides = [_resized(side(level), size) for side, level in zip(self.sides, maps[1:], strict=False)]
        there = None if self.presence is None else self.presence(x.mean(dim=(2, 3)))[:, 0]
        return Output(logits, tuple(sides), there)


class _Residual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int = 1):
        super().__init__()
        self.conv1 = _conv(inner, outer, 3, stride)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        nn.init.zeros_(self.norm2.weight)
        self.shortcut = (
            nn.Identity()
            if inner == outer and stride == 1
            else nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv2d(inner, outer, 1, bias=False),
                nn.BatchNorm2d(outer),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.norm2(self.conv2(self.conv1(x))))


class _Gate(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (Roy, Navab, Wachinger 2018)."""

    def __init__(self, width: int):
        super().__init__()
        inner = max(width // 8, 4)
        self.channel = nn.Sequential(nn.Linear(width, inner), nn.ReLU(inplace=True), nn.Linear(inner, width))
        self.place = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.channel(x.mean(dim=(2, 3))))[:, :, None, None]
        gated: Tensor = x * (gate + torch.sigmoid(self.place(x)))
        return gated


def _conv(inner: int, outer: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outer),
        nn.ReLU(inplace=True),
    )


def _resized(values: Tensor, size: torch.Size) -> Tensor:
    if values.shape[-2:] == size:
        return values
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)
