"""DVC's queue: what is in it, adding to it, and the copies of the project in which its experiments run.

Each experiment runs in a copy made by git: files that git ignores or does not know are not in it, and data come from
DVC's cache.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hsengine.base.errors import UserError
from hsengine.study.calls import dvc, environment, reason

_RUNS = Path(".dvc/tmp/exps/run")


@dataclass(frozen=True)
class Entry:
    """A row of `dvc queue status`."""

    revision: str
    name: str
    status: str


@dataclass(frozen=True)
class Queue:
    """DVC's queue at a moment: its rows, and how many workers are at an experiment."""

    entries: tuple[Entry, ...]
    active: int

    def of(self, name: str, *statuses: str) -> list[Entry]:
        """The rows of an experiment in one of the given states."""
        return [entry for entry in self.entries if entry.name == name and entry.status in statuses]


def look() -> Queue:
    """The rows of DVC's queue."""
    _, text, _ = dvc("queue", "status")
    entries = []
    for line in text.splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        if len(cells) == 4 and re.fullmatch(r"[0-9a-f]{7,}", cells[0]):
            entries.append(Entry(cells[0], cells[1], cells[3]))
    active = re.search(r"Worker status: (\d+) active", text)
    return Queue(tuple(entries), int(active[1]) if active else 0)


def start(jobs: int) -> None:
    """See that `jobs` workers take experiments from the queue; they end when it is empty."""
    dvc("queue", "start", "--jobs", str(jobs))


def forget(names: Sequence[str]) -> None:
    """Take ended experiments out of the queue's list, so that they can be queued again."""
    if names:
        dvc("queue", "remove", *names)


def give_up(name: str) -> None:
    """Tell DVC that an experiment whose worker is gone will not end any more."""
    dvc("queue", "kill", name, check=False)


def add(experiments: Iterable[tuple[str, Sequence[str]]], target: str) -> Iterator[str]:
    """Put experiments into DVC's queue.

    While one is added, DVC puts the project's uncommitted changes aside and back again: each is added
    to its end, even on Ctrl-C.

    Args:
        experiments: names, and what they set: see `overrides`.
        target: the stage to run.

    Yields:
        The name of each one that was added.

    Raises:
        UserError: DVC refuses one.
    """
    with tempfile.TemporaryFile("w+") as log, _adding(log) as process:
        assert process.stdin is not None and process.stdout is not None
        for name, changes in experiments:
            words = [word for change in changes for word in ("-S", change)]
            process.stdin.write(json.dumps(["exp", "run", "--queue", "--name", name, *words, target]) + "\n")
            process.stdin.flush()
            if process.stdout.readline().strip() != "0":
                process.stdin.close()
                process.wait()
                log.seek(0)
                raise UserError(f"DVC does not queue '{name}': {reason(log.read())}")
            yield name


def overrides(values: Mapping[str, Any]) -> list[str]:
    """Values as `dvc exp run --set-param` takes them.

    Raises:
        UserError: a value cannot be written so.
    """
    # '++' sets a key that params.yaml may lack; unknown ones have been refused by then.
    return [f"++{key}={_written(value, key)}" for key, value in values.items()]


@dataclass(frozen=True)
class Run:
    """A copy of the project in which an experiment runs.

    Attributes:
        name: the experiment.
        revision: the commit that it was queued as.
        baseline: the commit that it was made from.
        root: the copy's folder.
        process: the number of DVC's process.
    """

    name: str
    revision: str
    baseline: str
    root: Path
    process: int | None

    @property
    def alive(self) -> bool:
        """Whether DVC's process runs."""
        import psutil

        try:
            return self.process is not None and psutil.Process(self.process).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def stop(self) -> None:
        """Ask the stage's command to end, as a cluster would: a training saves its state, and the experiment fails.

        `dvc queue kill` would end the worker too.
        """
        import psutil

        try:
            waiting = psutil.Process(self.process).children()
            while waiting:
                process = waiting.pop()
                if process.name() in ("sh", "bash", "dash", "zsh", "ksh", "fish") and process.children():
                    waiting += process.children()
                else:
                    process.terminate()
        except psutil.NoSuchProcess:
            return


def runs() -> list[Run]:
    """What DVC's workers noted of the experiments that they run or ran, the last one last."""
    found = []
    for file in sorted(_RUNS.glob("*/*.run"), key=_changed):
        try:
            info = json.loads(file.read_text(encoding="utf-8"))
            root, name, baseline = Path(info["root_dir"]) / info["wdir"], info["name"], info["baseline_rev"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        try:
            process = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
            number = process["pid"] if process["returncode"] is None else None
        except (OSError, ValueError, KeyError, TypeError):
            number = None
        found.append(Run(str(name), file.stem, str(baseline), root, number))
    return found


@contextmanager
def _adding(log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """The process that adds experiments: it imports DVC once, and no Ctrl-C reaches it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hsengine.study.adding"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def _written(value: Any, key: str) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        if "${" in value or not value.isprintable():
            raise UserError(
                f"{key}: the text {value!r} cannot be given to 'dvc exp run': set it in params.yaml itself."
            )
        # Backslashes count only before a quote.
        escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", value)
        return "'" + re.sub(r"(\\+)$", lambda match: match[1] * 2, escaped) + "'"
    if isinstance(value, Sequence):
        return f"[{','.join(_written(part, key) for part in value)}]"
    if isinstance(value, Mapping):
        if not all(re.fullmatch(r"-?\w+", str(name)) for name in value):
            raise UserError(f"{key}: a mapping with the keys {list(value)} cannot be given to 'dvc exp run'.")
        return f"{{{','.join(f'{name}:{_written(part, key)}' for name, part in value.items())}}}"
    raise UserError(f"{key}: {value!r} is neither a number, a text, a list nor a mapping.")


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
