"""Weights of an ensemble for each band: on disk, and in records."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base import tables
from hsengine.base.errors import UserError
from hsengine.base.files import write_text

_WAVELENGTH = "wavelength"


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
    rows = tables.read(path, (_WAVELENGTH,))
    try:
        weights = np.array([[float(row[name]) for name in row if name != _WAVELENGTH] for row in rows]).T
    except ValueError as error:
        raise UserError(
            f"{path} holds no weights of an ensemble ({error}): make it with 'hsmodels evaluate'."
        ) from None
    if not weights.size or not np.isfinite(weights).all() or not (weights >= 0.0).all():
        raise UserError(
            f"{path} must hold a number from 0 upwards for each model and band: make it with 'hsmodels evaluate'."
        )
    return weights
