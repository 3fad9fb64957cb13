"""Convolutions of volumes whose depth is colour, made as convolutions of images.

With colour folded into the channels, a 3-D convolution is a 2-D one whose weights are a band matrix of
the kernel's slices. It multiplies a few zeros more, and is still the faster one on a CPU: oneDNN's
gradients of volumes are slow, and PyTorch gives a small volume alone in its batch to a kernel without
oneDNN, several times slower.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsmodels.zoo.tracing import is_exported

_ALONE = 20480
"""Up to this many values (channels × depth × height) PyTorch takes its own kernel for a batch of one."""


def folds(x: Tensor, training: bool) -> bool:
    """Whether a convolution of volumes (B, C, D, H, W) is faster as one of images."""
    if is_exported():
        return False
    alone = x.shape[0] == 1 and x.shape[1] * x.shape[2] * x.shape[3] <= _ALONE
    return x.device.type == "cpu" and (training or alone)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, *, training: bool) -> Tensor:
    """`conv3d` with "same" padding, the faster way on this device; see `folded` for the arguments.

    `training` says whether gradients of the weights are wanted.
    """
    if folds(x, training):
        return folded(x, weight, bias, stride)
    return F.conv3d(x, weight, bias, (1, stride, stride), padding=weight.shape[2] // 2)


def folded(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1) -> Tensor:
    """`conv3d` with "same" padding by way of `conv2d`.

    Args:
        x: (B, C, D, H, W).
        weight: (O, C, k, k, k) with k odd.
        bias: (O,).
        stride: of height and width.

    Returns:
        (B, O, D, H / stride, W / stride).
    """
    depth, half = x.shape[2], weight.shape[2] // 2
    padded = F.pad(weight, (0, 0, 0, 0, depth, depth))
    # Output colour d sees input colour e through slice e - d + half of the kernel.
    rows = [padded[:, :, depth + half - d : 2 * depth + half - d] for d in range(depth)]
    matrix = torch.stack(rows, dim=1).flatten(2, 3).flatten(0, 1)
    bias = None if bias is None else bias.repeat_interleave(depth)
    out = F.conv2d(x.flatten(1, 2), matrix, bias, stride, padding=half)
    return out.view(out.shape[0], -1, depth, *out.shape[2:])


class VolumeConvolution(nn.Conv3d):
    """A 3-D convolution with "same" padding and a stride within images, the faster way on this device."""

    def __init__(self, in_channels: int, out_channels: int, side: int, stride: int = 1):
        super().__init__(in_channels, out_channels, side, stride=(1, stride, stride), padding=side // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) → (B, O, D, H / stride, W / stride)."""
        training = torch.is_grad_enabled() and self.weight.requires_grad
        return convolve(x, self.weight, self.bias, self.stride[1], training=training)
