"""Means over few experiments, and whether they are told from zero."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """A mean over experiments.

    Attributes:
        mean: the mean.
        spread: the standard deviation of the sample (n - 1); None of a single experiment.
        n: how many experiments.
    """

    mean: float
    spread: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Value | None:
        """The mean of some values, None of none."""
        if not values:
            return None
        spread = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), spread, len(values))

    def __str__(self) -> str:
        return f"{self.mean:.4f}" + ("" if self.spread is None else f" ± {self.spread:.4f}")

    @property
    def is_told_from_zero(self) -> bool:
        """Whether 0 is outside of the 95 % interval of Student's t for the mean; not of a single experiment."""
        from scipy.special import stdtrit

        if self.spread is None:
            return False
        return abs(self.mean) > float(stdtrit(self.n - 1, 0.975)) * self.spread / math.sqrt(self.n)
