"""The order in which an epoch visits the training samples: a function of seed, epoch and losses seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hsengine.base.errors import UserError

Visit = tuple[int, int]
"""(index of the sample, how many times this epoch has had it before)."""


class Sampler(ABC):
    """An order of visits for each epoch, as many as there are samples.

    Attributes:
        watches: whose losses `update` wants after an epoch: those of the held-out samples (kept by
            category), those of the training samples (kept by id), or none.
        losses: last known mean loss by category or id.
    """

    watches: ClassVar[Literal["nothing", "validation", "training"]] = "nothing"

    def __init__(self, ids: Sequence[str], categories: Sequence[int], *, seed: int) -> None:
        if len(ids) == 0 or len(ids) != len(categories):
            raise UserError(f"There are {len(ids)} training samples and {len(categories)} categories of them.")
        self.ids = list(ids)
        self.categories = np.asarray(categories, dtype=np.int64)
        self.seed = seed
        self.losses: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def epoch(self, epoch: int) -> list[Visit]:
        """The visits of an epoch; the same for the same seed, epoch and losses."""
        chosen = self._choose(np.random.default_rng([self.seed, epoch]), epoch)
        seen: dict[int, int] = defaultdict(int)
        visits = []
        for index in chosen.tolist():
            visits.append((index, seen[index]))
            seen[index] += 1
        return visits

    @abstractmethod
    def _choose(self, generator: np.random.Generator, epoch: int) -> NDArray[np.int64]:
        """(samples,) indices in the order of visit."""

    def update(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in an epoch's losses, those that the sampler `watches`: rows with `id`, `category` and `loss`."""
        if self.watches == "nothing":
            return
        name = "category" if self.watches == "validation" else "id"
        groups: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            if np.isfinite(row["loss"]):
                groups[str(row[name])].append(max(float(row["loss"]), 0.0))
        self.losses |= {key: float(np.mean(losses)) for key, losses in groups.items()}

    def state_dict(self) -> dict[str, Any]:
        """What the sampler has learnt, as plain values."""
        return {"losses": dict(self.losses)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.losses = {str(key): float(loss) for key, loss in state["losses"].items()}


class ShuffledSampler(Sampler):
    """Each sample once, in a new order every epoch."""

    def _choose(self, generator: np.random.Generator, epoch: int) -> NDArray[np.int64]:
        return generator.permutation(len(self))


class BalancedSampler(Sampler):
    """A category by its mean validation loss of the last epoch (uniform at first), then a sample of it uniformly."""

    watches = "validation"

    def _choose(self, generator: np.random.Generator, epoch: int) -> NDArray[np.int64]:
        present = np.unique(self.categories)
        members = [np.flatnonzero(self.categories == category) for category in present]
        weights = _shares([self.losses.get(str(category)) for category in present])
        picks = generator.choice(len(present), size=len(self), p=weights)
        return np.array([generator.choice(members[pick]) for pick in picks], dtype=np.int64)


class DifficultySampler(Sampler):
    """A sample by its last known training loss; a tenth of the visits is shared out evenly."""

    watches = "training"

    def _choose(self, generator: np.random.Generator, epoch: int) -> NDArray[np.int64]:
        weights = 0.1 / len(self) + 0.9 * _shares([self.losses.get(sample) for sample in self.ids])
        return generator.choice(len(self), size=len(self), p=weights / weights.sum())


class CurriculumSampler(Sampler):
    """Easy samples first: the pool grows from the easiest third to all over half of the epochs.

    The first epoch visits every sample, so that each has a loss to be ranked by.
    """

    watches = "training"

    def __init__(self, ids: Sequence[str], categories: Sequence[int], *, seed: int, epochs: int) -> None:
        super().__init__(ids, categories, seed=seed)
        self.epochs = epochs

    def _choose(self, generator: np.random.Generator, epoch: int) -> NDArray[np.int64]:
        size = len(self)
        known = list(self.losses.values())
        unknown = float(np.mean(known)) if known else 0.0
        ranked = np.argsort([self.losses.get(sample, unknown) for sample in self.ids], kind="stable")
        grown = 1.0 if epoch == 0 or not known else 1 / 3 + (2 / 3) * min(1.0, epoch / max(1.0, self.epochs / 2))
        pool = ranked[: max(1, round(grown * size))]
        rounds = [generator.permutation(pool) for _ in range(-(-size // len(pool)))]
        return np.concatenate(rounds)[:size]


def build(name: str, ids: Sequence[str], categories: Sequence[int], *, seed: int, epochs: int) -> Sampler:
    """The sampler of a `train.sampling` value.

    Args:
        name: `shuffle`, `balanced`, `difficulty` or `curriculum`.
        ids: ids of the training samples.
        categories: category of each.
        seed: the run's seed.
        epochs: length of the training, which a curriculum is stretched over.

    Raises:
        UserError: the name is unknown or there is no sample.
    """
    if name == "curriculum":
        return CurriculumSampler(ids, categories, seed=seed, epochs=epochs)
    known: dict[str, type[Sampler]] = {
        "shuffle": ShuffledSampler,
        "balanced": BalancedSampler,
        "difficulty": DifficultySampler,
    }
    if name not in known:
        raise UserError(f"train.sampling: '{name}' is not one of {', '.join([*known, 'curriculum'])}.")
    return known[name](ids, categories, seed=seed)


def _shares(losses: Sequence[float | None]) -> NDArray[np.float64]:
    """Losses as probabilities; an unknown one counts as the mean of the others, none at all as equal."""
    known = [loss for loss in losses if loss is not None]
    typical = float(np.mean(known)) if known else 1.0
    weights = np.array([typical if loss is None else loss for loss in losses], dtype=np.float64)
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1.0 / len(weights))
