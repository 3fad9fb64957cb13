"""Trained models as one predictor, with a record of what it is made of."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsdata import layout
from hsengine import sources
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsengine.base.params import validated
from hsengine.export.description import beside, is_exported
from hsengine.folder import CONFIG, file_of, read
from hsengine.predict import Ensemble, Moments, device_of
from hsengine.predict.run import device_named
from hsmodels import checkpoint, zoo
from hsmodels.inference import cubes
from hsmodels.inference.weights import summary
from hsmodels.params import Params, Predict


@dataclass(frozen=True)
class Predictor:
    """One model, or several of the same track.

    Attributes:
        members: the models, in evaluation mode and on their device.
        records: what each member is: its folder, weights and training, for provenance.
        track: whose inputs the members take.
        input: what they take of it: the track's own, or the full-size RGB.
        target: what they predict: cubes (`hsi_61`), or full-size RGB where they are a first stage.
        wavelengths: (bands,) nm, of the cubes that they give.
        settings: how inputs are taken and outputs finished.
        weights: (members, bands), or None for the mean.
    """

    members: Sequence[nn.Module]
    records: Sequence[Mapping[str, Any]]
    track: layout.Track
    target: layout.Target
    wavelengths: NDArray[np.float64]
    settings: Predict
    weights: NDArray[np.float64] | None = None
    input: layout.Input = "track"

    @property
    def device(self) -> torch.device:
        """Where the members compute."""
        return device_of(self.members[0], torch.empty(0))

    @property
    def model(self) -> nn.Module:
        """The members as one model."""
        return self.members[0] if len(self.members) == 1 else self.weighted(self.weights)

    @property
    def trained_on(self) -> list[str | None]:
        """The hash of the samples that each member was trained on; None where its record does not say."""
        return [record["data_hash"] for record in self.records]

    def weighted(self, weights: NDArray[np.float64] | None) -> nn.Module:
        """The members as one model with weights (members, bands), or their mean."""
        return Ensemble(self.members, weights).to(self.device)

    def __call__(self, input: Tensor, model: nn.Module | None = None) -> Tensor:
        """The finished cube (bands, H, W) of an input (C, h, w)."""
        return cubes.reconstruct(self.model if model is None else model, input, self.settings, self.wavelengths)

    def moments(self, input: Tensor, truth: Tensor) -> Moments:
        """What fitting the weights needs of a held-out sample: input (C, h, w), truth (bands, H, W)."""
        chosen = self.settings
        predictions = [
            cubes.predict(
                member, input, tile=chosen.tile, overlap=chosen.overlap, tta=chosen.tta, precision=chosen.precision
            )
            for member in self.members
        ]
        return Moments.of(predictions, truth)

    def provenance(self) -> dict[str, Any]:
        """What a prediction was computed from and how; the same each time."""
        chosen = self.settings
        return {
            "track": self.track,
            "ensemble": len(self.members) > 1,
            **summary(self.weights, len(self.members)),
            "models": [dict(record) for record in self.records],
            "checkpoint": chosen.checkpoint,
            "test_time_augmentation": "mean of 8 flips and turns" if chosen.tta else "none",
            "floor": chosen.floor,
            "ceiling": 1.0,
            "consistent": chosen.consistent,
            "tile": chosen.tile,
            "overlap": chosen.overlap,
            "precision": chosen.precision,
            "wavelengths_nm": [float(value) for value in self.wavelengths],
        }


def load(
    folders: Iterable[str | os.PathLike[str]],
    settings: Predict | None = None,
    *,
    sha256: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    weights: NDArray[np.float64] | None = None,
    device: torch.device | str | None = None,
) -> Predictor:
    """Load trained models as one predictor.

    Args:
        folders: what training wrote, addresses (see `hsengine.sources.local`), or files that `export` wrote; several
            make an ensemble.
        settings: how to predict; by default as the first model's parameters say.
        sha256: of the weights of one model, where its address does not say it.
        overrides: keys of `predict` that replace those of `settings`.
        weights: (members, bands) of an ensemble; None for the mean.
        device: where to compute; a GPU if there is one by default.

    Raises:
        UserError: a folder holds no model, the models are of different tracks, bands or targets, the weights are
            for other models, or a setting is not allowed.
    """
    named = list(folders)
    places = sources.locals_of(named, sha256)
    if settings is None:
        settings = settings_of(places[0])
    if overrides:
        _check_overrides(places, overrides)
    settings = validated(Predict, settings.model_dump() | dict(overrides or {}), "The settings of the prediction")
    where = device_named(device)
    members, records, configs = [], [], []
    for name, place in zip(named, places, strict=True):
        model, config = checkpoint.load(place, settings.checkpoint)
        members.append(model.to(where))
        configs.append(config)
        records.append(_record(sources.shown(name), place, settings.checkpoint, config))
        _check_same(configs[0], config, (places[0], place))
    wavelengths = np.asarray(configs[0]["wavelengths"], dtype=np.float64)
    if weights is not None and weights.shape != (len(members), len(wavelengths)):
        raise UserError(
            f"The weights are for {weights.shape[0]} models of {weights.shape[1]} bands, but here are {len(members)} "
            f"of {len(wavelengths)}: give the models that they were fitted for, in that order."
        )
    track, input = configs[0]["track"], records[0]["input"]
    return Predictor(members, records, track, records[0]["target"], wavelengths, settings, weights, input)


def require_cubes(predictor: Predictor) -> None:
    """Refuse a first stage.

    Raises:
        UserError: the predictor makes something else than cubes.
    """
    if predictor.target != layout.CUBES:
        first = predictor.records[0]
        raise UserError(
            f"The model '{first['name']}' in {first['folder']} predicts {predictor.target}, not cubes: it is a first "
            "stage; train the model that builds on it."
        )


def of_params(params: Params, model: str | os.PathLike[str]) -> Predictor:
    """The predictor of `params.yaml`: the trained model, and `predict.models` with it.

    Raises:
        UserError: a model is of another track than `track`, or see `load`.
    """
    predictor = load([model, *params.predict.models], params.predict)
    if predictor.track != params.track:
        raise UserError(
            f"The model in {model} was trained for track {predictor.track}, but params.yaml says track {params.track}: "
            "train again ('dvc repro'), or set 'track'."
        )
    if predictor.input != params.input:
        raise UserError(
            f"The model in {model} takes the input '{predictor.input}', but params.yaml says '{params.input}': "
            "train again ('dvc repro'), or set 'input'."
        )
    return predictor


def settings_of(place: Path) -> Predict:
    """How a trained model predicts, as its parameters say; which others go with it is for the caller to say.

    Raises:
        UserError: the folder is not a trained model's, or its record is damaged.
    """
    predict = read(place, checkpoint.Record).params.predict
    stored = {key: value for key, value in predict.items() if key not in ("models", "weights")}
    return validated(Predict, stored, f"{place}/{CONFIG}, block predict,")


def _check_overrides(places: Sequence[Path], overrides: Mapping[str, Any]) -> None:
    """Refuse what an exported file has fixed.

    Raises:
        UserError: names the setting and the file.
    """
    for place in filter(is_exported, places):
        fixed = {"precision": "no", "checkpoint": read(place, checkpoint.Record).params.predict.get("checkpoint")}
        for key, value in fixed.items():
            if overrides.get(key, value) != value:
                raise UserError(
                    f"--{key} {overrides[key]}: {place} was exported with its checkpoint and arithmetic fixed "
                    f"({key} '{value}'); leave the option out, or export again."
                )


def _record(source: str, place: Path, which: checkpoint.Which, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a member is; the hash says which weights exactly."""
    weights, described = (place, beside(place)) if is_exported(place) else (place / file_of(which), place / CONFIG)
    return {
        "folder": source,
        "weights_file": weights.name,
        "weights_blake2b": file_hash(weights),
        "config_blake2b": file_hash(described),
        "name": config["model"]["name"],
        "title": zoo.title(config["model"]),
        "params": config["model"]["params"],
        "residual": config["model"].get("residual", "none"),
        "stripes": bool(config["model"].get("stripes", 0)),
        "basis": config["model"].get("basis", 0),
        "input": config.get("input", "track"),
        "target": zoo.target_of(config["model"]["name"]),
        "checkpoint": config["checkpoint"],
        "data_hash": config.get("data", {}).get("hash"),
    }


def _check_same(first: Mapping[str, Any], second: Mapping[str, Any], places: tuple[Path, Path]) -> None:
    """Refuse members that do not go together."""
    targets = [zoo.target_of(config["model"]["name"]) for config in (first, second)]
    same = {
        "track": first["track"] == second["track"],
        "input": first.get("input", "track") == second.get("input", "track"),
        "bands": first["wavelengths"] == second["wavelengths"],
        "target": targets[0] == targets[1],
    }
    for what, is_same in same.items():
        if not is_same:
            raise UserError(
                f"The models in {places[0]} and {places[1]} are not of the same {what}: an ensemble needs models of "
                "one track, one input, one band grid and one target."
            )
