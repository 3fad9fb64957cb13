"""The competition's measure: one weighted R² over all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError
from hsengine.base.wording import close_matches

WEIGHTS: Mapping[str, float] = {
    "Dry_Green_g": 0.1,
    "Dry_Dead_g": 0.1,
    "Dry_Clover_g": 0.1,
    "GDM_g": 0.2,
    "Dry_Total_g": 0.5,
}
"""What an error of each target counts."""


def weighted_r2(truth: ArrayLike, prediction: ArrayLike, targets: Sequence[str]) -> float | None:
    """1 - Σ w (y - ŷ)² / Σ w (y - ȳ)², ȳ = Σ w y / Σ w, over all (image, target) rows at once.

    It is not the mean of the targets' R², nor of the folds': pool the rows, then score once.

    Args:
        truth: (n,) grams, a row for each image and target.
        prediction: (n,) grams.
        targets: (n,) the name of each row's target. For a table, (n, T) truth and prediction, the T columns' names.

    Returns:
        At most 1; None where the truth has no spread.

    Raises:
        UserError: shapes that differ, a target without a weight, or a number that is not finite.
    """
    y, x = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    names = list(targets)
    if y.shape != x.shape or y.ndim not in (1, 2) or len(names) != (y.shape[-1] if y.ndim else 0):
        raise UserError(
            f"Truth of shape {y.shape}, prediction of shape {x.shape} and {len(names)} names of targets: all three "
            "need one entry a row."
        )
    w = np.broadcast_to(weights_of(names), y.shape).reshape(-1)
    y, x = y.reshape(-1), x.reshape(-1)
    for what, values in (("truth", y), ("prediction", x)):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise UserError(
                f"The {what} of row {bad[0]} ({names[bad[0] % len(names)]}) is {values[bad[0]]}, and {len(bad)} such "
                "in all: every row needs a finite number of grams."
            )
    # Rounding of the mean would give equal truths a spread.
    if not len(y) or y.min() == y.max():
        return None
    spread = float((w * (y - (w * y).sum() / w.sum()) ** 2).sum())
    return 1.0 - float((w * (y - x) ** 2).sum()) / spread


def weights_of(targets: Sequence[str], weights: Mapping[str, float] = WEIGHTS) -> NDArray[np.float64]:
    """The weight of each target named.

    Raises:
        UserError: a name without a weight.
    """
    for name in dict.fromkeys(targets):
        if name not in weights:
            raise UserError(
                f"There is no target '{name}'{close_matches(str(name), weights)}. The targets are: "
                f"{', '.join(weights)}."
            )
    return np.array([weights[name] for name in targets], dtype=np.float64)
