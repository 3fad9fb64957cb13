"""What a training and its measuring give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsengine.train.averaging import Checkpoint
from hsengine.train.task import Row

Pictures = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Measured:
    """The held-out set's measures: rows sorted by id, their summary by curve, pictures by name."""

    rows: list[Row]
    summary: dict[str, float]
    pictures: Pictures


@dataclass(frozen=True)
class Result:
    """What a training made.

    Attributes:
        best: the checkpoint with the best watched measure, or the mean of the kept ones where that measures better.
        last: the one after the last epoch.
        history: what was logged after each epoch, by curve.
        watch: the curve that decided.
        reason: why it ended: `epochs`, `patience`, `time`, or `closed form`.
        speed: samples a second, waiting for data, memory.
        kept: with `train.snapshots: files`, the best `train.best_k`, the best one first, or each cycle's last, in
            their order; otherwise empty.
    """

    best: Checkpoint
    last: Checkpoint
    history: list[dict[str, float]]
    watch: str
    reason: str
    speed: Mapping[str, Any] = field(repr=False)
    kept: list[Checkpoint] = field(default_factory=list, repr=False)
