"""Weights averaged over updates, and over the best epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hsengine.train.sharding import local, part_of, whole
from hsengine.train.task import Direction

Weights = dict[str, Tensor]


def weights_of(model: nn.Module) -> Weights:
    """A copy of a model's whole state on the CPU; of a sharded model, all processes ask for it together."""
    return {name: whole(value.detach()).to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()}


class MovingAverage:
    """Exponential moving average of the weights. Integer state (counters) is copied.

    Args:
        model: the model, on its device.
        decay: the largest decay.
        warmup: whether the horizon grows with the updates at first: after update n the decay is
            min(decay, (1 + n) / (10 + n)).
    """

    def __init__(self, model: nn.Module, decay: float, *, warmup: bool = True) -> None:
        self.decay, self.warmup = decay, warmup
        self.updates = 0
        self._state = model.state_dict()
        # Where the model is sharded, each process averages its own part.
        self._source = {name: local(value.detach()) for name, value in self._state.items()}
        self._average = {name: value.clone() for name, value in self._source.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an update."""
        self.updates += 1
        reached = (1 + self.updates) / (10 + self.updates) if self.warmup else 1.0
        share = 1.0 - min(self.decay, reached)
        floats = [name for name, value in self._average.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._average[n] for n in floats], [self._source[n] for n in floats], share)
        for name in self._average.keys() - set(floats):
            self._average[name].copy_(self._source[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the model's place for a while."""
        kept = {name: value.clone() for name, value in self._source.items()}
        try:
            self._copy(self._average, self._source)
            yield
        finally:
            self._copy(kept, self._source)

    def state_dict(self) -> dict[str, Any]:
        """The whole average and its count of updates."""
        with self.applied():
            average = {name: whole(value.detach()).to("cpu", copy=True) for name, value in self._state.items()}
        return {"updates": self.updates, "average": average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.updates = state["updates"]
        self._copy({name: local(part_of(state["average"][name], v)) for name, v in self._state.items()}, self._average)

    @staticmethod
    @torch.no_grad()
    def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        for name, value in target.items():
            value.copy_(source[name])


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what they were measured at.

    Attributes:
        weights: the model's state, on the CPU.
        epoch: the epoch it comes from, counted from 0; of several, the last.
        measures: the curves' values at it.
        averaged: the epochs that it is the mean of; one of them where it is not a mean.
        moving: whether it is a moving average of the weights.
    """

    weights: Weights = field(repr=False)
    epoch: int
    measures: dict[str, float]
    averaged: tuple[int, ...]
    moving: bool = False


class BestOnes:
    """The best few checkpoints by one measure; of equals the earlier is better.

    Args:
        size: how many are kept.
        direction: whether less or more of the measure is better.
    """

    def __init__(self, size: int, direction: Direction) -> None:
        self.size = size
        self.direction = direction
        self._kept: list[tuple[float, Checkpoint]] = []

    def wants(self, value: float) -> bool:
        """Whether a checkpoint of this value would be kept."""
        if value != value:
            return False
        return len(self._kept) < self.size or better(value, self._kept[-1][0], self.direction)

    def offer(self, value: float, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint if it is among the best."""
        if self.wants(value):
            sign = 1.0 if self.direction == "min" else -1.0
            self._kept = sorted([*self._kept, (value, checkpoint)], key=lambda item: sign * item[0])[: self.size]

    @property
    def best(self) -> Checkpoint | None:
        """The best one; None before any was measured."""
        return self._kept[0][1] if self._kept else None

    @property
    def value(self) -> float | None:
        """The measure of the best one."""
        return self._kept[0][0] if self._kept else None

    @property
    def kept(self) -> list[Checkpoint]:
        """All of them, the best one first."""
        return [checkpoint for _, checkpoint in self._kept]

    def state_dict(self) -> dict[str, Any]:
        """Those kept, as tensors and plain values."""
        return {"kept": [{"value": value, **vars(checkpoint)} for value, checkpoint in self._kept]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self._kept = [
            (item["value"], Checkpoint(**{name: value for name, value in item.items() if name != "value"}))
            for item in state["kept"]
        ]


def mean_of(kept: Sequence[Checkpoint]) -> Weights | None:
    """The mean of several models, in double precision; None where there are not two. Counters are the first one's."""
    if len(kept) < 2:
        return None
    return {
        name: torch.stack([checkpoint.weights[name].double() for checkpoint in kept]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in kept[0].weights.items()
    }


def better(value: float, than: float, direction: Direction) -> bool:
    """Whether a measure improved; NaN never does."""
    return value < than if direction == "min" else value > than
