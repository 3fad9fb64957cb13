"""Predictions made consistent: green dry matter is green and clover, the total is that and dead matter."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError
from hstasks.biomass.score import WEIGHTS, weights_of

COMPONENTS = ("Dry_Green_g", "Dry_Dead_g", "Dry_Clover_g")
"""The three free numbers."""

TOLERANCE = 0.5
"""Grams by which an identity may be off before a row is changed."""

_TOTAL_LIMIT = 500.0
_TRUSTED = 0.7
_PUBLISHED_TOLERANCE = 0.5
_SLACK = 1e-9


def repair(
    predictions: ArrayLike,
    targets: Sequence[str] = tuple(WEIGHTS),
    tolerance: float = TOLERANCE,
    weights: Mapping[str, float] | ArrayLike | None = None,
) -> NDArray[np.float64]:
    """The nearest rows where GDM = green + clover, total = GDM + dead and nothing is negative.

    A row whose components are not negative and whose identities hold within `tolerance` is returned as it is. Any
    other becomes the least-squares projection Σ v (x - y)², which is never farther from a consistent truth.

    Args:
        predictions: (n, 5) grams.
        targets: the columns' names, the five of `hstasks.biomass.WEIGHTS` in any order.
        tolerance: grams, at least 0.
        weights: v, by name or (5,) in the columns' order; None for equal ones.

    Raises:
        UserError: other columns, numbers that are not finite, a negative tolerance, or a weight not above 0.
    """
    rows, names = _table(predictions, targets)
    if not tolerance >= 0:
        raise UserError(f"The tolerance of the repair is {tolerance}: give at least 0 grams.")
    v = _weights(weights, names)
    green, dead, clover, gdm, total = (rows[:, names.index(name)] for name in WEIGHTS)
    limit = tolerance + _SLACK
    sound = (np.minimum(np.minimum(green, dead), clover) >= 0) & (np.abs(gdm - green - clover) <= limit)
    sound &= np.abs(total - gdm - dead) <= limit
    repaired = rows.copy()
    repaired[~sound] = _projected(rows[~sound], names, v)
    return repaired


def repair_published(
    predictions: ArrayLike,
    targets: Sequence[str] = tuple(WEIGHTS),
    confidence: float | ArrayLike = 0.5,
) -> NDArray[np.float64]:
    """The published rule, which looks at the total only.

    Components and total are clipped at 0, the total at 500 g. Where it is more than 0.5 g off the components' sum, a
    confidence of 0.7 or more scales the components to the total; else the total becomes their sum. GDM stays.

    Args:
        predictions: (n, 5) grams.
        targets: the columns' names.
        confidence: one number, or (n,).

    Raises:
        UserError: other columns, or numbers that are not finite.
    """
    rows, names = _table(predictions, targets)
    repaired = rows.copy()
    parts = [names.index(name) for name in COMPONENTS]
    whole = names.index("Dry_Total_g")
    repaired[:, parts] = repaired[:, parts].clip(min=0)
    repaired[:, whole] = repaired[:, whole].clip(0, _TOTAL_LIMIT)
    sums = repaired[:, parts].sum(axis=1)
    off = np.abs(repaired[:, whole] - sums) > _PUBLISHED_TOLERANCE
    scaled = off & (np.broadcast_to(np.asarray(confidence, dtype=np.float64), off.shape) >= _TRUSTED) & (sums > 0)
    repaired[np.ix_(scaled, parts)] *= (repaired[scaled, whole] / sums[scaled])[:, None]
    summed = off & ~scaled
    repaired[summed, whole] = sums[summed]
    return repaired


def _projected(rows: NDArray[np.float64], names: list[str], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares over non-negative components: the best of the eight sets of components that may be above 0."""
    made_of = np.array([_made_of(name) for name in names], dtype=np.float64)
    best = np.zeros((len(rows), 3))
    distance = (v * rows**2).sum(axis=1)
    for count in (1, 2, 3):
        for free in itertools.combinations(range(3), count):
            part = made_of[:, free]
            solution = rows @ (v[:, None] * part) @ np.linalg.inv(part.T @ (v[:, None] * part))
            off = (v * (solution @ part.T - rows) ** 2).sum(axis=1)
            better = (solution >= 0).all(axis=1) & (off < distance)
            distance[better] = off[better]
            best[better] = 0.0
            best[np.ix_(better, free)] = solution[better]
    green, dead, clover = best.T
    gdm = green + clover
    values = dict(zip(WEIGHTS, (green, dead, clover, gdm, gdm + dead), strict=True))
    return np.stack([values[name] for name in names], axis=1)


def _made_of(name: str) -> tuple[float, float, float]:
    if name in COMPONENTS:
        green, dead, clover = (float(name == part) for part in COMPONENTS)
        return green, dead, clover
    return 1.0, float(name == "Dry_Total_g"), 1.0


def _table(predictions: ArrayLike, targets: Sequence[str]) -> tuple[NDArray[np.float64], list[str]]:
    names = list(targets)
    weights_of(names)
    rows = np.asarray(predictions, dtype=np.float64)
    if sorted(names) != sorted(WEIGHTS) or rows.ndim != 2 or rows.shape[1] != len(names):
        raise UserError(
            f"The predictions have shape {rows.shape} with the targets {', '.join(names)}: a repair needs (n, 5) with "
            f"{', '.join(WEIGHTS)} in the order named."
        )
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = bad[0]
        raise UserError(f"The prediction of row {row}, {names[column]}, is {rows[row, column]}: it must be finite.")
    return rows, names


def _weights(weights: Mapping[str, float] | ArrayLike | None, names: list[str]) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(len(names))
    v = weights_of(names, weights) if isinstance(weights, Mapping) else np.asarray(weights, dtype=np.float64)
    if v.shape != (len(names),) or not (v > 0).all():
        raise UserError(f"The weights {v.tolist()} of the repair do not fit: give five numbers above 0.")
    return v
