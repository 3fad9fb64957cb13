"""Several models as one: their mean, or weights per band fitted on held-out samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.base.files import write_text

_WAVELENGTH = "wavelength"


class Ensemble(nn.Module):
    """Models of one track whose outputs are added up, band by band.

    Args:
        members: models from the same input to (B, bands, H, W).
        weights: (members, bands), or None for the mean.
    """

    weights: Tensor

    def __init__(self, members: Sequence[nn.Module], weights: NDArray[np.float64] | None = None):
        super().__init__()
        self.members = nn.ModuleList(members)
        if weights is None:
            weights = np.full((len(members), 1), 1.0 / len(members))
        if len(weights) != len(members):
            raise UserError(f"{len(weights)} rows of weights do not suit {len(members)} models: one row a model.")
        self.register_buffer("weights", torch.as_tensor(weights, dtype=torch.float32)[:, :, None, None])

    def forward(self, batch: Tensor) -> Tensor:
        """The weighted sum of the members' outputs, (B, bands, H, W).

        Raises:
            UserError: the members' outputs differ in shape.
        """
        total: Tensor | None = None
        for member, weight in zip(self.members, self.weights, strict=True):
            output = member(batch)
            if total is not None and output.shape != total.shape:
                raise UserError(
                    f"The models of an ensemble must give one shape; these give {tuple(total.shape)} and "
                    f"{tuple(output.shape)} for the same input."
                )
            total = output * weight if total is None else total.add_(output * weight)
        assert total is not None
        return total


@dataclass(frozen=True)
class Moments:
    """What least squares needs of one or several images; sums of images are sums of these.

    Attributes:
        products: (bands, members, members) sums over the pixels of one prediction times another.
        targets: (bands, members) sums over the pixels of a prediction times the truth.
    """

    products: NDArray[np.float64]
    targets: NDArray[np.float64]

    @classmethod
    def of(cls, predictions: Sequence[Tensor], truth: Tensor) -> Moments:
        """Moments of one image: predictions and truth are (bands, H, W)."""
        bands, members = truth.shape[0], len(predictions)
        products, targets = np.zeros((bands, members, members)), np.zeros((bands, members))
        for band in range(bands):
            rows = torch.stack([prediction[band].reshape(-1).double() for prediction in predictions])
            products[band] = (rows @ rows.T).cpu().numpy()
            targets[band] = (rows @ truth[band].reshape(-1).to(rows)).cpu().numpy()
        return cls(products, targets)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.products + other.products, self.targets + other.targets)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.products - other.products, self.targets - other.targets)

    def weights(self) -> NDArray[np.float64]:
        """Non-negative weights (members, bands) with the least squared error in each band."""
        fitted = []
        for products, targets in zip(self.products, self.targets, strict=True):
            # A trace of ridge: members that agree to the last bit share the weight instead of failing.
            ridge = 1e-9 * max(float(np.trace(products)), 1e-30) / len(products)
            root = np.linalg.cholesky(products + ridge * np.eye(len(products)))
            fitted.append(nnls(root.T, np.linalg.solve(root, targets))[0])
        return np.stack(fitted, axis=1)


def summary(weights: NDArray[np.float64] | None, members: int) -> dict[str, Any]:
    """How members were combined, for records."""
    if members == 1:
        return {"members": 1}
    if weights is None:
        return {"members": members, "weights": "mean"}
    return {
        "members": members,
        "weights": "fitted per band on the held-out samples, least squares, non-negative",
        "mean_weight": [float(value) for value in weights.mean(axis=1)],
    }


def write_weights(path: str | os.PathLike[str], weights: NDArray[np.float64], wavelengths: NDArray[np.float64]) -> None:
    """Write fitted weights (members, bands) as CSV for `read_weights`: a row a band, a column a model."""
    names = [f"model_{number}" for number in range(1, len(weights) + 1)]
    frame = pd.DataFrame(weights.T, columns=names)
    frame.insert(0, _WAVELENGTH, wavelengths)
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def read_weights(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Weights (members, bands) that `write_weights` wrote.

    Raises:
        UserError: the file is missing or holds no weights.
    """
    try:
        frame = pd.read_csv(path)
        weights = frame.drop(columns=_WAVELENGTH).to_numpy(np.float64).T
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} holds no weights of an ensemble ({error}): make it with 'hsmodels evaluate'."
        ) from None
    if not weights.size or not np.isfinite(weights).all():
        raise UserError(f"{path} must hold a number for each model and band: make it with 'hsmodels evaluate'.")
    return weights
