"""The task of values: from views of a picture and metadata beside it to a number for each target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hsengine.train.sampling import Sampler
from hsengine.train.task import Batch, Direction, Row, Samples, means
from hstasks.supervised import Supervised

Losses = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From predictions (B, T), logarithms of variances (B, T) and targets (B, T) to the loss of each sample, (B,)."""


class Regression(Supervised):
    """Train a network of values.

    Args:
        build: a fresh network, from image and metadata to `grams` (B, T), `log_var` (B, T) and `auxiliary`, a tuple
            in the order of the weights below.
        training: samples to learn from: `image`, `metadata`, `target` (T,), `auxiliary` by name, `index`.
        held_out: samples to measure on.
        losses: the loss of each sample.
        targets: names of the T targets.
        score: of all held-out samples, from (n, T) truth and prediction; None where it is not defined.
        measure: its name; more is better.
        auxiliary: weight of each auxiliary target; one of several classes has integer truth, -1 where it is unknown.
        rate: of the network's `encoder`, relative to the others' rate; 0 freezes it.
        mixup: α of Beta(α, α) by which samples of a batch, and their losses, are mixed; 0: not.
        order: makes the sampler of `train.sampling: task`.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        training: Samples,
        held_out: Samples,
        losses: Losses,
        targets: Sequence[str],
        score: Callable[[NDArray[np.float64], NDArray[np.float64]], float | None],
        *,
        measure: str = "R2",
        auxiliary: Mapping[str, float] | None = None,
        rate: float = 1.0,
        mixup: float = 0.0,
        order: Callable[..., Sampler] | None = None,
    ):
        super().__init__(build, training, held_out, rate=rate)
        self._losses, self._mixup, self._order = losses, mixup, order
        self._targets, self._score, self._auxiliary = list(targets), score, dict(auxiliary or {})
        self.watch = self._measure = measure
        self.directions: Mapping[str, Direction] = {"loss": "min", measure: "max", "RMSE": "min"}  # type: ignore[misc]

    def sampler(
        self, ids: Sequence[str], categories: Sequence[int], *, seed: int, epochs: int, size: int | None
    ) -> Sampler:
        """The curriculum."""
        if self._order is None:
            return super().sampler(ids, categories, seed=seed, epochs=epochs, size=size)
        return self._order(ids, categories, seed=seed, epochs=epochs, size=size)

    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of each sample, (B,), and its parts."""
        if not (self._mixup and model.training and len(batch["image"]) > 1):
            return self._of(model(batch["image"], batch["metadata"]), batch)
        # The engine seeds torch's generators by (seed, epoch, step).
        share = float(torch.distributions.Beta(self._mixup, self._mixup).sample())
        other = torch.randperm(len(batch["image"])).to(batch["image"].device)
        image, metadata = (share * batch[name] + (1.0 - share) * batch[name][other] for name in ("image", "metadata"))
        told = model(image, metadata)
        swapped = {
            "target": batch["target"][other],
            "auxiliary": {name: values[other] for name, values in batch["auxiliary"].items()},
        }
        (first, _), (second, _) = self._of(told, batch), self._of(told, swapped)
        return share * first + (1.0 - share) * second, {}

    def measures(self, model: nn.Module, batch: Batch, *, full: bool) -> list[dict[str, float]]:
        """The loss of each sample, and what is predicted of each target."""
        told = model(batch["image"], batch["metadata"])
        losses, _ = self._of(told, batch)
        return [
            {"loss": float(losses[place])}
            | {f"{name}_truth": float(batch["target"][place][column]) for column, name in enumerate(self._targets)}
            | {name: float(told.grams[place][column]) for column, name in enumerate(self._targets)}
            for place in range(len(losses))
        ]

    def summary(self, rows: Sequence[Row]) -> dict[str, float]:
        """The pooled score, and the root mean square error over all targets."""
        truth, found = (
            np.array([[row[f"{name}{kind}"] for name in self._targets] for row in rows]) for kind in ("_truth", "")
        )
        summed = {"loss": means(rows)["loss"], "RMSE": float(np.sqrt(np.mean((truth - found) ** 2)))}
        score = self._score(truth, found) if np.isfinite(found).all() else None
        return summed | {self._measure: float("nan") if score is None else score}

    def _of(self, told: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        values = self._losses(told.grams, told.log_var, batch["target"])
        parts: dict[str, Tensor] = {}
        for found, (name, weight) in zip(told.auxiliary, self._auxiliary.items(), strict=True):
            parts[name] = _auxiliary(found, batch["auxiliary"][name])
            values = values + weight * parts[name]
        return values, parts


def _auxiliary(found: Tensor, truth: Tensor) -> Tensor:
    if truth.dtype == torch.int64:
        return F.cross_entropy(found, truth, ignore_index=-1, reduction="none")
    known = ~truth.isnan()
    return torch.where(known, (found[:, 0] - torch.where(known, truth, 0.0)).square(), 0.0)
