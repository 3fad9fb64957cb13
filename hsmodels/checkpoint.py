"""The folder of a trained model: weights, and the record of what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import safetensors
import safetensors.torch
from torch import Tensor, nn

from hsdata import paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json
from hsmodels import zoo

Which = Literal["best", "last"]

CONFIG = "config.json"
WEIGHTS: dict[Which, str] = {"best": "model.safetensors", "last": "last.safetensors"}
_NAMED = 5


def save(folder: Path, weights: Mapping[Which, Mapping[str, Tensor]], config: Mapping[str, Any]) -> None:
    """Write a model's folder, whole or not at all.

    Args:
        folder: its place; what stood there is replaced.
        weights: state of the network, as `zoo.inner` of the model gives it, of each checkpoint.
        config: the record; `load` reads `model` (name, params; residual, stripes), `track` and `wavelengths` of it,
            and `checkpoints.<which>` where it is there.

    Raises:
        UserError: the disk is full or the place cannot be written.
    """
    with replacing(folder) as scratch:
        scratch.mkdir()
        for which, state in weights.items():
            tensors = {_plain(name): value.detach().cpu().clone().contiguous() for name, value in state.items()}
            # As bytes first: a full disk then shows as an OSError.
            (scratch / WEIGHTS[which]).write_bytes(safetensors.torch.save(tensors))
        write_json(scratch / CONFIG, config)


def load(folder: str | Path = paths.MODEL, which: Which = "best") -> tuple[nn.Module, dict[str, Any]]:
    """A trained model and its record.

    Args:
        folder: a folder that training wrote.
        which: `best`, the checkpoint with the best watched measure, or `last`.

    Returns:
        The model in evaluation mode on the CPU, taking the track's batches: (B, 1, H, W) mosaics or
        (B, 3, H, W) RGB in [0, 1]. And the content of `config.json`, with the chosen checkpoint's
        part of it under `checkpoint`.

    Raises:
        UserError: the folder is not a trained model's, or its weights are of another model.
    """
    place = Path(folder)
    if which not in get_args(Which):
        raise UserError(f"There is no checkpoint '{which}'; choose 'best' or 'last'.")
    config = record(place)
    file = place / WEIGHTS[which]
    try:
        state = safetensors.torch.load_file(file)
    except FileNotFoundError:
        raise UserError(f"{place} has no checkpoint '{which}': there is no {file.name} in it.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{file} cannot be read ({error}): train again, or get the file again.") from error
    try:
        name, params, track = config["model"]["name"], config["model"]["params"], config["track"]
        bands = len(config["wavelengths"])
        around = {key: config["model"][key] for key in ("residual", "stripes") if key in config["model"]}
    except (KeyError, TypeError) as error:
        raise UserError(f"{place / CONFIG} does not say what model this is ({error} is missing).") from None
    model = zoo.for_track(name, track, params, bands=bands, trained=True, **around)
    _fill(zoo.inner(model), state, file, name)
    chosen = config.get("checkpoints", {}).get(which, {})
    return model.eval(), config | {"checkpoint": {"which": which, **chosen}}


def record(folder: str | Path = paths.MODEL) -> dict[str, Any]:
    """The content of a model folder's `config.json`.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    file = Path(folder) / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"There is no trained model in {folder} (no {CONFIG}): train one with 'dvc repro' or 'hsmodels train', "
            "or name another folder."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): train again, or get the file again.") from error
    if not isinstance(config, dict):
        raise UserError(f"{file} is not a model's record: train again, or get the file again.")
    return config


def _fill(network: nn.Module, state: Mapping[str, Tensor], file: Path, name: str) -> None:
    """Load weights that must fit.

    Raises:
        UserError: names the keys that are missing, too many, or of another shape.
    """
    wanted = network.state_dict()
    state = {_plain(key): value for key, value in state.items()}
    faults = {
        "missing": sorted(wanted.keys() - state.keys()),
        "unknown": sorted(state.keys() - wanted.keys()),
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in sorted(wanted.keys() & state.keys())
            if wanted[key].shape != state[key].shape
        ],
    }
    told = [f"{len(keys)} {fault} ({_listed(keys)})" for fault, keys in faults.items() if keys]
    if told:
        raise UserError(
            f"{file} holds the weights of another model than '{name}' of {CONFIG} beside it: keys {'; '.join(told)}. "
            "Put the files of one training together."
        )
    network.load_state_dict(state)


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:_NAMED]) + (", ..." if len(keys) > _NAMED else "")


def _plain(key: str) -> str:
    """A key without what DistributedDataParallel and torch.compile put into it."""
    return ".".join(part for part in key.removeprefix("module.").split(".") if part != "_orig_mod")
