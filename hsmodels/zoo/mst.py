"""MST++: transformers that attend across channels, for RGB images and mosaics.

Y. Cai et al., "MST++: Multi-stage spectral-wise transformer for efficient spectral reconstruction", CVPR Workshops
2022 (arXiv:2204.07908).

The attention of a block needs neither queries nor keys of pixel size. With S = XᵀX, the C × C
Gram matrix of the block's input over the pixels, the products of keys and queries are Wk S Wqᵀ
and their squared norms are the diagonals of Wk S Wkᵀ and Wq S Wqᵀ; attention, values and output
projection are then one C × C matrix applied to each pixel. Features are (B, H, W, C) in memory
throughout (channels last), where a 1 × 1 convolution is a matrix product without a copy.
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
from hsmodels.zoo.convolution import convolve
from hsmodels.zoo.feed_forward import Weights, residual_feed_forward
from hsmodels.zoo.precision import native
from hsmodels.zoo.registry import Fed, Feed, Placed, State, register
from hsmodels.zoo.tracing import cropped, full_precision, is_exported, mirrored

_MULTIPLE = 8  # two levels of stride 2, and windows of whole pairs below them
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
