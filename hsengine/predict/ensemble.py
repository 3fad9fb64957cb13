"""Several models as one: their mean, or weights per channel fitted on held-out samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor, nn

from hsengine.base.errors import UserError


class Ensemble(nn.Module):
    """Models that take the same input, whose outputs are added up.

    Args:
        members: models from the same input to (B, channels, ...).
        weights: (members,), or (members, channels) for weights of each channel; None for the mean.

    Attributes:
        weights: (members, channels), or (members, 1) where all channels have one weight.
    """

    weights: Tensor

    def __init__(self, members: Sequence[nn.Module], weights: NDArray[np.float64] | None = None):
        super().__init__()
        self.members = nn.ModuleList(members)
        if weights is None:
            weights = np.full((len(members), 1), 1.0 / len(members))
        if len(weights) != len(members):
            raise UserError(f"{len(weights)} rows of weights do not suit {len(members)} models: one row a model.")
        self.register_buffer("weights", torch.as_tensor(weights, dtype=torch.float32).reshape(len(members), -1))

    def forward(self, batch: Tensor) -> Tensor:
        """The weighted sum of the members' outputs, (B, channels, ...).

        Raises:
            UserError: the members' outputs differ in shape.
        """
        total: Tensor | None = None
        for member, weight in zip(self.members, self.weights, strict=True):
            output: Tensor = member(batch)
            if total is not None and output.shape != total.shape:
                raise UserError(
                    f"The models of an ensemble must give one shape; these give {tuple(total.shape)} and "
                    f"{tuple(output.shape)} for the same input: use models of one kind."
                )
            part = output * weight.reshape(-1, *[1] * (output.ndim - 2))
            total = part if total is None else total.add_(part)
        assert total is not None
        return total


@dataclass(frozen=True)
class Moments:
    """What least squares needs of one or several samples; sums of samples are sums of these.

    Attributes:
        products: (channels, members, members) sums over the values of one prediction times another.
        targets: (channels, members) sums over the values of a prediction times the truth.
    """

    products: NDArray[np.float64]
    targets: NDArray[np.float64]

    @classmethod
    def of(cls, predictions: Sequence[Tensor], truth: Tensor) -> Moments:
        """Moments of one sample: predictions and truth are (channels, ...), such as (channels, H, W)."""
        channels, members = truth.shape[0], len(predictions)
        products, targets = np.zeros((channels, members, members)), np.zeros((channels, members))
        for channel in range(channels):
            rows = torch.stack([prediction[channel].reshape(-1).double() for prediction in predictions])
            products[channel] = (rows @ rows.T).cpu().numpy()
            targets[channel] = (rows @ truth[channel].reshape(-1).to(rows)).cpu().numpy()
        return cls(products, targets)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.products + other.products, self.targets + other.targets)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.products - other.products, self.targets - other.targets)

    def weights(self) -> NDArray[np.float64]:
        """Non-negative weights (members, channels) with the least squared error in each channel."""
        fitted = []
        for products, targets in zip(self.products, self.targets, strict=True):
            # A trace of ridge: members that agree to the last bit share the weight instead of failing.
            ridge = 1e-9 * max(float(np.trace(products)), 1e-30) / len(products)
            root = np.linalg.cholesky(products + ridge * np.eye(len(products)))
            fitted.append(nnls(root.T, np.linalg.solve(root, targets))[0])
        return np.stack(fitted, axis=1)
