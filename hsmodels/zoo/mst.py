"""MST++: transformers that attend across channels, for RGB images and mosaics.

Y. Cai et al., "MST++: Multi-stage spectral-wise transformer for efficient spectral reconstruction", CVPR Workshops
2022 (arXiv:2204.07908).

`attention.py` has the block that they are built of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from hsdata.layout import RGB_FULL, Input
from hsmodels.zoo import bayer
from hsmodels.zoo.attention import AttentionBlock
from hsmodels.zoo.convolution import convolve
from hsmodels.zoo.precision import native
from hsmodels.zoo.registry import Fed, Feed, Placed, State, register
from hsmodels.zoo.tracing import cropped, is_exported, mirrored

_MULTIPLE = 8  # two levels of stride 2, and windows of whole pairs below them


Encoder = tuple[AttentionBlock, nn.Conv2d]
Decoder = tuple[nn.ConvTranspose2d, nn.Conv2d, AttentionBlock]


class SingleStage(nn.Module):
    """A U-shaped transformer of two levels, added to its input."""

    def __init__(self, dim: int, levels: int = 2):
        super().__init__()
        self.embedding = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.encoder_layers = nn.ModuleList()
        for level in range(levels):
            width = dim * 2**level
            down = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False)
            self.encoder_layers.append(nn.ModuleList([AttentionBlock(width, 2**level), down]))
        self.bottleneck = AttentionBlock(dim * 2**levels, 2**levels)
        self.decoder_layers = nn.ModuleList()
        for level in reversed(range(levels)):
            width = dim * 2**level
            up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
            fusion = nn.Conv2d(2 * width, width, 1, bias=False)
            self.decoder_layers.append(nn.ModuleList([up, fusion, AttentionBlock(width, 2**level)]))
        self.mapping = nn.Conv2d(dim, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        y = convolve(x, self.embedding)
        skips = []
        for block, down in cast("Iterable[Encoder]", self.encoder_layers):
            y = block(y)
            skips.append(y)
            y = convolve(y, down)
        y = self.bottleneck(y)
        for up, fusion, block in cast("Iterable[Decoder]", self.decoder_layers):
            y = block(_fused(up, fusion, y, skips.pop()))
        return convolve(y, self.mapping) + x


def _fused(up: nn.ConvTranspose2d, fusion: nn.Conv2d, low: Tensor, skip: Tensor) -> Tensor:
    """fusion(cat(up(low), skip)), its two linear maps of `low` made one."""
    assert up.bias is not None
    of_low, of_skip = fusion.weight[:, : up.out_channels, 0, 0], fusion.weight[:, up.out_channels :, 0, 0]
    weight = torch.einsum("po,cohw->cphw", of_low, up.weight)
    raised = F.conv_transpose2d(low, weight, of_low @ up.bias, stride=2)
    return raised + F.linear(skip.permute(0, 2, 3, 1), of_skip).permute(0, 3, 1, 2)


class Upsampler(nn.Module):
    """Sub-pixel upsampling between two 3 × 3 convolutions."""

    def __init__(self, dim: int, factor: int):
        super().__init__()
        self.conv_expand = nn.Conv2d(dim, dim * factor**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(factor)
        self.conv_refine = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, r·H, r·W)."""
        return convolve(self.shuffle(convolve(x, self.conv_expand)), self.conv_refine)


def padded(x: Tensor, multiple: int = _MULTIPLE) -> Tensor:
    """Mirror images (B, C, H, W) to the right and below up to a multiple of pixels, again and again where small."""
    if is_exported():
        return mirrored(x, multiple)
    for axis in (-2, -1):
        missing = -x.shape[axis] % multiple
        while missing:
            step = min(missing, max(x.shape[axis] - 1, 1))
            mode = "reflect" if x.shape[axis] > 1 else "replicate"
            x = F.pad(x, (0, step, 0, 0) if axis == -1 else (0, 0, 0, step), mode=mode)
            missing -= step
    return x


class MST(nn.Module):
    """What MST++ with and without an upsampler have in common."""

    def __init__(self, in_channels: int, out_channels: int, n_feat: int, stage: int):
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, n_feat, 3, padding=1, bias=False)
        self.body = nn.Sequential(*[SingleStage(n_feat) for _ in range(stage)])
        self.conv_out = nn.Conv2d(n_feat, out_channels, 3, padding=1, bias=False)

    def features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, out_channels, H', W') with H', W' the next multiples of 8.

        Where the features are not as many as the bands, they are added to the body's output
        before the last convolution instead of after it.
        """
        x = self.conv_in(padded(x).contiguous(memory_format=torch.channels_last))
        y = self.body(x)
        return convolve(y, self.conv_out) + x if self.conv_out.out_channels == x.shape[1] else self.conv_out(y + x)


_PIECE = "body.0.embedding.weight"


def infer(state: State, *, up: bool) -> dict[str, Any] | None:
    """The parameters that a published state dict was trained with; None for another family's."""
    if _PIECE not in state:
        return None
    factor = _factor(state.get("upsampler.conv_expand.weight"))
    if up != (factor is not None and factor > 1):
        return None
    return {
        "in_channels": state["conv_in.weight"].shape[1],
        "out_channels": state["conv_out.weight"].shape[0],
        "n_feat": state["conv_in.weight"].shape[0],
        "stage": len({key.split(".")[1] for key in state if key.startswith("body.")}),
        "upscale_factor": factor,
    }


@register(
    "mst_plus_plus",
    feeds={1: Feed(bayer.with_masks, fixed={"in_channels": 4}), RGB_FULL: Feed(fixed={"in_channels": 3})},
    infer=partial(infer, up=False),
)
class MSTPlusPlus(MST):
    """MST++ at the size of its input.

    Args:
        in_channels: channels of the input.
        out_channels: bands of the cube.
        n_feat: features at full resolution, and the width of an attention head.
        stage: transformers in sequence.
        upscale_factor: published checkpoints of cascades carry the weights of an upsampler that
            nothing uses; a factor keeps a frozen place for them, None leaves them out. A state
            dict that is loaded decides for itself.
    """

    def __init__(
        self,
        in_channels: PositiveInt = 3,
        out_channels: PositiveInt = 61,
        n_feat: PositiveInt = 61,
        stage: PositiveInt = 3,
        upscale_factor: PositiveInt | None = None,
    ):
        super().__init__(in_channels, out_channels, n_feat, stage)
        if upscale_factor is not None:
            self.upsampler = Upsampler(out_channels, upscale_factor).requires_grad_(False)
        self.register_load_state_dict_pre_hook(_as_loaded)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, out_channels, H, W)."""
        height, width = x.shape[-2:]
        with native(x):
            return cropped(self.features(x), height, width)


def _as_loaded(net: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give the network the unused upsampler that a state dict has, or none."""
    factor = _factor(state.get(f"{prefix}upsampler.conv_expand.weight"))
    if hasattr(net, "upsampler"):
        del net.upsampler
    if factor is not None:
        assert isinstance(net.conv_out, nn.Conv2d)
        net.upsampler = Upsampler(net.conv_out.out_channels, factor).requires_grad_(False).to(net.conv_out.weight)


def _factor(expand: Tensor | None) -> int | None:
    """The upscale factor of an upsampler, by its first convolution's weights."""
    return None if expand is None else math.isqrt(expand.shape[0] // expand.shape[1])


def _on_packed_mosaics(params: Mapping[str, Any]) -> Placed | None:
    """Half-size input of four channels is a mosaic's cells, as `mstpp` packs them."""
    if (params["in_channels"], params["upscale_factor"]) != (4, 2):
        return None
    return 1, "mstpp", {"mosaic": "packed", **{key: params[key] for key in ("out_channels", "n_feat", "stage")}}


@register(
    "mst_plus_plus_up",
    feeds={2: Feed(fixed={"in_channels": 3, "upscale_factor": 2})},
    infer=partial(infer, up=True),
    elsewhere=_on_packed_mosaics,
)
class MSTPlusPlusUp(MST):
    """MST++ with late upsampling.

    Args:
        in_channels: channels of the input.
        out_channels: bands of the cube.
        n_feat: features at full resolution, and the width of an attention head.
        stage: transformers in sequence.
        upscale_factor: pixels of the cube for each pixel of the input along an axis.
    """

    def __init__(
        self,
        in_channels: PositiveInt = 3,
        out_channels: PositiveInt = 61,
        n_feat: PositiveInt = 61,
        stage: PositiveInt = 3,
        upscale_factor: PositiveInt = 2,
    ):
        super().__init__(in_channels, out_channels, n_feat, stage)
        self.upscale_factor = upscale_factor
        self.upsampler = Upsampler(out_channels, upscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, out_channels, r·H, r·W)."""
        height, width = x.shape[-2:]
        with native(x):
            cube: Tensor = self.upsampler(self.features(x))
        return cropped(cube, height * self.upscale_factor, width * self.upscale_factor)


@register(
    "mstpp",
    feeds={
        1: Feed(fixed={"track": 1, "input": "track"}),
        2: Feed(fixed={"track": 2, "input": "track"}),
        RGB_FULL: Feed(fixed={"input": RGB_FULL}),
    },
)
def mstpp(
    track: Literal[1, 2] = 2,
    input: Input = "track",
    mosaic: Literal["masks", "packed"] = "masks",
    out_channels: PositiveInt = 61,
    n_feat: PositiveInt = 61,
    stage: PositiveInt = 3,
) -> nn.Module:
    """The MST++ that fits a track.

    Args:
        track: 2 upsamples an RGB image; 1 takes an RGGB plane.
        input: `rgb_full` takes an RGB image of the cube's size instead, whatever the track.
        mosaic: how the plane of track 1 enters: `masks`, at full size with its three Bayer masks, or
            `packed`, as a half-size image of four channels that is upsampled (a quarter of the work).
        out_channels: bands of the cube.
        n_feat: features at full resolution, and the width of an attention head.
        stage: transformers in sequence.
    """
    if input == RGB_FULL:
        return MSTPlusPlus(3, out_channels, n_feat, stage)
    if track == 2:
        return MSTPlusPlusUp(3, out_channels, n_feat, stage)
    if mosaic == "packed":
        return Fed(MSTPlusPlusUp(4, out_channels, n_feat, stage), bayer.packed)
    return Fed(MSTPlusPlus(4, out_channels, n_feat, stage), bayer.with_masks)
