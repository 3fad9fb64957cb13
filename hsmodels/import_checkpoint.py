"""The verb `import-checkpoint`: from a published checkpoint to a model's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsdata.cube import BAND_GRID
from hsengine import folder
from hsengine.base.errors import UserError
from hsengine.card import card
from hsmodels import zoo
from hsmodels.about import about
from hsmodels.zoo import registry


@dataclass(frozen=True)
class Imported:
    """A folder that was written, and its record."""

    folder: Path
    config: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.config['model']['name']} for track {self.config['track']} in {self.folder}"


def run(file: str | Path, to: str | Path, model: str | None = None) -> Imported:
    """Write a published checkpoint as a model's folder that `hsmodels.load` reads; no code in it is run.

    Args:
        file: see `zoo.import_checkpoint`.
        to: the folder to write; a model that stood there is replaced.
        model: its name, where several have the same keys.

    Raises:
        UserError: see `zoo.import_checkpoint`; no track feeds the model, or its bands are not the challenge's; or
            something else than a model is in the folder.
    """
    folder.check_place(Path(to))
    network, params = zoo.import_checkpoint(file, model)
    name = params.pop("model_name")
    bands = registry.entry(name).bands
    if bands is not None and params[bands] != len(BAND_GRID):
        raise UserError(
            f"{file} is of a model with {params[bands]} bands, whose wavelengths it does not say; only models "
            f"with the {len(BAND_GRID)} bands of the challenge can be written."
        )
    placed = registry.on_track(name, params)
    if placed is None:
        raise UserError(
            f"{file} is of {name} with {params}, which no track's input fits: use it from Python, by "
            "hsmodels.zoo.import_checkpoint."
        )
    track, name, params = placed
    config = {
        "format": 1,
        "model": {"name": name, "params": params},
        "track": track,
        "target": zoo.target_of(name),
        "wavelengths": [float(value) for value in BAND_GRID],
        "checkpoints": {"best": {"file": folder.file_of("best"), "ensemble": False}},
        "imported_from": Path(file).name,
    }
    config = folder.save(Path(to), {"best": network.state_dict()}, config, card(about(config), config))
    return Imported(Path(to), config)
