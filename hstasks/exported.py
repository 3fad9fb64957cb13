"""An exported file as the network that it was made of: the same inputs, the same kinds of outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from hsengine.export.runtime import Exported
from hstasks.networks.fused import Told
from hstasks.networks.output import Output


class _Masks(nn.Module):
    """Images are padded at the lower and right edges, and logits cut back, where the network itself did so."""

    def __init__(self, net: Exported):
        super().__init__()
        self.net = net
        self.multiple = int((net.said.model_extra or {}).get("padding", 1))

    def forward(self, image: Tensor) -> Output:
        height, width = image.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        padded = F.pad(image, (0, right, 0, below), mode="replicate") if below or right else image
        logits, *presence = self.net(padded)
        return Output(logits[..., :height, :width], (), presence[0] if presence else None)


class _Classes(nn.Module):
    def __init__(self, net: Exported):
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.net(image)[0]
        return logits


class _Grams(nn.Module):
    def __init__(self, net: Exported):
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, metadata: Tensor) -> Told:
        given = (image, metadata) if len(self.net.said.inputs) > 1 else (image,)
        grams, log_var = self.net(*given)
        return Told(grams, log_var, ())


_KINDS: dict[str, Any] = {"segmentation": _Masks, "classification": _Classes, "regression": _Grams}


def network(file: str | Path, task: str) -> nn.Module:
    """The network of an exported file, of a task.

    Raises:
        UserError: the file or its JSON cannot be read, or a library is missing.
    """
    made: nn.Module = _KINDS[task](Exported(file))
    return made.eval()
