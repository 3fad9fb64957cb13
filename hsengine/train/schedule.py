"""The learning rate as a function of the position in the training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from hsengine.base.errors import UserError
from hsengine.base.settings import Train
from hsengine.train.task import Direction

# One-cycle starts at this share of the highest rate and spends this share of the run rising.
_ONECYCLE_START = 1 / 25
_ONECYCLE_RISE = 0.3


class Schedule:
    """Sets the learning rate of an optimiser before each update.

    The rate depends on the epochs done, a fraction of one included, so it is the same for any
    number of processes and after a resumption; with `schedule_by: time` it depends on
    the clock too. Only `plateau` remembers something.

    Args:
        optimizer: whose rate is set; a parameter group with a `scale` gets that many times the rate.
        settings: `lr`, `schedule`, `cycles`, `epochs`, `warmup_epochs`, `min_lr`, `gamma`, `step_epochs` and
            `plateau_patience` are read.
    """

    def __init__(self, optimizer: Optimizer, settings: Train) -> None:
        self.optimizer = optimizer
        self.settings = settings
        self._factor = 1.0
        self._lowest = math.inf
        self._waited = 0
        self._curve = self._curves()[settings.schedule]

    def rate(self, epochs_done: float) -> float:
        """The learning rate after so many epochs, fractions included."""
        settings = self.settings
        warmup = min(settings.warmup_epochs, settings.epochs)
        if epochs_done < warmup:
            if settings.schedule == "onecycle":
                return self._rising(epochs_done / warmup)
            return settings.lr * epochs_done / warmup
        return self._curve(epochs_done - warmup, settings.epochs - warmup)

    def set(self, epochs_done: float, updates_per_epoch: int) -> float:
        """Give the optimiser the rate of the update that comes next.

        Args:
            epochs_done: epochs before this update.
            updates_per_epoch: updates in the running epoch; warm-up counts the update itself as
                done, so that the first one is not lost on a rate of zero.

        Returns:
            The rate, of a group without a scale of its own.
        """
        shift = 1.0 / max(1, updates_per_epoch) if epochs_done < self.settings.warmup_epochs else 0.0
        rate = self.rate(min(epochs_done + shift, max(self.settings.warmup_epochs, epochs_done)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        return rate

    def end_epoch(self, value: float | None, direction: Direction = "min") -> None:
        """Tell a measure of the epoch that ended; `plateau` lowers the rate when it stopped improving.

        Args:
            value: the measure; None where this epoch has none, which decides nothing.
            direction: whether less or more of it is better.
        """
        if value is None:
            return
        cost = value if direction == "min" else -value
        if cost < self._lowest:
            self._lowest, self._waited = cost, 0
            return
        self._waited += 1
        if self._waited > self.settings.plateau_patience:
            self._factor, self._waited = self._factor * self.settings.gamma, 0

    def state_dict(self) -> dict[str, Any]:
        """What `plateau` remembers, as plain values."""
        return {"factor": self._factor, "lowest": self._lowest, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self._factor, self._lowest, self._waited = state["factor"], state["lowest"], state["waited"]

    def _curves(self) -> dict[str, Callable[[float, float], float]]:
        """(epochs since the warm-up, epochs of the training after it) → rate, by name."""
        lr, lowest, gamma = self.settings.lr, min(self.settings.min_lr, self.settings.lr), self.settings.gamma
        return {
            "none": lambda done, total: lr,
            "cosine": lambda done, total: _cosine(lr, lowest, self._in_cycle(done / total) if total else 1.0),
            "step": lambda done, total: max(lowest, lr * gamma ** (int(done) // self.settings.step_epochs)),
            "exponential": lambda done, total: max(lowest, lr * gamma ** int(done)),
            "plateau": lambda done, total: max(lowest, lr * self._factor),
            "onecycle": self._onecycle,
        }

    def _in_cycle(self, share: float) -> float:
        """The share of the running cycle that is done, from the share of all."""
        start, lengths = 0.0, self.settings.cycle_lengths
        for length in lengths[:-1]:
            # Ends that are reached but for the last bits are reached.
            if share < start + length - 1e-9:
                break
            start += length
        else:
            length = lengths[-1]
        return max(0.0, share - start) / length

    def _onecycle(self, done: float, total: float) -> float:
        """Up by a cosine, then down; a given warm-up takes the place of the rise."""
        rise = 0.0 if self.settings.warmup_epochs else _ONECYCLE_RISE * total
        if done < rise:
            return self._rising(done / rise)
        lowest = min(self.settings.min_lr, self.settings.lr)
        return _cosine(self.settings.lr, lowest, (done - rise) / (total - rise) if total > rise else 1.0)

    def _rising(self, share: float) -> float:
        return _cosine(self.settings.lr * _ONECYCLE_START, self.settings.lr, share)


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` to `end`."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


def cycle_ends(settings: Train) -> set[int]:
    """The last epoch of each of `train.cycles`; one that a restart falls into is no cycle's last.

    Raises:
        UserError: a cycle has no whole epoch.
    """
    warmup = min(settings.warmup_epochs, settings.epochs)
    shares, total = settings.cycle_lengths, settings.epochs - warmup
    if min(shares) * total < 1 - 1e-9:
        raise UserError(
            f"train.cycles: {len(shares)} cycles in {total:g} epochs after the warm-up are shorter than an epoch: "
            "raise train.epochs, or lower train.cycles."
        )
    # Ends that are whole numbers but for the last bits count as such.
    return {math.floor(warmup + share * total + 1e-9) - 1 for share in itertools.accumulate(shares)}
