"""What DVC and git know of experiments.

`dvc exp show` tells the parameters and results. A finished experiment is a git reference, which is cheap to look for.
"""

from __future__ import annotations

import csv
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.study.calls import dvc, git, reason
from hsengine.study.queue import runs

State = Literal["done", "running", "queued", "failed"]
_REFS = "refs/exps"
_HURRIED = 5
"""Attempts at a listing: DVC's fails while an experiment is being set up."""


@dataclass(frozen=True)
class Record:
    """What DVC knows of an experiment.

    Attributes:
        name: its name.
        state: how far it is.
        revision: its commit.
        baseline: the commit that it was made from.
        params: the content of its `params.yaml`.
        metrics: the content of its metrics files, by their paths; empty unless it is done.
    """

    name: str
    state: State
    revision: str
    baseline: str
    params: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]

    def measure(self, file: str, name: str) -> float | None:
        """A measure by its dotted name, or None where it is absent or no finite number."""
        value: Any = self.metrics.get(file, {})
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        sound = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        return float(value) if sound else None


def check_project() -> None:
    """See that experiments can be made here.

    Raises:
        UserError: this is not the folder of a project of DVC and git with a commit.
    """
    if not Path(".dvc").is_dir():
        raise UserError("This folder has no .dvc: run the command in the project's folder, or make one by 'dvc init'.")
    if git("rev-parse", "--verify", "--quiet", "HEAD") is None:
        raise UserError("Experiments start from a git commit, and there is none: commit the project first.")


def untracked() -> list[str]:
    """Files that git neither knows nor ignores: the copies in which experiments run are without them."""
    return (git("ls-files", "--others", "--exclude-standard") or "").splitlines()


def is_tracked(file: str) -> bool:
    """Whether git knows a file."""
    return bool(git("ls-files", "--", file))


def finished() -> dict[str, str]:
    """The names of the experiments that are done, whatever commit they were made from, and their commits."""
    return {name: revision for name, _, revision in _references()}


def snapshot() -> str:
    """A text that changes when an experiment ends."""
    return git("for-each-ref", "--format=%(refname) %(objectname)", _REFS) or ""


def read(names: Iterable[str]) -> dict[str, Record]:
    """The experiments of these names that are done, running, queued or failed.

    Raises:
        UserError: DVC cannot list its experiments.
    """
    wanted = set(names)
    baselines = _baselines(wanted)
    if not baselines:
        return {}
    revisions = [word for baseline in sorted(baselines) for word in ("--rev", baseline)]
    found: dict[str, Record] = {}
    order = ("failed", "queued", "running", "done")
    for group in json.loads(_listing(revisions)):
        for row in group.get("experiments") or []:
            record = _record(row, group["rev"])
            if record is None or record.name not in wanted:
                continue
            known = found.get(record.name)
            if known is None or order.index(record.state) >= order.index(known.state):
                found[record.name] = record
    return found


def curve(revision: str, name: str, folder: str | os.PathLike[str] = paths.CURVES) -> dict[int, float]:
    """A curve of a finished experiment, step → value; empty if there is none in DVC's cache.

    Args:
        revision: the experiment's commit.
        name: such as `val/SSC`.
        folder: the folder of the curves.
    """
    from dvc.api import DVCFileSystem

    place = _curve_file(Path(folder), name).as_posix()
    try:
        with DVCFileSystem(rev=revision).open(place, mode="r") as stream:
            return _points(stream)
    except Exception:
        # DVC and its file systems raise many kinds where a file is missing; a picture does without it.
        return {}


def growing_curve(folder: str | os.PathLike[str], name: str) -> dict[int, float]:
    """A curve, step → value, as far as it goes in a folder where training runs."""
    try:
        with _curve_file(Path(folder), name).open(encoding="utf-8") as stream:
            return _points(stream)
    except (OSError, ValueError):
        return {}


def _listing(revisions: Sequence[str]) -> str:
    for attempt in range(_HURRIED):
        code, listing, complaint = dvc("exp", "show", "--json", "--hide-workspace", *revisions, check=False)
        if code == 0:
            return listing
        time.sleep(attempt)
    raise UserError(
        f"DVC cannot list the experiments: {reason(complaint)} If no experiment runs, a worker was killed in the "
        "middle of one: 'dvc queue status' shows it as running, and 'dvc queue kill NAME' takes it off."
    )


def _record(row: Mapping[str, Any], baseline: str) -> Record | None:
    first = (row.get("revs") or [{}])[0]
    executor = row.get("executor") or {}
    name, data = row.get("name") or first.get("name"), first.get("data")
    if not name or not isinstance(data, Mapping):
        return None
    states: dict[str, State] = {"running": "running", "queued": "queued", "failed": "failed"}
    state: State = states.get(str(executor.get("state")), "done")
    metrics = {} if state != "done" else _contents(data.get("metrics"))
    params = _numbered(_contents(data.get("params")).get("params.yaml", {}))
    return Record(str(name), state, str(first.get("rev")), baseline, params, metrics)


def _contents(files: Any) -> dict[str, dict[str, Any]]:
    return {name: part["data"] for name, part in (files or {}).items() if isinstance(part.get("data"), dict)}


def _numbered(value: Any) -> Any:
    """A mapping whose keys are whole numbers again, which JSON made texts of."""
    if isinstance(value, Mapping):
        return {int(key) if key.isdecimal() else key: _numbered(part) for key, part in value.items()}
    return value


def _baselines(names: set[str]) -> set[str]:
    """The commits that experiments of these names were made from, as far as can be told."""
    found = {baseline for name, baseline, _ in _references() if name in names}
    found |= {run.baseline for run in runs() if run.name in names and git("cat-file", "-t", run.baseline)}
    for stash in ("stash", "failed"):
        log = git("log", "--walk-reflogs", "--format=%gs", f"{_REFS}/celery/{stash}", "--") or ""
        for line in log.splitlines():
            # commit: dvc-exp:<head>:<baseline>:<name>
            match = re.search(r"dvc-exp:[0-9a-f]+:([0-9a-f]{40}):(.+)$", line)
            if match and match[2].partition(":")[0] in names:
                found.add(match[1])
    return found


def _references() -> Iterator[tuple[str, str, str]]:
    """Name, baseline and commit of the experiments that are done."""
    for line in snapshot().splitlines():
        match = re.fullmatch(rf"{_REFS}/([0-9a-f]{{2}})/([0-9a-f]{{38}})/(\S+) ([0-9a-f]+)", line)
        if match:
            yield match[3], match[1] + match[2], match[4]


def _curve_file(folder: Path, name: str) -> Path:
    return folder / "plots" / "metrics" / f"{name}.tsv"


def _points(stream: IO[str]) -> dict[int, float]:
    """The points of a curve; a last line that is still being written is left out."""
    found = {}
    text = stream.read()
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines(), delimiter="\t"):
        values = [value for key, value in row.items() if key != "step"]
        try:
            found[int(row["step"])] = float(values[0])
        except (KeyError, ValueError, TypeError, IndexError):
            continue
    return found
