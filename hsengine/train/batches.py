"""From a sampler's visits to the batches of this process."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Sampler, default_collate

from hsengine.train.task import Key, Samples

_GRACE_SECONDS = 30


class GlobalBatches(Sampler[list[Key]]):
    """The share of one process in each global batch of an epoch.

    A global batch is `size` visits in the sampler's order, whatever the number of processes; process
    r of w gets every w-th of them from r on. A process left without one, in a batch smaller than the
    number of processes, gets the batch's first, to be counted as nothing: every process makes every
    step, so the processes stay in step.
    """

    def __init__(self, size: int, *, rank: int = 0, world: int = 1) -> None:
        self.size = size
        self.rank = rank
        self.world = world
        self._keys: list[Key] = []
        self._start = 0

    def begin(self, epoch: int, visits: Sequence[tuple[int, int]], *, skip: int = 0) -> None:
        """Lay out an epoch; its first `skip` global batches are left out of the iteration."""
        self._keys = [(epoch, index, draw) for index, draw in visits]
        self._start = skip

    @property
    def total(self) -> int:
        """Global batches in the epoch, those left out included."""
        return -(-len(self._keys) // self.size)

    def everyone(self, step: int) -> list[Key]:
        """The keys of a global batch."""
        return self._keys[step * self.size : (step + 1) * self.size]

    def mine(self, step: int) -> list[Key]:
        """The keys of this process in a global batch; none where there are too few."""
        return self.everyone(step)[self.rank :: self.world]

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self._start, self.total):
            yield self.mine(step) or self.everyone(step)[:1]

    def __len__(self) -> int:
        return max(0, self.total - self._start)


class HeldOutBatches(Sampler[list[Key]]):
    """The held-out samples of one process: of batches of `size` in their order, every `world`-th from `rank` on.

    Which samples stand together does not depend on the number of processes.
    """

    def __init__(self, count: int, size: int = 1, *, rank: int = 0, world: int = 1) -> None:
        self.rounds = -(-count // (size * world))
        self._starts = range(rank * size, count, world * size)
        self._count, self._size = count, size

    def __iter__(self) -> Iterator[list[Key]]:
        for start in self._starts:
            yield [(0, index, 0) for index in range(start, min(start + self._size, self._count))]

    def __len__(self) -> int:
        return len(self._starts)


class Part(NamedTuple):
    """The samples of a batch that are of one size.

    Attributes:
        places: their places in the batch, ascending.
        batch: what `default_collate` makes of them.
    """

    places: list[int]
    batch: Any


def loader(samples: Samples, batches: Sampler[list[Key]], *, workers: int, pin: bool) -> DataLoader[Any]:
    """A loader over this process's batches, each as a list of `Part`; workers persist from epoch to epoch."""
    return DataLoader(
        samples,  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        pin_memory=pin,
        collate_fn=_collated,
        generator=torch.Generator(),
        worker_init_fn=_patient_worker,
    )


def _collated(samples: list[Any]) -> list[Part]:
    by_size: dict[Any, list[int]] = {}
    for place, sample in enumerate(samples):
        by_size.setdefault(_size(sample), []).append(place)
    return [Part(places, default_collate([samples[place] for place in places])) for places in by_size.values()]


def _size(sample: Any) -> Any:
    if isinstance(sample, Mapping):
        return tuple((name, _size(value)) for name, value in sample.items())
    if isinstance(sample, list | tuple):
        return tuple(_size(value) for value in sample)
    return tuple(getattr(sample, "shape", ()))


def _patient_worker(worker: int) -> None:
    """Let the main process save its state before its workers go: a cluster signals them all at once."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_GRACE_SECONDS))
