"""Which checkpoints of a training are kept, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hsengine.base.settings import Train
from hsengine.train.averaging import BestOnes, Checkpoint
from hsengine.train.schedule import cycle_ends
from hsengine.train.task import Direction


class Keeper:
    """The best checkpoints, and with `train.kept: cycles` the last of each cycle.

    Args:
        settings: `kept`, `best_k`, `snapshots` and the schedule's `cycles` are read.
        direction: whether less or more of the watched measure is better.

    Attributes:
        best: the best ones; only one where the cycles' are kept.

    Raises:
        UserError: the cycles are too short.
    """

    def __init__(self, settings: Train, direction: Direction) -> None:
        self.settings = settings
        self._by_cycle = settings.kept == "cycles"
        self._ends = cycle_ends(settings) if self._by_cycle or len(settings.cycle_lengths) > 1 else set()
        self.best = BestOnes(1 if self._by_cycle else settings.best_k, direction)
        self._of_cycles: list[Checkpoint] = []

    def ends_cycle(self, epoch: int) -> bool:
        """Whether an epoch's checkpoint is kept whatever it measures."""
        return self._by_cycle and epoch in self._ends

    def offer(self, epoch: int, value: float | None, made: Callable[[], Checkpoint]) -> None:
        """Keep an epoch's checkpoint if it is wanted; it is made only then.

        Args:
            epoch: the epoch.
            value: the watched measure, if this epoch has it.
            made: the checkpoint.
        """
        best = value is not None and self.best.wants(value)
        if not best and not self.ends_cycle(epoch):
            return
        checkpoint = made()
        if best and value is not None:
            self.best.offer(value, checkpoint)
        if self.ends_cycle(epoch):
            self._of_cycles.append(checkpoint)

    @property
    def kept(self) -> list[Checkpoint]:
        """The best ones, the best first, or each cycle's last, in their order."""
        return list(self._of_cycles) if self._by_cycle else self.best.kept

    @property
    def files(self) -> list[Checkpoint]:
        """Those of `kept` that become files of their own."""
        return self.kept if self.settings.snapshots == "files" else []

    @property
    def averaged(self) -> list[Checkpoint]:
        """Those of `kept` whose mean may become the model."""
        return self.kept if self.settings.snapshots == "average" else []

    def state_dict(self) -> dict[str, Any]:
        """Those kept, as tensors and plain values."""
        return {**self.best.state_dict(), "cycles": [dict(vars(checkpoint)) for checkpoint in self._of_cycles]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.best.load_state_dict(state)
        self._of_cycles = [Checkpoint(**item) for item in state["cycles"]]
