"""Which training images an epoch visits: the published stages, and one that acts on real pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hsengine.train.sampling import Sampler
from hstasks.biomass.params import Stage


def stage_epochs(given: Sequence[int], total: int) -> list[int]:
    """How many epochs each stage lasts.

    If all are given and their sum is not the total, each is max(1, round half to even(e · total / sum)). If some are 0,
    those share what is left equally, at least 1 each; where nothing is left they get total / stages, rounded down.
    """
    chosen = list(given)
    open_ones = [place for place, epochs in enumerate(chosen) if not epochs]
    if not open_ones:
        whole = sum(chosen)
        return chosen if whole == total else [max(1, round(epochs * total / whole)) for epochs in chosen]
    left = total - sum(chosen)
    share = left // len(open_ones) if left > 0 else total // len(chosen)
    return [epochs or max(1, share) for epochs in chosen]


def stage_of(epoch: int, epochs: Sequence[int]) -> int:
    """The stage of an epoch, counted from 0; past the last boundary the last one goes on."""
    place = int(np.searchsorted(np.cumsum(epochs), epoch, side="right"))
    return min(place, len(epochs) - 1)


def members(stage: Stage, complexity: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.int64]:
    """The images of a stage: both numbers in its ranges, [low, high); all where there is none."""
    inside = (complexity >= stage.complexity[0]) & (complexity < stage.complexity[1])
    inside &= (total >= stage.total[0]) & (total < stage.total[1])
    found: NDArray[np.int64] = np.flatnonzero(inside) if inside.any() else np.arange(len(total))
    return found


class StageSampler(Sampler):
    """Each image of the epoch's stage in a new order, again and again where the epoch is longer.

    Args:
        ids: names of the training images.
        categories: of each.
        stages: the images of each stage.
        epochs: of each stage.
        seed: of the orders.
        size: visits of an epoch; None: one for each image of the stage with the most.
    """

    def __init__(
        self,
        ids: Sequence[str],
        categories: Sequence[int],
        stages: Sequence[NDArray[np.int64]],
        epochs: Sequence[int],
        *,
        seed: int,
        size: int | None = None,
    ):
        super().__init__(ids, categories, seed=seed, size=max(map(len, stages)) if size is None else size)
        self._stages, self._epochs = list(stages), list(epochs)

    def choose(self, epoch: int) -> NDArray[np.int64]:
        """(size,) indices of the stage's images."""
        # The engine counts epochs from 1.
        inside = self._stages[stage_of(epoch - 1, self._epochs)]
        random = self.generator(epoch)
        rounds = -(-self.size // len(inside))
        order = np.concatenate([random.permutation(inside) for _ in range(rounds)])
        return order[: self.size]
