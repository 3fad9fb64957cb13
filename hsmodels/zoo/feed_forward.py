"""The feed-forward branch of MST++, in strips of rows that stay in the processor's cache.

Its tensors are four times as wide as the features. At inference they exist for one strip at a
time only. In training two of them are kept, those before the GELUs, where automatic
differentiation keeps four and the layer norm's output; the others are cheap to make again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hsmodels.zoo.tracing import is_exported

# Elements of a strip's widest tensor: 4 MB in float32 on a CPU; on a GPU large enough to keep
# every multiprocessor busy.
_CPU_ELEMENTS = 1 << 20
_GPU_ELEMENTS = 1 << 28
# Matrix products are much slower where the output's width is not a multiple of the vector's.
_VECTOR = 8


class Weights(NamedTuple):
    """LayerNorm (C,), (C,); 1 × 1 (4C, C); depthwise 3 × 3 (4C, 1, 3, 3); 1 × 1 (C, 4C)."""

    norm_weight: Tensor
    norm_bias: Tensor
    expand: Tensor
    depthwise: Tensor
    reduce: Tensor


def residual_feed_forward(x: Tensor, weights: Weights) -> Tensor:
    """x + ff(LayerNorm(x)), ff = 1 × 1 to 4C, GELU, depthwise 3 × 3, GELU, 1 × 1 back.

    Compiled or exported, it is one whole: the compiler does its own fusing and choosing.

    Args:
        x: (B, H, W, C), contiguous.
        weights: the branch's weights.

    Returns:
        (B, H, W, C).
    """
    if torch.compiler.is_compiling() or is_exported():
        normed = F.layer_norm(x, x.shape[-1:], weights.norm_weight, weights.norm_bias)
        wide = _depthwise(F.gelu(F.linear(normed, weights.expand)), weights.depthwise)
        return x + F.linear(F.gelu(wide), weights.reduce)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights)):
        out: Tensor = _FeedForward.apply(x, *weights)  # type: ignore[no-untyped-call]
        return out
    with torch.autocast(x.device.type, enabled=False):
        return _forward(x, _cast(x, weights), None)


def _cast(x: Tensor, weights: Weights) -> Weights:
    """The weights in the precision of the products; those of the norm stay as they are."""
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    return Weights(*weights[:2], *(weight.to(dtype) for weight in weights[2:]))


def _depthwise(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x.permute(0, 3, 1, 2), weight, padding=1, groups=x.shape[-1]).permute(0, 2, 3, 1)


class _Strip(NamedTuple):
    samples: slice
    made: slice
    read: slice
    top: int
    bottom: int


def _strips(x: Tensor) -> Iterator[_Strip]:
    """Samples, rows to make, rows to read for them, and how many of these lie above and below."""
    batch, height, width, channels = x.shape
    elements = _CPU_ELEMENTS if x.device.type == "cpu" else _GPU_ELEMENTS
    rows = max(elements // (width * 4 * channels), 4)
    if rows >= height:
        together = rows // height
        for first in range(0, batch, together):
            yield _Strip(slice(first, first + together), slice(0, height), slice(0, height), 0, 0)
        return
    for sample in range(batch):
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            top, bottom = min(1, start), min(1, height - stop)
            yield _Strip(slice(sample, sample + 1), slice(start, stop), slice(start - top, stop + bottom), top, bottom)


def _forward(x: Tensor, weights: Weights, kept: list[Tensor] | None) -> Tensor:
    channels = x.shape[-1]
    reduce = F.pad(weights.reduce, (0, 0, 0, -channels % _VECTOR))
    out: Tensor | None = None
    for samples, made, read, top, bottom in _strips(x):
        rows = x[samples, read]
        normed = F.layer_norm(rows, (channels,), weights.norm_weight, weights.norm_bias).to(reduce.dtype)
        expanded = F.linear(normed, weights.expand)
        wide = _depthwise(F.gelu(expanded), weights.depthwise)[:, top : rows.shape[1] - bottom]
        if kept is not None:
            kept += [expanded, wide]
        branch = F.linear(F.gelu(wide), reduce)[..., :channels]
        if out is None:
            out = torch.empty_like(x, dtype=torch.promote_types(x.dtype, branch.dtype))
        torch.add(x[samples, made], branch, out=out[samples, made])
    assert out is not None
    return out


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *tensors: Tensor) -> Tensor:
        weights = _cast(x, Weights(*tensors))
        kept: list[Tensor] = []
        with torch.autocast(x.device.type, enabled=False):
            out = _forward(x, weights, kept)
        ctx.dtypes = [tensor.dtype for tensor in tensors]
        ctx.save_for_backward(x, *weights, *kept)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        x, *tensors = ctx.saved_tensors
        weights, kept = Weights(*tensors[:5]), iter(tensors[5:])
        with torch.autocast(x.device.type, enabled=False):
            grad_x, grads = _backward(grad.contiguous(), x, weights, kept)
        return grad_x, *(found.to(dtype) for found, dtype in zip(grads, ctx.dtypes, strict=True))


def _backward(grad: Tensor, x: Tensor, weights: Weights, kept: Iterator[Tensor]) -> tuple[Tensor, Weights]:
    channels = x.shape[-1]
    dtype = weights.expand.dtype
    padded = F.pad(weights.expand, (0, -channels % _VECTOR))
    grad_x = grad.to(x.dtype, copy=True)
    sums = Weights(*(torch.zeros_like(w, dtype=torch.promote_types(w.dtype, torch.float32)) for w in weights))
    of_expand = torch.zeros_like(sums.reduce)  # transposed: products are faster with the wide axis last
    for samples, made, read, top, bottom in _strips(x):
        rows = x[samples, read]
        normed, mean, rstd = torch.native_layer_norm(rows, (channels,), weights.norm_weight, weights.norm_bias, 1e-5)
        expanded, wide = next(kept), next(kept)
        here = grad[samples, made].to(dtype)
        sums.reduce.add_(here.flatten(0, 2).mT @ F.gelu(wide).flatten(0, 2))
        of_wide = torch.ops.aten.gelu_backward(here @ weights.reduce, wide)
        if top or bottom:
            of_wide = F.pad(of_wide, (0, 0, 0, 0, top, bottom))
        of_active, of_depthwise, _ = torch.ops.aten.convolution_backward(
            of_wide.permute(0, 3, 1, 2), F.gelu(expanded).permute(0, 3, 1, 2), weights.depthwise, None,
            [1, 1], [1, 1], [1, 1], False, [0, 0], 4 * channels, [True, True, False],
        )  # fmt: skip
        sums.depthwise.add_(of_depthwise)
        of_expanded = torch.ops.aten.gelu_backward(of_active.permute(0, 2, 3, 1), expanded).flatten(0, 2)
        of_expand.add_(normed.flatten(0, 2).to(dtype).mT @ of_expanded)
        of_normed = (of_expanded @ padded)[:, :channels].to(x.dtype).reshape(rows.shape)
        of_rows, of_norm_weight, of_norm_bias = torch.ops.aten.native_layer_norm_backward(
            of_normed, rows, [channels], mean, rstd, weights.norm_weight, weights.norm_bias, [True, True, True]
        )
        grad_x[samples, read] += of_rows
        sums.norm_weight.add_(of_norm_weight)
        sums.norm_bias.add_(of_norm_bias)
    return grad_x, sums._replace(expand=of_expand.mT)
