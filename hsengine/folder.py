"""The folder of a trained model: weights, and the record of what they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from hsengine.base import paths, reading
from hsengine.base.errors import UserError
from hsengine.base.files import check_own, replacing, write_json, write_text
from hsengine.base.params import Section, validated
from hsengine.base.wording import some
from hsengine.card import FILE as CARD
from hsengine.card import digest
from hsengine.export import description

CONFIG = "config.json"
FILES = {"best": "model.safetensors", "last": "last.safetensors"}
"""Files of the checkpoints that every training makes; any other is in `<its name>.safetensors`."""

_SUFFIX = ".safetensors"
# Entry of the record: which model card was written with it.
_CARD = "card"
_SHOWN = 5


class Open(Section):
    """A part of a record: what is read of it is checked, and what else there is may be."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


class Model(Open):
    """What network a record is of: its name, and the parameters that differ from its defaults."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)


class Data(Open):
    """What samples a model was trained on."""

    hash: str | None = None


class Record(Open):
    """What is read of any model's `config.json`; projects add what they read."""

    model: Model
    checkpoints: dict[str, dict[str, Any]] = Field(default_factory=dict)
    data: Data = Data()


AnyRecord = TypeVar("AnyRecord", bound=Record)


def file_of(which: str) -> str:
    """The file of a checkpoint's weights in a model's folder."""
    return FILES.get(which, f"{which}{_SUFFIX}")


def check_place(folder: Path) -> None:
    """See that a model's folder can be written at a place without the loss of anything else.

    Raises:
        UserError: something stands there that is neither an empty folder nor a model's, or a model card that is not
            the one that was written with the model.
    """
    check_own(folder, CONFIG, "a trained model's folder", holds=(f"*{_SUFFIX}", CARD))
    found = record(folder) if (folder / CONFIG).exists() else {"model": {"name": ""}}
    model = found.get("model")
    if not (isinstance(model, dict) and isinstance(model.get("name"), str)):
        raise UserError(f"{folder / CONFIG} is not a trained model's: name another place, or move what is there.")
    card = folder / CARD
    if os.path.lexists(card) and not (card.is_file() and found.get(_CARD) == digest(card.read_bytes())):
        raise UserError(
            f"{card} is not the one that was written with this model, and would be lost: move it away, or name "
            "another place."
        )


def save(
    folder: Path, weights: Mapping[str, Mapping[str, Tensor]], config: Mapping[str, Any], card: str | None = None
) -> dict[str, Any]:
    """Write a model's folder, whole or not at all.

    Args:
        folder: its place; a model that stood there is replaced.
        weights: the network's state of each checkpoint: `best`, and `last` and others where there are any.
        config: the record, which `Record` can read.
        card: the model card, which becomes `README.md`; None for none.

    Returns:
        The record as it was written: with a card, it says which.

    Raises:
        UserError: something else stands there (see `check_place`), the disk is full or the place cannot be written.
    """
    check_place(folder)
    with replacing(folder) as scratch:
        scratch.mkdir()
        for which, values in weights.items():
            tensors = {plain(name): value.detach().cpu().clone().contiguous() for name, value in values.items()}
            # As bytes first: a full disk then shows as an OSError.
            (scratch / file_of(which)).write_bytes(safetensors.torch.save(tensors))
        written = dict(config)
        if card is not None:
            write_text(scratch / CARD, card)
            written[_CARD] = digest(card)
        write_json(scratch / CONFIG, written)
    return written


def record(folder: str | Path = paths.MODEL) -> dict[str, Any]:
    """The content of a model folder's `config.json`; of an exported file, what it was of the folder it was made from.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if description.is_exported(folder):
        return dict(description.content(folder)["record"])
    file = Path(folder) / CONFIG
    if (Path(folder).is_dir() and not file.exists()) or not os.path.lexists(folder):
        raise UserError(
            f"There is no trained model in {folder} (no {CONFIG}): train one with 'dvc repro', or name another folder."
        )
    config = reading.parsed_json(file, "the record of a trained model")
    if not isinstance(config, dict):
        raise UserError(f"{file} is not a model's record: train again, or get the file again.")
    return config


def read(folder: str | Path, schema: type[AnyRecord]) -> AnyRecord:
    """The content of a model folder's `config.json`, checked.

    Raises:
        UserError: see `record`; or names each entry that is not as the schema has it.
    """
    return validated(schema, record(folder), f"{Path(folder) / CONFIG} does not say what model this is: it")


def state(folder: str | Path, which: str = "best") -> dict[str, Tensor]:
    """The weights of a checkpoint, by the network's keys.

    Raises:
        UserError: there are none, or they cannot be read.
    """
    file = Path(folder) / file_of(which)
    try:
        # As bytes: the library calls a file missing that may not be read.
        reading.check_kind(file)
        return safetensors.torch.load(file.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} has no checkpoint '{which}': there is no {file.name} in it.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): check its permissions.") from error
    except safetensors.SafetensorError as error:
        raise UserError(f"{file} cannot be read ({error}): train again, or get the file again.") from error


def fill(network: nn.Module, weights: Mapping[str, Tensor], source: str | Path, name: str) -> None:
    """Load weights that must fit.

    Args:
        network: gets them.
        weights: its whole state.
        source: where they are from, for the message.
        name: what the network is.

    Raises:
        UserError: names the keys that are missing, too many, or of another shape or kind of numbers.
    """
    given = {plain(key): value for key, value in weights.items()}
    told = faults(network.state_dict(), given)
    if told:
        raise UserError(
            f"{source} holds the weights of another model than '{name}' of {CONFIG} beside it: keys {told}. "
            "Put the files of one training together."
        )
    network.load_state_dict(given)


def faults(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Where weights do not fit a network, in words; empty where they do."""
    both = sorted(wanted.keys() & found.keys())
    lists = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unknown": sorted(found.keys() - wanted.keys()),
        "of another shape": [
            f"{key} {tuple(found[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in both
            if found[key].shape != wanted[key].shape
        ],
        "of another type": [
            f"{key} {_type(found[key])} instead of {_type(wanted[key])}"
            for key in both
            if found[key].is_floating_point() != wanted[key].is_floating_point()
        ],
    }
    return "; ".join(f"{len(keys)} {fault} ({some(keys, _SHOWN)})" for fault, keys in lists.items() if keys)


def plain(key: str) -> str:
    """A key without what DistributedDataParallel and torch.compile put into it."""
    return ".".join(part for part in key.removeprefix("module.").split(".") if part != "_orig_mod")


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix(f"{torch.__name__}.")
