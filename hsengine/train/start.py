"""A training that starts from the weights of another model (`train.start`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsengine.base.settings import Train
from hsengine.base.wording import some
from hsengine.folder import file_of

BEST = file_of("best")
_NAMED = 5


def fingerprint(settings: Train) -> str | None:
    """Hash of the weights that a training starts from, for its identity; None where it starts from the seed.

    Raises:
        UserError: there are no such weights.
    """
    return file_hash(_file(settings.start)) if settings.start else None


def fill(model: nn.Module, settings: Train, say: Callable[[str], None]) -> None:
    """Put the weights of `train.start` into a model, but for the keys that `train.start_without` names.

    Args:
        model: the part of it that a model's folder holds, see `Task.inner`.
        settings: `start` and `start_without` are read.
        say: is told which keys were taken, left out, or are not in both.

    Raises:
        UserError: the file cannot be read, a pattern names no key, a weight has another shape, or nothing fits.
    """
    assert settings.start is not None
    file = _file(settings.start)
    given, own = _read(file), model.state_dict()
    theirs, mine = some(list(given), _NAMED), some(list(own), _NAMED)
    for pattern in settings.start_without:
        if not any(fnmatchcase(key, pattern) for key in given.keys() | own.keys()):
            raise UserError(
                f"train.start_without: no key of {file} or of the model is like '{pattern}'; there are {mine}."
            )
    left_out = {key for key in own if any(fnmatchcase(key, pattern) for pattern in settings.start_without)}
    taken = [key for key in own if key in given and key not in left_out]
    if not taken:
        raise UserError(
            f"train.start: none of the weights in {file} is for this model: it has {mine}, they are for {theirs}. Name "
            "the folder of a like model, or set train.start to null."
        )
    others = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
        for key in taken
        if given[key].shape != own[key].shape
    ]
    if others:
        raise UserError(
            f"train.start: weights in {file} have another shape: {some(others, _NAMED)}. Give the model the "
            "parameters that it had there, or leave these keys out by train.start_without."
        )
    model.load_state_dict({**own, **{key: given[key] for key in taken}})
    told = {
        "left as they are by train.start_without": sorted(left_out),
        "not in the file and left as they are": [key for key in own if key not in given and key not in left_out],
        "in the file but not in this model": [
            key
            for key in given
            if key not in own and not any(fnmatchcase(key, pattern) for pattern in settings.start_without)
        ],
    }
    rest = "".join(f"; {len(keys)} {what} ({some(keys, _NAMED)})" for what, keys in told.items() if keys)
    say(f"Starting from the weights in {file}: {len(taken)} of the model's {len(own)} keys are taken{rest}.")


def _file(start: str) -> Path:
    """The file of weights that `train.start` means.

    Raises:
        UserError: there is none.
    """
    place = Path(start)
    if place.resolve() == paths.MODEL.resolve():
        raise UserError(
            f"train.start: {paths.MODEL} is what this training writes, and is removed before: copy it to another place "
            "and name that."
        )
    file = place / BEST if place.is_dir() else place
    if file.is_file() and not os.access(file, os.R_OK):
        raise UserError(f"train.start: {file} cannot be read: check its permissions.")
    if not file.is_file():
        raise UserError(
            f"train.start: there are no weights in {place} (no {BEST}): name the folder of a trained model, or set "
            "it to null."
        )
    return file


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(file)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"train.start: {file} cannot be read ({error}): get it again, or train it again.") from error
