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
    """An order of visits for each epoch.

    A sampler of one's own says in `choose` which samples an epoch visits. That must follow from the seed, the epoch
    and what `state_dict` holds alone: an epoch that was broken off is asked for again.

    Args:
        ids: ids of the training samples.
        categories: category of each.
        seed: the run's seed.
        size: visits of an epoch; None: one for each sample.

    Attributes:
        watches: whose losses `update` wants after an epoch: those of the held-out samples (kept by
            category), those of the training samples (kept by id), or none.
        losses: last known mean loss by category or id.

    Raises:
        UserError: there is no sample.
    """

    watches: ClassVar[Literal["nothing", "validation", "training"]] = "nothing"

    def __init__(self, ids: Sequence[str], categories: Sequence[int], *, seed: int, size: int | None = None) -> None:
        if len(ids) == 0 or len(ids) != len(categories):
            raise UserError(f"There are {len(ids)} training samples and {len(categories)} categories of them.")
        self.ids = list(ids)
        self.categories = np.asarray(categories, dtype=np.int64)
        self.seed = seed
        self.size = len(self.ids) if size is None else size
        self.losses: dict[str, float] = {}

    def __len__(self) -> int:
        return self.size

    def epoch(self, epoch: int) -> list[Visit]:
        """The visits of an epoch; the same for the same seed, epoch and losses."""
        seen: dict[int, int] = defaultdict(int)
        visits = []
        for index in self.choose(epoch).tolist():
            visits.append((index, seen[index]))
            seen[index] += 1
        return visits

    @abstractmethod
    def choose(self, epoch: int) -> NDArray[np.int64]:
        """(size,) indices of samples in the order of visit."""

    def generator(self, number: int) -> np.random.Generator:
        """The random generator of an epoch, or of another number."""
        return np.random.default_rng([self.seed, number])

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
    """Each sample once, in a new order every time, before any comes again.

    An epoch of another size than that goes on where the last one ended, so that all are seen equally often.

    Args:
        ids: ids of the training samples.
        categories: category of each.
        seed: the run's seed.
        size: visits of an epoch; None: one for each copy.
        copies: how often each sample comes for once that the others do; None: all equally often.

    Raises:
        UserError: there is no sample, or no copy of any.
    """

    def __init__(
        self,
        ids: Sequence[str],
        categories: Sequence[int],
        *,
        seed: int,
        size: int | None = None,
        copies: Sequence[int] | None = None,
    ) -> None:
        self._once = np.repeat(np.arange(len(ids)), 1 if copies is None else copies)
        if len(ids) and not len(self._once):
            raise UserError("No training sample has a copy: at least one must be seen.")
        super().__init__(ids, categories, seed=seed, size=len(self._once) if size is None else size)

    def choose(self, epoch: int) -> NDArray[np.int64]:
        """The epoch's piece of an endless row of permutations."""
        first, skipped = divmod(epoch * self.size, len(self._once))
        rounds = range(first, first - (-(skipped + self.size) // len(self._once)))
        row = np.concatenate([self._once[self.generator(number).permutation(len(self._once))] for number in rounds])
        return row[skipped : skipped + self.size]


class WeightedSampler(Sampler):
    """Each visit a sample by its weight, whatever came before.

    Args:
        ids: ids of the training samples.
        categories: category of each.
        weights: one for each sample, not negative, of any sum; see `even_weights`.
        seed: the run's seed.
        size: visits of an epoch; None: one for each sample.

    Raises:
        UserError: there is no sample, or the weights cannot be used.
    """

    def __init__(
        self,
        ids: Sequence[str],
        categories: Sequence[int],
        *,
        weights: Sequence[float] | NDArray[np.float64],
        seed: int,
        size: int | None = None,
    ) -> None:
        super().__init__(ids, categories, seed=seed, size=size)
        given = np.asarray(weights, dtype=np.float64)
        if given.shape != (len(ids),) or not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
            raise UserError(
                f"{len(ids)} training samples need as many weights, finite, not negative and not all 0; "
                f"there are {given.size}, from {given.min(initial=0):g} to {given.max(initial=0):g}."
            )
        self.shares = given / given.sum()

    def choose(self, epoch: int) -> NDArray[np.int64]:
        """Draws with replacement."""
        return self.generator(epoch).choice(len(self.ids), size=self.size, p=self.shares)


def even_weights(categories: Sequence[int]) -> NDArray[np.float64]:
    """A weight for each sample, by which all categories are drawn equally often."""
    _, places, counts = np.unique(np.asarray(categories), return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1.0 / counts[places]
    return weights


class BalancedSampler(Sampler):
    """A category by its mean validation loss of the last epoch (uniform at first), then a sample of it uniformly."""

    watches = "validation"

    def choose(self, epoch: int) -> NDArray[np.int64]:
        """Draws with replacement."""
        generator = self.generator(epoch)
        present = np.unique(self.categories)
        members = [np.flatnonzero(self.categories == category) for category in present]
        weights = _shares([self.losses.get(str(category)) for category in present])
        picks = generator.choice(len(present), size=self.size, p=weights)
        return np.array([generator.choice(members[pick]) for pick in picks], dtype=np.int64)


class DifficultySampler(Sampler):
    """A sample by its last known training loss; a tenth of the visits is shared out evenly."""

    watches = "training"

    def choose(self, epoch: int) -> NDArray[np.int64]:
        """Draws with replacement."""
        weights = 0.1 / len(self.ids) + 0.9 * _shares([self.losses.get(sample) for sample in self.ids])
        return self.generator(epoch).choice(len(self.ids), size=self.size, p=weights / weights.sum())


class CurriculumSampler(Sampler):
    """Easy samples first: the pool grows from the easiest third to all over half of the epochs.

    The first epoch visits every sample that it has the time for, so that each has a loss to be ranked by.
    """

    watches = "training"

    def __init__(
        self, ids: Sequence[str], categories: Sequence[int], *, seed: int, epochs: int, size: int | None = None
    ) -> None:
        super().__init__(ids, categories, seed=seed, size=size)
        self.epochs = epochs

    def choose(self, epoch: int) -> NDArray[np.int64]:
        """Permutations of the pool, one after the other."""
        generator = self.generator(epoch)
        known = list(self.losses.values())
        unknown = float(np.mean(known)) if known else 0.0
        ranked = np.argsort([self.losses.get(sample, unknown) for sample in self.ids], kind="stable")
        grown = 1.0 if epoch == 0 or not known else 1 / 3 + (2 / 3) * min(1.0, epoch / max(1.0, self.epochs / 2))
        pool = ranked[: max(1, round(grown * len(self.ids)))]
        rounds = [generator.permutation(pool) for _ in range(-(-self.size // len(pool)))]
        return np.concatenate(rounds)[: self.size]


def build(
    name: str, ids: Sequence[str], categories: Sequence[int], *, seed: int, epochs: int, size: int | None = None
) -> Sampler:
    """The sampler of a `train.sampling` value.

    Args:
        name: `shuffle`, `balanced`, `difficulty` or `curriculum`.
        ids: ids of the training samples.
        categories: category of each.
        seed: the run's seed.
        epochs: length of the training, which a curriculum is stretched over.
        size: visits of an epoch; None: one for each sample.

    Raises:
        UserError: the name is unknown or there is no sample.
    """
    if name == "curriculum":
        return CurriculumSampler(ids, categories, seed=seed, epochs=epochs, size=size)
    known: dict[str, type[Sampler]] = {
        "shuffle": ShuffledSampler,
        "balanced": BalancedSampler,
        "difficulty": DifficultySampler,
    }
    if name not in known:
        raise UserError(f"train.sampling: '{name}' is not one of {', '.join([*known, 'curriculum'])}.")
    return known[name](ids, categories, seed=seed, size=size)


def _shares(losses: Sequence[float | None]) -> NDArray[np.float64]:
    """Losses as probabilities; an unknown one counts as the mean of the others, none at all as equal."""
    known = [loss for loss in losses if loss is not None]
    typical = float(np.mean(known)) if known else 1.0
    weights = np.array([typical if loss is None else loss for loss in losses], dtype=np.float64)
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1.0 / len(weights))
