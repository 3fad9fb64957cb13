"""The decoder of UNetFormer: attention in windows beside convolutions.

Source: Wang et al.: UNetFormer, ISPRS Journal of Photogrammetry and Remote Sensing 190 (2022), sections 3.2, 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hsengine.base.errors import UserError


class UNetFormerDecoder(nn.Module):
    """Four levels of features → four maps of one width, at 1/32 to 1/4 of the picture.

    Args:
        channels: of the encoder's levels at 1/4 to 1/32.
        width: of the decoder.
        window: side of the attention's windows.
        heads: of the attention.
        dropout: of the blocks' linear layers.

    Raises:
        UserError: the heads do not divide the width.
    """

    def __init__(self, channels: Sequence[int], width: int, *, window: int = 8, heads: int = 8, dropout: float = 0.0):
        super().__init__()
        if width % heads:
            raise UserError(f"{heads} heads do not divide a decoder of width {width}: choose heads that do.")
        self.enter = _conv(channels[-1], width, 1)
        self.blocks = nn.ModuleList(_Block(width, heads, window, dropout) for _ in range(3))
        self.fusions = nn.ModuleList(_Fusion(skip, width) for skip in channels[-2::-1])
        self.refine = _Refinement(width)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """The maps, coarse to fine, of an encoder's six levels."""
        quarter, eighth, sixteenth, last = features[-4:]
        maps = [self.blocks[0](self.enter(last))]
        maps.append(self.blocks[1](self.fusions[0](maps[-1], sixteenth)))
        maps.append(self.blocks[2](self.fusions[1](maps[-1], eighth)))
        maps.append(self.refine(self.fusions[2](maps[-1], quarter)))
        return maps


class _Block(nn.Module):
    """Global and local branch, then a perceptron of convolutions, both as residuals."""

    def __init__(self, width: int, heads: int, window: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.attention = _GlobalLocal(width, heads, window)
        self.mlp = nn.Sequential(
            nn.Conv2d(width, 4 * width, 1),
            nn.ReLU6(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(4 * width, width, 1),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        mixed: Tensor = x + self.mlp(self.norm2(x))
        return mixed


class _GlobalLocal(nn.Module):
    """Attention within windows, averaged across them, beside convolutions of 1 and 3 pixels."""

    def __init__(self, width: int, heads: int, window: int):
        super().__init__()
        self.heads, self.window = heads, window
        self.local1, self.local3 = _conv(width, width, 1), _conv(width, width, 3)
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer("places", _relative_places(window), persistent=False)
        self.across = nn.AvgPool2d((window, 1), stride=1)
        self.along = nn.AvgPool2d((1, window), stride=1)
        self.leave = nn.Sequential(
            nn.Conv2d(width, width, window + 1 - window % 2, padding="same", groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        attended = self._attended(x)
        reach = self.window - 1
        before, after = reach // 2, reach - reach // 2
        down = self.across(F.pad(attended, (0, 0, before, after), mode="replicate"))
        side = self.along(F.pad(attended, (before, after, 0, 0), mode="replicate"))
        mixed: Tensor = self.leave(down + side + self.local1(x) + self.local3(x))
        return mixed[..., :height, :width]

    def _attended(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        w = self.window
        padded = F.pad(x, (0, -width % w, 0, -height % w), mode="replicate")
        rows, columns = padded.shape[-2] // w, padded.shape[-1] // w
        parts = self.qkv(padded).reshape(batch, 3, self.heads, channels // self.heads, rows, w, columns, w)
        q, k, v = parts.permute(1, 0, 4, 6, 2, 5, 7, 3).reshape(3, -1, self.heads, w * w, channels // self.heads)
        places: Tensor = self.get_buffer("places")
        bias = self.bias[places].permute(2, 0, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype))
        out = out.reshape(batch, rows, columns, self.heads, w, w, -1).permute(0, 3, 6, 1, 4, 2, 5)
        return out.reshape(batch, channels, rows * w, columns * w)[..., :height, :width]


class _Fusion(nn.Module):
    """The map from below and the encoder's level, by two shares that are learned and sum to 1."""

    def __init__(self, skip: int, width: int):
        super().__init__()
        self.skip = nn.Conv2d(skip, width, 1, bias=False)
        self.shares = nn.Parameter(torch.ones(2))
        self.leave = _conv(width, width, 3)

    def forward(self, below: Tensor, level: Tensor) -> Tensor:
        shares = F.relu(self.shares)
        shares = shares / (shares.sum() + 1e-8)
        raised = F.interpolate(below, size=level.shape[-2:], mode="bilinear", align_corners=False)
        fused: Tensor = self.leave(shares[0] * self.skip(level) + shares[1] * raised)
        return fused


class _Refinement(nn.Module):
    """A gate by place and a gate by channel, beside a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.place = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, groups=width), nn.Sigmoid())
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, max(width // 16, 4), 1),
            nn.ReLU6(inplace=True),
            nn.Conv2d(max(width // 16, 4), width, 1),
            nn.Sigmoid(),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
        self.leave = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        gated = self.place(x) * x + self.channel(x) * x
        refined: Tensor = F.relu6(self.leave(gated) + self.shortcut(x))
        return refined


def _conv(inner: int, outer: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, size, padding=size // 2, bias=False), nn.BatchNorm2d(outer), nn.ReLU6(inplace=True)
    )


def _relative_places(window: int) -> Tensor:
    """(w², w²): which entry of the bias table each pair of places in a window has."""
    grid = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    shift = grid[:, :, None] - grid[:, None, :] + window - 1
    return shift[0] * (2 * window - 1) + shift[1]
