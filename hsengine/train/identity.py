"""What a training's numbers follow from: parameters, code and data; and what it ran on."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import platform
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hsengine.base.settings import Train
from hsengine.train.start import fingerprint
from hsengine.train.state import Identity

if TYPE_CHECKING:
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
    """Hash of the sources that modules run through, and of the libraries that decide the last bits."""
    digest = hashlib.blake2b(f"{torch.__version__} {np.__version__}".encode(), digest_size=16)
    for name, file in sorted(sources(entries).items()):
        digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def surroundings(packages: Iterable[str]) -> dict[str, Any]:
    """The project's revision, and the versions of Python and of packages."""
    revision = _git("rev-parse", "HEAD")
    return {
        "git_revision": revision,
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if revision else None,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def sources(entries: Iterable[str]) -> dict[str, Path]:
    """The modules of our packages that the entries import, and their files."""
    waiting = list(entries)
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        if name.endswith(".*"):
            init = _file(name.removesuffix(".*"))
            waiting += [f"{name[:-1]}{file.stem}" for file in init.parent.glob("*.py")] if init else []
            continue
        file = _file(name)
        if file is None or name in found:
            continue
        found[name] = file
        waiting += [name.rpartition(".")[0], *_imports(ast.parse(file.read_text(encoding="utf-8")))]
    return found


def _imports(tree: ast.Module) -> Iterator[str]:
    """Names that may be modules, of every import in a source, and those that it declares in `__loads__`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__loads__":
            yield from ast.literal_eval(node.value)


def _file(name: str) -> Path | None:
    """The source of a module of our packages; None for other names."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top) if top in ("hsengine", "hsdata", "hsmodels", "hstasks") else None
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent.joinpath(*rest)
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def _git(*arguments: str) -> str | None:
    """What git says about the project; None outside of a repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
