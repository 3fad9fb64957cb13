"""What the tasks of images have in common: a network is built, and learns from samples with a truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from hsengine.train.task import Group, Samples, Task


class Supervised(Task):
    """A network, what it learns from and what it is measured on; losses and measures are the subclass's.

    Args:
        build: a fresh network.
        training: samples to learn from.
        held_out: samples to measure on, not changed.
        rate: of the part called `encoder` of the network, relative to the others' rate; 0 freezes it.
    """

    def __init__(self, build: Callable[[], nn.Module], training: Samples, held_out: Samples, *, rate: float = 1.0):
        self._build, self._training, self._held_out, self._rate = build, training, held_out, rate

    def model(self) -> nn.Module:
        """A fresh network."""
        return self._build()

    def training(self) -> Samples:
        """Samples to learn from."""
        return self._training

    def held_out(self) -> Samples:
        """Samples to measure on."""
        return self._held_out

    def groups(self, model: nn.Module) -> Sequence[Group]:
        """The encoder with its own rate, and the rest."""
        encoder = getattr(model, "encoder", None)
        if self._rate == 1.0 or not isinstance(encoder, nn.Module):
            return super().groups(model)
        inside = {id(value) for value in encoder.parameters()}
        rest = [value for value in model.parameters() if id(value) not in inside]
        return [Group(rest), Group(list(encoder.parameters()), scale=self._rate)]
