"""What a training's numbers follow from, and the record of it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hsengine.base import code
from hsengine.base.files import file_hash
from hsengine.train import Identity
from hsmodels.code import STAGES
from hsmodels.params import Params
from hsmodels.zoo import pretrained

# A training that ran out of time goes on from its state with more of it.
EXTENDABLE = {"max_minutes"}
CONTENT = ["id", "split", "category", "synthetic", "cube_hash", "input_hash"]
PACKAGES = ("torch", "accelerate", "numpy", "zarr", "safetensors", "dvc", "dvclive")


def identity(params: Params, training: pd.DataFrame, held_out: pd.DataFrame) -> Identity:
    """What finds the saved state of a training again.

    Args:
        params: the parameters; those that only the machine cares about are left out.
        training: catalog rows of the samples to learn from.
        held_out: catalog rows of those to measure on.
    """
    given = params.models.get(params.model, {})
    configuration = {
        "track": params.track,
        "seed": params.seed,
        "model": params.model,
        "models": {params.model: given},
        "residual": params.residual,
        "stripes": params.stripes,
        "files": dict(_files(given)),
        "loss": params.loss.model_dump(mode="json"),
        "augment": params.augment.model_dump(mode="json"),
        "train": params.train.model_dump(mode="json", exclude=EXTENDABLE),
        "convert": params.convert.model_dump(mode="json"),
        "predict": {"floor": params.predict.floor},
    }
    return Identity(configuration, code_hash(), data_hash(training, held_out))


def code_hash() -> str:
    """Hash of the code that training runs through, and of the libraries that decide the last bits."""
    text = f"{torch.__version__} {np.__version__} {code.code_hash(STAGES['train'])}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def data_hash(training: pd.DataFrame, held_out: pd.DataFrame) -> str:
    """Hash of the samples' content, and of which are held out."""
    tables = [rows[CONTENT].to_csv(index=False, lineterminator="\n") for rows in (training, held_out)]
    return hashlib.blake2b("held out\n".join(tables).encode(), digest_size=16).hexdigest()


def surroundings() -> dict[str, Any]:
    """Versions of the project and of the packages."""
    revision = _git("rev-parse", "HEAD")
    return {
        "git_revision": revision,
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if revision else None,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _files(given: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Hashes of the files that parameters of a model name; of the weights to start from, wherever they are."""
    for name, value in sorted(given.items()):
        place = Path(value) if isinstance(value, str) else None
        if isinstance(value, str) and name == "pretrained":
            yield name, hashlib.blake2b(pretrained.content(value), digest_size=16).hexdigest()
        elif place is not None and place.is_file():
            yield name, file_hash(place)
        elif place is not None and place.is_dir():
            files = sorted(file for file in place.rglob("*") if file.is_file())
            yield from ((f"{name}/{file.relative_to(place).as_posix()}", file_hash(file)) for file in files)


def _git(*arguments: str) -> str | None:
    """What git says about the project; None outside of a repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
