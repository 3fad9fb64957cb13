"""Convolutions of channels-last images whose weights' gradient is made of matrix products.

oneDNN's gradient of the weights is several times slower than its other passes where the memory
is channels-last, more so as images outgrow the cache. As products of gradient and shifted input,
in strips of rows, it runs at the speed of the rest.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Output pixels of a strip, so that input and gradient of some 64 channels stay in the cache.
_STRIP_PIXELS = 1 << 12
_VECTOR = 8


def convolve(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """`layer(x)` for (B, C, H, W) in channels-last memory.

    Args:
        x: height and width are multiples of the stride.
        layer: padded by 1; 3 × 3 with stride 1 or 4 × 4 with stride 2.
    """
    if (
        x.device.type == "cpu"
        and layer.weight.requires_grad
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    ):
        stride = layer.stride[0]
        out: Tensor = _Convolution.apply(x, layer.weight, layer.bias, stride)  # type: ignore[no-untyped-call]
        return out
    same: Tensor = layer(x)
    return same


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        ctx.stride = stride
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, stride, padding=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        grad = grad.contiguous(memory_format=torch.channels_last)
        if ctx.needs_input_grad[0]:
            stride = [ctx.stride, ctx.stride]
            of_x, _, _ = torch.ops.aten.convolution_backward(
                grad, x, weight, None, stride, [1, 1], [1, 1], False, [0, 0], 1, [True, False, False]
            )
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1), weight, ctx.stride)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum(dim=(0, 2, 3))
        return of_x, of_weight, of_bias, None


def _weight_gradient(x: Tensor, grad: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The gradient of `weight` (O, C, k, k), from the input (B, H, W, C) and the output's gradient (B, h, w, O).

    A stride is taken out first: as images of stride² · C channels, the kernel has k / stride
    `taps` an axis. The pixels of a strip are then one long row of vectors, in which a shift of
    the image is an offset; every `taps`-th vector, with its successors, is one row of a matrix.
    """
    batch, height, width, out_channels = grad.shape
    channels, taps = x.shape[3] + -x.shape[3] % _VECTOR, weight.shape[2] // stride
    deep, pitch = stride**2 * channels, width + taps - 1
    rows = max(_STRIP_PIXELS // width, 4)
    total = weight.new_zeros(taps, out_channels, taps * deep)
    for sample in range(batch):
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            first, last = stride * start - 1, stride * (stop + taps - 1) - 1
            above, below = max(-first, 0), max(last - x.shape[1], 0)
            read = x[sample, first + above : last - below]
            read = F.pad(read, (0, channels - x.shape[3], 1, 1, above, below))
            if stride > 1:
                read = read.unflatten(1, (-1, stride)).unflatten(0, (-1, stride)).transpose(1, 2)  # type: ignore[no-untyped-call]
            vectors = read.reshape(-1)
            here = F.pad(grad[sample, start:stop], (0, 0, 0, taps - 1)).flatten(0, 1)[: 1 - taps]
            for offset in range(taps):
                picked = here[offset::taps]
                for row in range(taps):
                    begin = (row * pitch + offset) * deep
                    shifted = vectors[begin : begin + picked.shape[0] * taps * deep].view(-1, taps * deep)
                    total[row].addmm_(picked.mT, shifted)
    # (row tap, O, column tap, row in stride, column in stride, C) → (O, C, row, column)
    split = total.view(taps, out_channels, taps, stride, stride, channels)[..., : x.shape[3]]
    return split.permute(1, 5, 0, 3, 2, 4).reshape(weight.shape)
