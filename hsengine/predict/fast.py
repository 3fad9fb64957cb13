"""The same network for inference alone, with less to compute."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def hastened(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, changed in place: normalisations become part of the convolutions before them.

    A batch normalisation that follows a convolution in a `Sequential` is folded into its weights, and weights are kept
    with their channels last, as convolutions on CPUs want images. Outputs differ by rounding.

    Args:
        network: is not trained on afterwards.
    """
    network.eval()
    for part in list(network.modules()):
        if isinstance(part, nn.Sequential):
            _fold(part)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _fold(chain: nn.Sequential) -> None:
    for (place, first), (after, second) in itertools.pairwise(list(chain.named_children())):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d) and second.running_mean is not None:
            setattr(chain, place, fuse_conv_bn_eval(first, second))
            setattr(chain, after, nn.Identity())
