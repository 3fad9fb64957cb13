"""What a model of the zoo can be put into: a residual over a closed-form model, a fixed bias of the sensor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsengine.predict.ensemble import Ensemble
from hsmodels.zoo.basis import Basis
from hsmodels.zoo.tracing import full_precision


class Residual(nn.Module):
    """base(x) + gain · net(x), where the base is solved for first and then stays as it is.

    The gains, one a band, start at 0: training sets out from the base. On a basis of spectra it is
    base(x) + basis(gain · net(x)), with a gain for each component.

    Args:
        net: from a track's batch to (B, bands, H, W), with gradients; to (B, rank, H, W) where there is a basis.
        base: a closed-form model of the same track and bands.
        bands: bands of the cube.
        basis: of the training's spectra; None where the network gives bands.
    """

    def __init__(self, net: nn.Module, base: nn.Module, bands: int, basis: Basis | None = None):
        super().__init__()
        self.net, self.base, self.basis = net, base, basis
        self.gain = nn.Parameter(torch.zeros(bands if basis is None else len(basis.scale), 1, 1))

    def forward(self, batch: Tensor, start: Tensor | None = None) -> Tensor:
        """A track's batch → (B, bands, H, W).

        Args:
            batch: as for `net`.
            start: (B, bands, H, W), instead of what `base` makes of the batch.
        """
        if start is None:
            with torch.no_grad(), full_precision(batch.device.type):
                start = self.base(batch.float())
        change: Tensor = self.gain * self.net(batch)
        return start + (change if self.basis is None else self.basis(change))


class Striped(nn.Module):
    """A model and the sensor's fixed pattern: a learned bias for each band and column of the frame.

    Flips, turns and crops move columns, so training says which column each output column shows. Without
    that, `forward` leaves the bias out: whoever flips or tiles adds `bias_of` once, at the end.

    Args:
        net: from a track's batch to (B, bands, H, W).
        bands: bands of the cube.
        width: columns of the widest frame.
    """

    def __init__(self, net: nn.Module, bands: int, width: int):
        super().__init__()
        self.net = net
        self.bias = nn.Parameter(torch.zeros(bands, width))

    def forward(
        self,
        batch: Tensor,
        columns: Tensor | None = None,
        transposed: Tensor | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """A track's batch → (B, bands, H, W).

        Args:
            batch: as for `net`.
            columns: (B, n) int64, the frame's column that each output column shows, n = W.
            transposed: (B,) bool, where true `columns` belong to the output's rows, n = H.
            start: (B, bands, H, W), what a `Residual` corrects instead of its own base.
        """
        cube: Tensor = self.net(batch) if start is None else self.net(batch, start)
        if columns is None:
            return cube
        lines = self.bias[:, columns].transpose(0, 1)
        along, across = lines[:, :, None, :], lines[:, :, :, None]
        height, width = cube.shape[-2:]
        if height == width and transposed is not None:
            return cube + torch.where(transposed[:, None, None, None], across, along)
        return cube + (along if columns.shape[1] == width else across)


def bias_of(model: nn.Module, width: int) -> Tensor | None:
    """The fixed pattern of a whole frame, (bands, 1, width), that a model's `forward` leaves out.

    None where the model has none, or knows fewer columns. An ensemble has the weighted sum of its members'.
    """
    if isinstance(model, Striped):
        return model.bias[:, None, :width].detach() if width <= model.bias.shape[1] else None
    if not isinstance(model, Ensemble):
        return None
    biases = [(bias_of(member, width), weight) for member, weight in zip(model.members, model.weights, strict=True)]
    found = [bias * weight[:, None, None] for bias, weight in biases if bias is not None]
    return torch.stack(found).sum(dim=0) if found else None
