"""Which measure decides, whether it improved, and when enough is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hsengine.base.errors import UserError
from hsengine.train.averaging import better
from hsengine.train.task import Direction

_TRAINING, _HELD_OUT = "train/", "val/"


def resolve(name: str, key: str, directions: Mapping[str, Direction]) -> tuple[str, Direction]:
    """The curve and the direction of a measure that a parameter names.

    Args:
        name: a curve such as `val/accuracy`, `train/loss` or `val/by_category/3/accuracy`; a measure of the
            held-out samples may leave out `val/`.
        key: the parameter, for the message.
        directions: the measures whose better direction is known.

    Raises:
        UserError: nothing is known by that name.
    """
    curve = name if name.startswith((_TRAINING, _HELD_OUT)) else _HELD_OUT + name
    measure = curve.rpartition("/")[2]
    if measure not in directions:
        raise UserError(f"{key}: no measure is called '{name}'; known are {', '.join(sorted(directions))}.")
    return curve, directions[measure]


def found(row: Mapping[str, float], curve: str, key: str, *, complete: bool) -> float | None:
    """A curve's value in an epoch's row; None where this epoch has not got it.

    Raises:
        UserError: a complete row has no such curve.
    """
    if curve not in row and complete:
        raise UserError(f"{key}: nothing is logged as '{curve}'; there are {', '.join(sorted(row))}.")
    return row.get(curve)


class Patience:
    """Early stopping: when a measure has not improved for so many epochs.

    Args:
        epochs: how many; None never stops.
        curve: the measure's curve.
        direction: whether less or more of it is better.
    """

    def __init__(self, epochs: int | None, curve: str, direction: Direction) -> None:
        self.epochs = epochs
        self.curve = curve
        self.direction = direction
        self._best: float | None = None
        self._since = 0

    def exhausted(self, epoch: int, value: float | None) -> bool:
        """Whether to stop after an epoch; one without the measure does not decide."""
        if value is None or self.epochs is None:
            return False
        if self._best is None or better(value, self._best, self.direction):
            if value == value:
                self._best, self._since = value, epoch
            return False
        return epoch - self._since >= self.epochs

    def state_dict(self) -> dict[str, Any]:
        """The best value and its epoch."""
        return {"best": self._best, "since": self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self._best, self._since = state["best"], state["since"]
