"""Sums over the updates of an epoch, the same on every process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Totals:
    """What an epoch adds up to.

    Attributes:
        samples: samples whose losses are in the sums.
        sums: sum of the loss and of each of its parts.
        norms: sum of the gradients' norms.
        steps: updates whose norm is in the sum.
        skipped: updates left out because a loss was not finite.
        overflows: updates that the loss scaler of fp16 left out.
        rate: the last learning rate.
        visits: (index of the sample, its loss), where the sampler asks for them.
    """

    samples: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    norms: float = 0.0
    steps: int = 0
    skipped: int = 0
    overflows: int = 0
    rate: float = 0.0
    visits: list[tuple[int, float]] = field(default_factory=list)

    def add(self, sums: Mapping[str, float], samples: int) -> None:
        """Add the sums of an update."""
        self.samples += samples
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def row(self) -> dict[str, float]:
        """The epoch's means, by curve."""
        row = {f"train/{name}": value / self.samples for name, value in self.sums.items()}
        row["train/learning_rate"] = self.rate
        if self.steps:
            row["train/gradient_norm"] = self.norms / self.steps
        row["train/skipped_updates"] = float(self.skipped)
        row["train/scaler_overflows"] = float(self.overflows)
        return row

    def training_rows(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The visits as rows of `id` and `loss`."""
        return [{"id": ids[index], "loss": loss} for index, loss in sorted(self.visits)]

    def state_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)
