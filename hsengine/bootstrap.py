"""How far a measure may be off because of which samples it was taken on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError

RESAMPLES = 200
"""Draws of an interval, unless told otherwise."""


def interval(
    measure: Callable[..., float | None],
    *columns: ArrayLike,
    groups: Sequence[Any] | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The percentile bootstrap interval of a measure.

    Args:
        measure: takes the columns, each of n rows, and gives a number or None.
        *columns: arrays of n rows each.
        groups: (n,), rows that belong together and are drawn together, such as objects of one piece of sky.
        resamples: how many sets are drawn.
        level: share of the draws inside the interval.
        seed: of the draws.

    Returns:
        The lower and upper end; None where more than half of the draws have no measure.

    Raises:
        UserError: columns of different lengths.
    """
    arrays = [np.asarray(column) for column in columns]
    count = len(arrays[0])
    if any(len(array) != count for array in arrays) or (groups is not None and len(groups) != count):
        raise UserError("The columns of a bootstrap have different lengths: give one row for each sample in each.")
    members = _members(groups, count)
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(resamples if count else 0):
        drawn = generator.integers(len(members), size=len(members))
        rows = np.concatenate([members[i] for i in drawn]) if groups is not None else drawn
        value = measure(*(array[rows] for array in arrays))
        if value is not None:
            values.append(value)
    if 2 * len(values) <= resamples:
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _members(groups: Sequence[Any] | None, count: int) -> Sequence[NDArray[np.int64]]:
    if groups is None:
        return [np.empty(0, np.int64)] * count
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
