"""The verb `import-checkpoint`: a published `best.pt` or `last.pt` as a model's folder; nothing pickled is executed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hsengine import folder as folders
from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsengine.card import card
from hstasks import networks
from hstasks.lenses import params, published, scoring
from hstasks.lenses.ensemble import Calibration
from hstasks.lenses.layout import BANDS
from hstasks.lenses.preprocess import PublishedPreprocess
from hstasks.lenses.samples import Sight
from hstasks.lenses.train import ABOUT
from hstasks.networks import convnextv2
from hstasks.networks.weights import read_state


@dataclass(frozen=True)
class Summary:
    """What was imported."""

    folder: Path
    name: str
    values: int
    threshold: float | None = None

    def __str__(self) -> str:
        said = f"{self.name} with {self.values} parameters: {self.folder}\n"
        if self.threshold is None:
            return said + "It has no threshold yet: 'hstasks evaluate' fits one on the validation part."
        return (
            f"{said}threshold {self.threshold:g} of {published.THRESHOLD}, which was fitted on single files: "
            f"{scoring.beside(self.folder)}\n'hstasks evaluate' fits one on the validation objects."
        )


def import_checkpoint(
    path: str | os.PathLike[str], section: params.Published | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A published checkpoint as a network and its record.

    Args:
        path: a file of `torch.save` with a bare state dict (`best.pt`) or with one under `model` (`last.pt`).
        section: the preprocessing that it was trained with, which the file does not say; None: the published one
            of the final recipe.

    Returns:
        A ConvNeXt V2 in evaluation mode, (B, 1, 41, 41) → (B, 1) logits, and a record as training writes it. What
        leaves no trace in weights, the rate of dropped paths, is 0.

    Raises:
        UserError: the file cannot be read as tensors alone, or they are of another network.
    """
    state = read_state(str(path))
    given = convnextv2.infer(state)
    if given is None:
        raise UserError(f"{path} does not hold a ConvNeXt V2 with the published names, such as stages.0.0.grn.gamma.")
    channels, classes = int(given["in_channels"]), int(given["out_channels"])
    if channels not in (1, len(BANDS)) or classes != 1:
        raise UserError(
            f"{path} is of a network of {channels} bands and {classes} outputs: 1 or {len(BANDS)} bands and 1 output "
            "can be used."
        )
    name, own = _named([int(depth) for depth in given["depths"]], [int(width) for width in given["dims"]])
    network = networks.build(name, own, channels, classes)
    if told := folders.faults(network.state_dict(), state):
        raise UserError(f"{path} is no whole ConvNeXt V2: keys {told}.")
    network.load_state_dict(state)
    how = PublishedPreprocess(**(section or params.Published()).model_dump())
    record: dict[str, Any] = {
        "format": 1,
        "challenge": "lenses",
        "task": "classification",
        "model": {"name": name, "params": own, "in_channels": channels, "out_channels": classes},
        "input": Sight(BANDS, channels > 1, how).to_dict(),
        "checkpoints": {"best": {"file": folders.file_of("best")}},
        "training": f"imported {file_hash(path)}",
        "source": Path(path).name,
    }
    return network.eval(), record


def run(
    path: str | os.PathLike[str], folder: Path = paths.MODEL, *, section: params.Published | None = None
) -> Summary:
    """Write a published checkpoint as a model's folder, which `evaluate`, `submit` and `predict` take.

    A `threshold.txt` beside it is stored beside the folder.

    Raises:
        UserError: see `import_checkpoint`; or something else stands at the folder's place, or the threshold is none.
    """
    folders.check_place(folder)
    network, record = import_checkpoint(path, section)
    file = Path(path).parent / published.THRESHOLD
    threshold = published.read_threshold(file) if file.is_file() else None
    folders.save(folder, {"best": network.state_dict()}, record, card(ABOUT["classification"], record))
    if threshold is not None:
        fitted = Calibration("probability", 1.0, threshold, split=f"imported {file_hash(file)}", objects=0, d4=False)
        scoring.write_calibration(scoring.beside(folder), fitted, scoring.members([folder]))
    values = sum(value.numel() for value in network.parameters())
    return Summary(folder, record["model"]["name"], values, threshold)


def _named(depths: list[int], dims: list[int]) -> tuple[str, Mapping[str, Any]]:
    """The network of these depths and widths, and its parameters."""
    for size, known in convnextv2.SIZES.items():
        if (depths, dims) == (list(known[0]), list(known[1])):
            return f"convnextv2_{size}", {"drop_path_rate": 0.0}
    return "convnextv2", {"depths": depths, "dims": dims}
