"""The block of MST++: attention across channels, and a feed-forward branch.

The attention needs neither queries nor keys of pixel size. With S = XᵀX, the C × C Gram matrix of the block's input
over the pixels, the products of keys and queries are Wk S Wqᵀ and their squared norms are the diagonals of
Wk S Wkᵀ and Wq S Wqᵀ; attention, values and output projection are then one C × C matrix applied to each pixel. Features
are (B, H, W, C) in memory throughout (channels last), where a 1 × 1 convolution is a matrix product without a copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsmodels.zoo.feed_forward import Weights, residual_feed_forward
from hsmodels.zoo.tracing import full_precision, is_exported

_GRAM_PIXELS = 4096


class _Gram(torch.autograd.Function):
    """XᵀX of each sample in float32, whatever the precision of X, keeping X only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        batch, height, width, channels = x.shape
        rows = 1
        while height % (2 * rows) == 0 and 2 * rows * width <= _GRAM_PIXELS:
            rows *= 2
        # One product a group of rows: parallel, and summed in short runs.
        groups = x.to(_accurate(x)).reshape(-1, rows * width, channels)
        return torch.bmm(groups.mT, groups).view(batch, -1, channels, channels).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        both = (grad + grad.mT).to(x.dtype)
        return torch.bmm(x.flatten(1, 2), both).view_as(x)


def _gram(x: Tensor) -> Tensor:
    if is_exported():
        pixels = x.to(_accurate(x)).flatten(1, 2)
        return torch.bmm(pixels.mT, pixels)
    gram: Tensor = _Gram.apply(x)  # type: ignore[no-untyped-call]
    return gram


def _accurate(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


class SpectralAttention(nn.Module):
    """Attention across channels, with a positional branch on the values."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.rescale = nn.Parameter(torch.ones(heads, 1, 1))
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.pos_emb = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False),
            nn.GELU(),
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x plus its attention: (B, H, W, C) → (B, H, W, C)."""
        with full_precision(x.device.type):
            mixing = self.mixing(_gram(x))
        first, _, second = self.pos_emb
        values = _depthwise(F.linear(x, self.to_v.weight), first)
        position = _depthwise(F.gelu(values), second, self.proj.bias).flatten(1, 2)
        mixed = torch.baddbmm(position, x.flatten(1, 2).to(position.dtype), mixing.mT.to(position.dtype))
        return x + mixed.view_as(x)

    def mixing(self, gram: Tensor) -> Tensor:
        """The matrices (B, C, C) that take each pixel to its projected attention, from Gram matrices (B, C, C)."""
        channels = gram.shape[-1]
        query, key, value = (
            layer.weight.to(gram.dtype).view(self.heads, -1, channels) for layer in (self.to_q, self.to_k, self.to_v)
        )
        gram = gram[:, None]
        seen = query @ gram
        query_norm = (seen * query).sum(dim=-1)
        key_norm = (key @ gram * key).sum(dim=-1)
        # Clamped as torch.nn.functional.normalize clamps norms, at 1e-12.
        scale = key_norm.clamp_min(1e-24).rsqrt()[..., :, None] * query_norm.clamp_min(1e-24).rsqrt()[..., None, :]
        attention = torch.softmax(key @ seen.mT * scale * self.rescale.to(gram.dtype), dim=-1)
        projection = self.proj.weight.to(gram.dtype)
        return projection @ (attention @ value).flatten(1, 2)


def _weight(layer: nn.Module) -> Tensor:
    return cast("Tensor", layer.weight)


def _depthwise(x: Tensor, layer: nn.Module, bias: Tensor | None = None) -> Tensor:
    """3 × 3 convolution of each channel of (B, H, W, C) with zeros around."""
    return F.conv2d(x.permute(0, 3, 1, 2), _weight(layer), bias, padding=1, groups=x.shape[-1]).permute(0, 2, 3, 1)


class FeedForward(nn.Module):
    """1 × 1 to 4C, GELU, depthwise 3 × 3, GELU, 1 × 1 back."""

    def __init__(self, dim: int, mult: int = 4):
        super().__init__()
        wide = dim * mult
        self.net = nn.Sequential(
            nn.Conv2d(dim, wide, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
            nn.GELU(),
            nn.Conv2d(wide, dim, 1, bias=False),
        )


class NormedFeedForward(nn.Module):
    """x plus the feed-forward of its layer norm."""

    def __init__(self, dim: int):
        super().__init__()
        self.fn = FeedForward(dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        expand, depthwise, reduce = (_weight(self.fn.net[index]) for index in (0, 2, 4))
        weights = Weights(self.norm.weight, self.norm.bias, expand.flatten(1), depthwise, reduce.flatten(1))
        return residual_feed_forward(x, weights)


class AttentionBlock(nn.Module):
    """One pair of attention and feed-forward."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleList([SpectralAttention(dim, heads), NormedFeedForward(dim)])])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W), channels last in memory."""
        x = x.permute(0, 2, 3, 1).contiguous()
        for attention, feed_forward in cast("Iterable[tuple[SpectralAttention, NormedFeedForward]]", self.blocks):
            x = feed_forward(attention(x))
        return x.permute(0, 3, 1, 2)
