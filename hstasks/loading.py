"""From a model's folder back to the network, whatever its task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from hsengine import folder as folders
from hsengine import sources
from hsengine.base import paths
from hsengine.export.description import is_exported
from hstasks import exported, networks


class Network(folders.Model):
    """What a record says of a network of this package."""

    in_channels: int
    out_channels: int


class Record(folders.Record):
    """What is read of a record of this package."""

    challenge: str
    task: str
    model: Network


def load(
    source: str | Path = paths.MODEL, which: str = "best", *, sha256: str | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A trained model and its record.

    Args:
        source: a folder that training wrote, a hub's copy of one, or an address with a hash (see
            `hsengine.sources.local`); or a file that `export` wrote.
        which: `best`, `last`, or another checkpoint that the record names; a file holds one.
        sha256: of the weights, where the address does not say it.

    Returns:
        The network in evaluation mode on the CPU. And the content of `config.json`, with the chosen
        checkpoint's part of it under `checkpoint`.

    Raises:
        UserError: the folder is not a trained model's, or its weights are of another network; or see
            `hsengine.sources.local`.
    """
    place = sources.local(source, sha256)
    said = folders.read(place, Record)
    if is_exported(place):
        return exported.network(place, said.task), folders.record(place)
    given = networks.parameters(said.model.name, said.model.params)
    if "weights" in given:
        # They come from the folder: nothing is downloaded.
        given["weights"] = "random"
    model = networks.build(said.model.name, given, said.model.in_channels, said.model.out_channels)
    folders.fill(model, folders.state(place, which), place / folders.file_of(which), said.model.name)
    config = folders.record(place)
    return model.eval(), config | {"checkpoint": {"which": which, **said.checkpoints.get(which, {})}}
