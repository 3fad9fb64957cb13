"""An exported file as the model that it was made of."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hsengine.export.runtime import Exported
from hsmodels.zoo.composed import Striped

PATTERN = "pattern"
"""The output that holds the sensor's fixed pattern, where the model has learned one."""


class First(nn.Module):
    """The first output of an exported file."""

    def __init__(self, net: Exported):
        super().__init__()
        self.net = net

    def forward(self, batch: Tensor) -> Tensor:
        """A track's batch → (B, bands, H, W)."""
        made: Tensor = self.net(batch)[0]
        return made


def model(file: str | Path) -> nn.Module:
    """A module from a track's batches to cubes, with the sensor's pattern apart where there is one.

    Raises:
        UserError: the file or its JSON cannot be read, or a library is missing.
    """
    net = Exported(file)
    names = [port.name for port in net.said.outputs]
    if PATTERN not in names:
        return First(net).eval()
    axes = {axis.name: axis for axis in net.said.axes}
    smallest = [axes[side].least if isinstance(side, str) else side for side in net.said.inputs[0].shape]
    pattern = net(torch.zeros(smallest))[names.index(PATTERN)]
    striped = Striped(First(net), *pattern.shape)
    striped.bias.data.copy_(pattern)
    return striped.requires_grad_(False).eval()
