"""Two or more data sets in one training, such as a source and a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.train.sampling import Sampler, ShuffledSampler, WeightedSampler
from hsengine.train.task import Key, Samples, categories_of, ids_of


class Joint:
    """Data sets one behind the other, as one.

    A sample that is a mapping gets `domain`, the number of the set that it is from. Samples of one batch that differ
    in their keys or sizes, such as those without a target, come to the task apart, each kind in a batch of its own.

    Args:
        parts: the data sets by name.

    Attributes:
        ids: of all samples, `name/id`.
        categories: of all samples; those of different sets are different.
        domains: for each sample, the number of its set.
        resident: whether all samples lie on the device.

    Raises:
        UserError: a set is empty.
    """

    def __init__(self, parts: Mapping[str, Samples]) -> None:
        self.parts = dict(parts)
        self.ids: list[str] = []
        self.categories: list[int] = []
        self.domains: list[int] = []
        self.resident = all(bool(getattr(part, "resident", False)) for part in self.parts.values())
        self._starts: list[int] = []
        for number, (name, part) in enumerate(self.parts.items()):
            if len(part) == 0:
                raise UserError(f"There is no sample of '{name}' to train on.")
            self._starts.append(len(self.ids))
            beyond = max(self.categories, default=-1) + 1
            known = categories_of(part)
            self.ids += [f"{name}/{sample}" for sample in ids_of(part)]
            self.categories += [category - min(known) + beyond for category in known]
            self.domains += [number] * len(part)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: Key) -> Any:
        epoch, index, draw = key
        number = self.domains[index]
        sample = list(self.parts.values())[number][epoch, index - self._starts[number], draw]
        return {**sample, "domain": number} if isinstance(sample, Mapping) else sample

    def places(self, name: str) -> range:
        """The indices of a set's samples."""
        number = list(self.parts).index(name)
        return range(self._starts[number], self._starts[number] + len(self.parts[name]))


class JointSampler(Sampler):
    """Visits to the sets of a `Joint` in given shares, spread evenly over the epoch.

    Within a set each sample comes once before any comes again, over the ends of epochs too; or by weights.

    Args:
        joint: the sets.
        shares: for each set, its share of the visits, of any sum.
        seed: the run's seed.
        size: visits of an epoch; None: as many as there are samples, in whole runs.
        run: visits to one set before the next: 1 mixes the sets in every batch; the batch's size
            gives each batch to one set, and with `train.accumulate` the shares hold for the update.
        weights: for sets that are drawn by weight, a weight for each sample.

    Raises:
        UserError: the shares are not those of the sets, or weights cannot be used.
    """

    def __init__(
        self,
        joint: Joint,
        shares: Mapping[str, float],
        *,
        seed: int,
        size: int | None = None,
        run: int = 1,
        weights: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        if shares.keys() != joint.parts.keys() or not all(0 < share < np.inf for share in shares.values()):
            raise UserError(
                f"The shares {dict(shares)} of a joint training must be one above 0 for each of "
                f"{', '.join(joint.parts)}."
            )
        super().__init__(joint.ids, joint.categories, seed=seed, size=size or -(-len(joint) // run) * run)
        self._order = np.repeat(_spread([shares[name] for name in joint.parts], -(-self.size // run)), run)[: self.size]
        self._samplers: list[tuple[int, Sampler]] = []
        for number, name in enumerate(joint.parts):
            places = joint.places(name)
            ids, categories = joint.ids[places.start : places.stop], joint.categories[places.start : places.stop]
            # Sets of equal length are not drawn in step.
            own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            visits = int(np.count_nonzero(self._order == number))
            given = (weights or {}).get(name)
            sampler: Sampler = (
                ShuffledSampler(ids, categories, seed=own, size=visits)
                if given is None
                else WeightedSampler(ids, categories, weights=given, seed=own, size=visits)
            )
            self._samplers.append((places.start, sampler))

    def choose(self, epoch: int) -> NDArray[np.int64]:
        """Each set's own order, dealt out by the shares."""
        chosen = np.empty(self.size, dtype=np.int64)
        for number, (start, sampler) in enumerate(self._samplers):
            if len(sampler):
                chosen[self._order == number] = start + sampler.choose(epoch)
        return chosen


def _spread(shares: Sequence[float], count: int) -> NDArray[np.int64]:
    """(count,) numbers of sets: always the one that is furthest behind its share."""
    wanted = np.asarray(shares, dtype=np.float64) / np.sum(shares)
    taken = np.zeros(len(shares))
    order = np.empty(count, dtype=np.int64)
    for place in range(count):
        order[place] = number = int(np.argmax(wanted * (place + 1) - taken))
        taken[number] += 1
    return order
