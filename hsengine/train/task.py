"""What the engine trains: a task says everything that depends on the kind of model and data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsengine.base.errors import UserError

if TYPE_CHECKING:
    from hsengine.train.sampling import Sampler

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


@dataclass(frozen=True)
class Group:
    """Parameters that are trained alike.

    Attributes:
        parameters: of the model; those that want no gradient are passed over.
        scale: their learning rate is the schedule's times this; 0: they stay as they are.
        weight_decay: their own; None: `train.weight_decay`.
    """

    parameters: Sequence[nn.Parameter]
    scale: float = 1.0
    weight_decay: float | None = None


class Task(ABC):
    """One kind of training: a model, two data sets, a loss and measures.

    Attributes:
        directions: for each measure that a sample can have, whether less or more of it is better.
        watch: the measure that decides which epoch was best, unless `train.watch` names another.
        advice: what a user of this task can do about a fault: `memory`, where the device has too little of it, a
            parameter and what to set it to.
    """

    directions: ClassVar[Mapping[str, Direction]] = {"loss": "min"}
    watch: str = "loss"
    advice: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def model(self) -> nn.Module:
        """A fresh model. It is called with the generators seeded: its weights follow from the seed alone."""

    @abstractmethod
    def training(self) -> Samples:
        """The samples to learn from."""

    @abstractmethod
    def held_out(self) -> Samples:
        """The samples to measure on, with keys (0, index, 0)."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of each sample of a batch, (B,), and its parts by name, each (B,)."""

    def progress(self, done: float) -> None:  # noqa: B027
        """Hear which share of the training is done, 0 to 1, before each update; 1 before measuring."""

    def groups(self, model: nn.Module) -> Sequence[Group]:
        """The model's parameters, in groups with learning rates and weight decays of their own.

        Every parameter that wants a gradient is in one of them. It is asked again for a model whose parameters were
        replaced (`machine.launch.shard`): groups follow from the names of the parameters or from the modules.
        """
        return [Group([parameter for parameter in model.parameters() if parameter.requires_grad])]

    def sampler(
        self, ids: Sequence[str], categories: Sequence[int], *, seed: int, epochs: int, size: int | None
    ) -> Sampler:
        """What `train.sampling: task` draws the training samples by.

        Args:
            ids: names of the training samples.
            categories: category of each.
            seed: the run's seed.
            epochs: length of the training.
            size: visits that an epoch must have, where `train.updates` says so; None leaves that to the sampler.

        Raises:
            UserError: the task has no sampler of its own.
        """
        raise UserError("train.sampling: 'task' is for tasks that have a sampler of their own; this one has none.")

    def updated(self, model: nn.Module) -> None:  # noqa: B027
        """Hear that the weights changed, after each update, on every process: the place to move a teacher along."""

    def epoch_ended(self, model: nn.Module, epoch: int, rows: Sequence[Row]) -> None:  # noqa: B027
        """Hear the held-out samples' measures after an epoch, on every process: the place for new pseudo-labels.

        Readers of other processes have copies of the data sets: what changes here is for `losses` to use.

        Args:
            model: in evaluation mode, with the weights of the last update, not their moving average.
            epoch: the one that ended.
            rows: sorted by id.
        """

    def state_dict(self) -> Mapping[str, Any]:
        """What the task has learnt on the way, as tensors and plain values; equal on all processes.

        It is kept with the state of the training, so that one that was killed goes on to the same result.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Put back what `state_dict` gave; its tensors are on the CPU."""

    def inner(self, model: nn.Module) -> nn.Module:
        """The part of a model whose state its folder holds; `train.start` fills this part."""
        return model

    def measures(self, model: nn.Module, batch: Batch, *, full: bool) -> list[dict[str, float]]:
        """Each sample's measures; `loss` is among them.

        Args:
            model: in evaluation mode, without gradients.
            batch: held-out samples of one size, `machine.measure_batch` of them at most.
            full: whether the expensive measures are wanted too.
        """
        losses, parts = self.losses(model, batch)
        columns = {"loss": losses, **parts}
        return [{name: float(values[i]) for name, values in columns.items()} for i in range(len(losses))]

    def summary(self, rows: Sequence[Row]) -> dict[str, float]:
        """Measures of the whole held-out set, from rows sorted by id. Names may hold slashes."""
        return means(rows)

    def pictures(self, model: nn.Module, batch: Batch) -> Mapping[str, NDArray[np.uint8]]:
        """Pictures of one held-out sample, a batch of one: (height, width, 3) each, by name."""
        return {}

    def prepare(self, model: nn.Module) -> bool:
        """Fill in what a fresh model needs before the first update, such as a part that is solved for.

        Called on one process, with the model on its device; not for one that goes on from a saved state.
        The others get the model's weights and, by `load_state_dict`, the task's state.

        Returns:
            Whether anything changed.
        """
        return False

    def is_closed_form(self, model: nn.Module) -> bool:
        """Whether the model is solved for by `fit`, not trained by descent."""
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
