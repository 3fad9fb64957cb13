"""What a training's numbers follow from: parameters, code and data; and what it ran on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hsengine.base.code import code_hash
from hsengine.base.settings import Train
from hsengine.train.start import fingerprint
from hsengine.train.state import Identity

if TYPE_CHECKING:
    import pandas as pd

    from hsengine.project import Work

# A training that ran out of time goes on from its state with more of it.
_EXTENDABLE = {"max_minutes"}


def identity(work: Work, settings: Train, *, seed: int, entries: Iterable[str]) -> Identity:
    """What finds the saved state of a training again.

    Args:
        work: the training.
        settings: the section `train`.
        seed: of the run.
        entries: the modules from which everything is imported that decides its result.
    """
    configuration = {
        **work.configuration,
        "seed": seed,
        "train": settings.model_dump(mode="json", exclude=_EXTENDABLE),
    }
    start = fingerprint(settings)
    if start is not None:
        configuration["start"] = start
    return Identity(configuration, code(entries), work.data)


def code(entries: Iterable[str]) -> str:
    """Hash of the code that modules run through, and of the libraries that decide the last bits."""
    text = f"{torch.__version__} {np.__version__} {code_hash(entries)}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def content(training: pd.DataFrame, held_out: pd.DataFrame, columns: Sequence[str]) -> str:
    """Hash of what two tables say of their samples in some columns, and of which are held out."""
    tables = [rows[list(columns)].to_csv(index=False, lineterminator="\n") for rows in (training, held_out)]
    return hashlib.blake2b("held out\n".join(tables).encode(), digest_size=16).hexdigest()


def surroundings(packages: Iterable[str]) -> dict[str, Any]:
    """The project's revision, and the versions of Python and of packages."""
    revision = _git("rev-parse", "HEAD")
    return {
        "git_revision": revision,
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if revision else None,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def _git(*arguments: str) -> str | None:
    """What git says about the project; None outside of a repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
