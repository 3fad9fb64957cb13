"""The published U-Net of the salt challenge: a torchvision ResNet, and a decoder without normalisation."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hsengine.base.errors import UserError
from hstasks.networks.output import Output
from hstasks.networks.weights import PRETRAINED, RANDOM, adapt_first_layer, read_state

WIDTHS = (256, 128, 64, 64)
"""Channels of the decoder, coarse to fine."""


class SeedUNet(nn.Module):
    """U-Net of the published notebook: (B, in_channels, H, W) → `Output` of logits of that size.

    The first skip is taken behind the max-pool, so that the finest two have a quarter of the picture's size and so do
    the logits, before they are upsampled.

    Args:
        in_channels: channels of the input.
        out_channels: classes; 1 for binary masks.
        encoder: which ResNet of torchvision.
        weights: "random", "pretrained" (ImageNet), or the path of a local file of torchvision's ResNet.

    Raises:
        UserError: the weights cannot be had.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        encoder: Literal["resnet34", "resnet50"] = "resnet34",
        weights: str = PRETRAINED,
    ):
        super().__init__()
        net = _resnet(encoder, weights, in_channels)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.stages = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        skips = (64, 64, 128, 256, 512) if encoder == "resnet34" else (64, 256, 512, 1024, 2048)
        below = (skips[-1], *WIDTHS[:-1])
        self.decoder = nn.ModuleList(
            _Block(inner + skip, outer) for inner, skip, outer in zip(below, skips[-2::-1], WIDTHS, strict=True)
        )
        self.head = nn.Conv2d(WIDTHS[-1], out_channels, 1)

    def forward(self, image: Tensor) -> Output:
        """The masks of a batch of images."""
        levels = [self.stem(image)]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        x = levels.pop()
        for block in self.decoder:
            x = block(x, levels.pop())
        logits = F.interpolate(self.head(x), size=image.shape[-2:], mode="bilinear", align_corners=True)
        return Output(logits)


class _Block(nn.Module):
    def __init__(self, inner: int, outer: int):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(inner, outer, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(outer, outer, 3, padding=1),
            nn.ReLU(inplace=True),
        )

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        raised = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=True)
        if raised.shape[-2:] != skip.shape[-2:]:
            raised = F.interpolate(raised, size=skip.shape[-2:], mode="bilinear", align_corners=True)
        out: Tensor = self.conv(torch.cat([raised, skip], dim=1))
        return out


def _resnet(name: str, weights: str, in_channels: int) -> Any:
    from torchvision import models

    if weights == PRETRAINED:
        try:
            net = models.get_model(name, weights="IMAGENET1K_V1")
        # The network and the disk fail in ways of their own, each with its own class.
        except Exception as error:
            raise UserError(
                f"The ImageNet weights of torchvision's {name} cannot be had ({type(error).__name__}: {error}). "
                "Set 'weights' to the path of a file with them, or to 'random' for untrained ones."
            ) from None
    else:
        net = models.get_model(name, weights=None)
        if weights != RANDOM:
            state = {key: value for key, value in read_state(weights).items() if not key.startswith("fc.")}
            missing, unexpected = net.load_state_dict(state, strict=False)
            if unexpected or set(missing) - {"fc.weight", "fc.bias"}:
                raise UserError(f"{weights} does not hold the weights of torchvision's {name}.")
    if in_channels != 3:
        adapt_first_layer(net, in_channels)
    return net
