"""ConvNeXt V2 with the parameter names of its publication, for small pictures of any number of bands.

Source: Woo et al.: ConvNeXt V2, CVPR 2023.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from hsengine.base.errors import UserError

Rate = Annotated[float, Field(ge=0, lt=1)]
Stride = Literal[1, 2, 4]

_EPSILON = 1e-6
SIZES: dict[str, tuple[tuple[int, int, int, int], tuple[int, int, int, int]]] = {
    "atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "nano": ((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
}
"""Blocks and widths of the four stages."""


class ConvNeXtV2(nn.Module):
    """(B, in_channels, H, W) → (B, out_channels) logits.

    Args:
        in_channels: bands.
        out_channels: logits.
        depths: blocks of each stage.
        dims: width of each stage.
        drop_path_rate: chance that the last block's branch is left out of a sample in training; it rises linearly
            from 0 at the first block.
        stem_stride: by how much the first layer shrinks the picture. Its kernel is 4 x 4 in any case, so that weights
            of one stride fit another; the published stride is 4.
        head_init_scale: factor of the head's initial weights.

    Raises:
        UserError: not four stages.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        depths: Sequence[int] = SIZES["atto"][0],
        dims: Sequence[int] = SIZES["atto"][1],
        drop_path_rate: Rate = 0.0,
        stem_stride: Stride = 4,
        head_init_scale: float = 1.0,
    ):
        super().__init__()
        if len(depths) != 4 or len(dims) != 4:
            raise UserError(f"depths {list(depths)} and dims {list(dims)}: ConvNeXt V2 has four stages.")
        self.stem_stride = stem_stride
        stem = nn.Sequential(nn.Conv2d(in_channels, dims[0], 4, stem_stride), _ChannelNorm(dims[0]))
        shrinking = [
            nn.Sequential(_ChannelNorm(inner), nn.Conv2d(inner, outer, 2, 2))
            for inner, outer in itertools.pairwise(dims)
        ]
        self.downsample_layers = nn.ModuleList([stem, *shrinking])
        last = max(sum(depths) - 1, 1)
        rates = iter([drop_path_rate * place / last for place in range(sum(depths))])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, next(rates)) for _ in range(depth)))
            for depth, width in zip(depths, dims, strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], eps=_EPSILON)
        self.head = nn.Linear(dims[-1], out_channels)
        self.apply(_initialise)
        with torch.no_grad():
            self.head.weight.mul_(head_init_scale)
            self.head.bias.mul_(head_init_scale)

    def features(self, image: Tensor) -> Tensor:
        """The pooled and normalised vector, (B, dims[3])."""
        # A 4 x 4 kernel at a stride below 4 would lose the last pixels.
        reach = 4 - self.stem_stride
        x = nn.functional.pad(image, (reach // 2, reach - reach // 2) * 2) if reach else image
        for shrink, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(shrink(x))
        pooled: Tensor = self.norm(x.mean(dim=(-2, -1)))
        return pooled

    def forward(self, image: Tensor) -> Tensor:
        """The logits of a batch."""
        logits: Tensor = self.head(self.features(image))
        return logits


class Block(nn.Module):
    """Depthwise 7 x 7, norm, wide layer, GELU, response normalisation, narrow layer, residual."""

    def __init__(self, width: int, drop_path: float = 0.0):
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.grn = GRN(4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) → the same shape."""
        wide = self.grn(self.act(self.pwconv1(self.norm(self.dwconv(x).permute(0, 2, 3, 1)))))
        out: Tensor = x + self.drop_path(self.pwconv2(wide).permute(0, 3, 1, 2))
        return out


class GRN(nn.Module):
    """Global response normalisation of (B, H, W, C): γ x N + β + x, N = ‖x‖₂ over space / its mean over channels."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) → the same shape."""
        size = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        share = size / (size.mean(dim=-1, keepdim=True) + _EPSILON)
        normal: Tensor = self.gamma * (x * share) + self.beta + x
        return normal


class DropPath(nn.Module):
    """Leaves a branch out of a sample with a chance of `rate` in training (Huang et al.: stochastic depth, 2016)."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) → the same shape, kept samples scaled so that the mean stays."""
        if not self.rate or not self.training:
            return x
        kept = torch.rand((len(x), *[1] * (x.ndim - 1)), dtype=x.dtype, device=x.device) >= self.rate
        return x * kept / (1.0 - self.rate)


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def __init__(self, width: int):
        super().__init__(width, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def atto(in_channels: int, out_channels: int, drop_path_rate: Rate = 0.1, stem_stride: Stride = 4) -> ConvNeXtV2:
    """The size with 3.4 million parameters."""
    return _sized("atto", in_channels, out_channels, drop_path_rate, stem_stride)


def nano(in_channels: int, out_channels: int, drop_path_rate: Rate = 0.1, stem_stride: Stride = 4) -> ConvNeXtV2:
    """The size with 15 million parameters."""
    return _sized("nano", in_channels, out_channels, drop_path_rate, stem_stride)


def tiny(in_channels: int, out_channels: int, drop_path_rate: Rate = 0.1, stem_stride: Stride = 4) -> ConvNeXtV2:
    """The size with 28 million parameters."""
    return _sized("tiny", in_channels, out_channels, drop_path_rate, stem_stride)


def _sized(size: str, in_channels: int, out_channels: int, rate: float, stride: Stride) -> ConvNeXtV2:
    depths, dims = SIZES[size]
    return ConvNeXtV2(in_channels, out_channels, depths, dims, rate, stride)


def infer(state: dict[str, Tensor]) -> dict[str, Any] | None:
    """The constructor's arguments that fit a published state dict; None for one of another network.

    What leaves no trace in weights, the stem's stride and the drop rate, is the published 4 and 0.
    """
    stem, head = state.get("downsample_layers.0.0.weight"), state.get("head.weight")
    if stem is None or head is None or "stages.0.0.grn.gamma" not in state:
        return None
    depths = [len({key.split(".")[2] for key in state if key.startswith(f"stages.{stage}.")}) for stage in range(4)]
    dims = [state[f"stages.{stage}.0.dwconv.weight"].shape[0] for stage in range(4)]
    return {"in_channels": stem.shape[1], "out_channels": head.shape[0], "depths": depths, "dims": dims}


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
