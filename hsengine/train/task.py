"""What the engine trains: a task says everything that depends on the kind of model and data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Batch = Any
"""What `torch.utils.data.default_collate` makes of the data set's samples, on the model's device."""

Key = tuple[int, int, int]
"""(epoch, index of the sample, how many times this epoch has had it before)."""

Row = dict[str, Any]
"""A held-out sample: `id`, `category`, and its measures."""

Direction = Literal["min", "max"]


class Samples(Protocol):
    """A map-style data set; all its randomness is a function of the key.

    It may have `ids` (a name for each sample, for messages and tables; the index otherwise) and
    `categories` (a number for each, for balanced sampling).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, key: Key, /) -> Any: ...


class Task(ABC):
    """One kind of training: a model, two data sets, a loss and measures.

    Attributes:
        directions: for each measure that a sample can have, whether less or more of it is better.
        watch: the measure that decides which epoch was best, unless `train.watch` names another.
    """

    directions: ClassVar[Mapping[str, Direction]] = {"loss": "min"}
    watch: str = "loss"

    @abstractmethod
    def model(self) -> nn.Module:
        """A fresh model. It is called with the generators seeded: its weights follow from the seed alone."""

    @abstractmethod
    def training(self) -> Samples:
        """The samples to learn from."""

    @abstractmethod
    def held_out(self) -> Samples:
        """The samples to measure on; they come one by one, with keys (0, index, 0)."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of each sample of a batch, (B,), and its parts by name, each (B,)."""

    def progress(self, done: float) -> None:  # noqa: B027
        """Hear which share of the training is done, 0 to 1, before each update; 1 before measuring."""

    def measures(self, model: nn.Module, batch: Batch, *, full: bool) -> list[dict[str, float]]:
        """Each sample's measures; `loss` is among them.

        Args:
            model: in evaluation mode, without gradients.
            batch: held-out samples.
            full: whether the dear measures are wanted too.
        """
        losses, parts = self.losses(model, batch)
        columns = {"loss": losses, **parts}
        return [{name: float(values[i]) for name, values in columns.items()} for i in range(len(losses))]

    def summary(self, rows: Sequence[Row]) -> dict[str, float]:
        """Measures of the whole held-out set, from rows sorted by id. Names may hold slashes."""
        return means(rows)

    def pictures(self, model: nn.Module, batch: Batch) -> Mapping[str, NDArray[np.uint8]]:
        """Pictures of a held-out sample, (height, width, 3) each, by name."""
        return {}

    def prepare(self, model: nn.Module) -> bool:
        """Fill in what a fresh model needs before the first update, such as a part that is solved for.

        Called on one process, with the model on its device; not for one that goes on from a saved state.

        Returns:
            Whether anything changed.
        """
        return False

    def is_closed_form(self, model: nn.Module) -> bool:
        """Whether the model is solved for by `fit`, not descended to."""
        return bool(getattr(model, "closed_form", False))

    def fit(self, model: nn.Module, batches: Iterable[Batch]) -> None:
        """Solve for a closed-form model, in one pass over the training samples, one by one and on its device."""
        raise NotImplementedError(f"{type(self).__name__} has no closed-form training")


def means(rows: Sequence[Row]) -> dict[str, float]:
    """The mean of each measure over the rows that have it, in double precision."""
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, float):
                columns.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in columns.items()}


def ids_of(samples: Samples) -> list[str]:
    """The samples' names; their indices where they have none."""
    given = getattr(samples, "ids", None)
    return [str(name) for name in given] if given is not None else [str(i) for i in range(len(samples))]


def categories_of(samples: Samples) -> list[int]:
    """The samples' categories; 0 where they have none."""
    given = getattr(samples, "categories", None)
    return [int(number) for number in given] if given is not None else [0] * len(samples)


def seeded(*numbers: int) -> None:
    """Seed the generators of torch, on every device, and of numpy, from a tuple of numbers.

    A step's randomness is a function of (seed, epoch, step) in this way: nothing of the generators
    has to be kept for a resumption.
    """
    state = np.random.SeedSequence(numbers).generate_state(2)
    torch.manual_seed(int(state[0]))
    np.random.seed(int(state[1]))  # noqa: NPY002
