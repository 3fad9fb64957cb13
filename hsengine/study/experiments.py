"""What is known of experiments: those that are done are references of git, the others have a log at most."""

from __future__ import annotations

import csv
import fcntl
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.params import yaml_mapping
from hsengine.base.reading import json_value
from hsengine.study.calls import git

State = Literal["done", "running", "failed"]
_REFS = "refs/exps"


@dataclass(frozen=True)
class Status:
    """What is known of an experiment.

    Attributes:
        name: its name.
        state: how far it is.
        revision: its commit; "" unless it is done.
        baseline: the commit that it was made from; "" unless it is done.
        params: the content of its `params.yaml`; empty unless it is done.
        metrics: the content of its metrics files as far as they have been read, by their paths.
    """

    name: str
    state: State
    revision: str = ""
    baseline: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def measure(self, file: str, name: str) -> float | None:
        """A measure by its dotted name, or None where it is absent or no finite number.

        A number in the name is a place in a list, as in `per_class_iou.4`.
        """
        if file not in self.metrics:
            self.metrics[file] = content(self.revision, file) if self.revision else {}
        value: Any = self.metrics[file]
        for part in name.split("."):
            if isinstance(value, list):
                value = value[int(part)] if part.isdecimal() and int(part) < len(value) else None
            else:
                value = value.get(part) if isinstance(value, Mapping) else None
        sound = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        return float(value) if sound else None


def folder() -> Path:
    """Where logs and copies of the project's experiments are."""
    return Path(".dvc", "tmp", "studies")


def log(name: str) -> Path:
    """What an experiment's last attempt printed."""
    return folder() / f"{name}.log"


def untracked() -> list[str]:
    """Files that git neither knows nor ignores: the copies in which experiments run are without them."""
    return (git("ls-files", "--others", "--exclude-standard") or "").splitlines()


def is_tracked(file: str) -> bool:
    """Whether git knows a file."""
    return bool(git("ls-files", "--", file))


def finished() -> dict[str, tuple[str, str]]:
    """The experiments that are done, whatever commit they were made from: name → baseline and own commit.

    Of several of one name it is the last one.
    """
    found = {}
    listing = git("for-each-ref", "--sort=committerdate", "--format=%(refname) %(objectname)", _REFS) or ""
    for line in listing.splitlines():
        match = re.fullmatch(rf"{_REFS}/([0-9a-f]{{2}})/([0-9a-f]{{38}})/(\S+) ([0-9a-f]+)", line)
        if match:
            found[match[3]] = match[1] + match[2], match[4]
    return found


def read(names: Iterable[str]) -> dict[str, Status]:
    """The experiments of these names that are done, running or failed."""
    done = finished()
    found = {}
    for name in names:
        if name in done:
            baseline, revision = done[name]
            found[name] = Status(name, "done", revision, baseline, content(revision, "params.yaml"))
        elif log(name).is_file():
            found[name] = Status(name, "running" if is_running(name) else "failed")
    return found


def curve(revision: str, name: str, place: str | os.PathLike[str] = paths.CURVES) -> dict[int, float]:
    """A curve of a finished experiment, step → value; empty if there is none in DVC's cache.

    Args:
        revision: the experiment's commit.
        name: such as `val/loss`.
        place: the folder of the curves.
    """
    text = _from_cache(revision, _curve_file(Path(place), name))
    return {} if text is None else _points(text)


def growing_curve(place: str | os.PathLike[str], name: str) -> dict[int, float]:
    """A curve, step → value, as far as it goes in a folder where training runs."""
    try:
        return _points(_curve_file(Path(place), name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def is_running(name: str) -> bool:
    """Whether a process holds the experiment's log."""
    try:
        with log(name).open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # There is no log, or the file system knows no locks.
        return False
    return False


def content(revision: str, file: str) -> Any:
    """A file of YAML or JSON as it is in a commit, or else in DVC's cache; {} where it is missing or no such file."""
    text = git("show", f"{revision}:./{file}")
    if text is None:
        text = _from_cache(revision, Path(file)) or ""
    try:
        return (json_value if file.endswith(".json") else yaml_mapping)(text, file) or {}
    except UserError:
        return {}


def fetch(revision: str, place: Path, to: Path) -> bool:
    """Copy a folder of a finished experiment from DVC's cache, and whether it is there.

    Args:
        revision: the experiment's commit.
        place: the folder in the project.
        to: where the copy goes; it must not be there yet.
    """
    from dvc.api import DVCFileSystem

    try:
        DVCFileSystem(rev=revision, subrepos=True).get(_in_repository(place), str(to), recursive=True)
    except Exception:
        # As in `_from_cache`.
        return False
    return True


def _in_repository(place: Path) -> str:
    """A path of the project in the whole repository, which is what DVC shows of a commit."""
    return Path(git("rev-parse", "--show-prefix") or "", place).as_posix()


def _from_cache(revision: str, file: Path) -> str | None:
    from dvc.api import DVCFileSystem

    try:
        with DVCFileSystem(rev=revision, subrepos=True).open(_in_repository(file), mode="r") as stream:
            return str(stream.read())
    except Exception:
        # DVC and its file systems raise many kinds where a file is missing; a picture does without it.
        return None


def _curve_file(place: Path, name: str) -> Path:
    return place / "plots" / "metrics" / f"{name}.tsv"


def _points(text: str) -> dict[int, float]:
    """The points of a curve; a last line that is still being written is left out."""
    found = {}
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines(), delimiter="\t"):
        values = [value for key, value in row.items() if key != "step"]
        try:
            found[int(row["step"])] = float(values[0])
        except (KeyError, ValueError, TypeError, IndexError):
            continue
    return found
