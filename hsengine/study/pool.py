"""Experiments side by side, each a process of `dvc exp run` in a copy of the project."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from hsengine.base import locks
from hsengine.base.wording import some
from hsengine.study import experiments
from hsengine.study.calls import environment, overrides, reason
from hsengine.study.plan import Experiment
from hsengine.study.snapshot import Snapshot

_PAUSE = 0.5
# Begins the names of copies that are being removed; no experiment's does.
_GONE = "."
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish")

Say = Callable[[str], None]
Watch = Callable[[Path], bool]
"""Told the folder in which a stage of an experiment runs; whether to stop it."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Pool:
    """Runs experiments until the block ends; on an error or Ctrl-C, those that run are told to stop.

    Args:
        snapshot: what the experiments start from.
        target: the stage to run.
        jobs: how many run at once.
        say: tells the user something.
    """

    def __init__(self, snapshot: Snapshot, target: str, jobs: int, say: Say) -> None:
        self._snapshot, self._target, self._say = snapshot, target, say
        self._threads = ThreadPoolExecutor(jobs)
        self._stop, self._kill = threading.Event(), threading.Event()
        self._running: set[str] = set()

    def __enter__(self) -> Pool:
        for copy in _left():
            self._snapshot.collect(copy, copy.name)
            _remove(copy)
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is not None:
            self._stop.set()
            if self._running:
                self._say(f"stopping {some(sorted(self._running))}; once more Ctrl-C does not wait for saved states")
        try:
            self._threads.shutdown(cancel_futures=kind is not None)
        except KeyboardInterrupt:
            self._stop.set()
            self._kill.set()
            self._threads.shutdown(cancel_futures=True)
            raise

    def each(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[tuple[_Item, _Result]]:
        """Do something for each item, as many at once as may run: item and result in the order in which they end."""
        futures = {self._threads.submit(work, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()

    def run(self, experiment: Experiment, watch: Watch | None = None) -> bool:
        """Run an experiment, after what an earlier study still runs of that name.

        Returns:
            Whether it has a result.

        Raises:
            UserError: git refuses to make the copy.
        """
        name = experiment.name
        with self._log(name) as log:
            if log is None or self._stop.is_set():
                return False
            copy = _copies() / name
            self._running.add(name)
            try:
                if name in experiments.finished() or self._snapshot.collect(copy, name):
                    return True
                log.truncate(0)
                self._process(experiment, self._snapshot.copy(copy), log, watch)
                return self._snapshot.collect(copy, name)
            finally:
                self._running.discard(name)
                _remove(copy)

    def _process(self, experiment: Experiment, project: Path, log: IO[bytes], watch: Watch | None) -> None:
        process = subprocess.Popen(
            self._snapshot.command(experiment.name, overrides(experiment.values), self._target),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(project),
            cwd=project,
            start_new_session=True,
        )
        told: set[int] = set()
        unwanted = False
        while process.poll() is None:
            try:
                process.wait(_PAUSE)
            except subprocess.TimeoutExpired:
                unwanted = unwanted or self._stop.is_set() or (watch is not None and _watched(process.pid, watch))
                if self._kill.is_set():
                    os.killpg(process.pid, signal.SIGKILL)
                elif unwanted:
                    _terminate(process.pid, told)

    @contextmanager
    def _log(self, name: str) -> Iterator[IO[bytes] | None]:
        """The log of an experiment, held by all of its processes; None if told to stop while others hold it."""
        file = experiments.log(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as log:
            waited = False
            while not _held(log):
                if not waited:
                    self._say(f"{name}: an earlier run is still at it; waiting ({file})")
                waited = True
                if self._stop.wait(_PAUSE):
                    yield None
                    return
            yield log


def failure(name: str) -> str:
    """Why an experiment failed, and where to read more."""
    file = experiments.log(name)
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return f"{reason(text)} (see {file})"


def clear() -> None:
    """Remove the copies that a study left which was killed, for whoever finds that its experiments are done."""
    for copy in _left():
        _remove(copy)


def _copies() -> Path:
    return experiments.folder() / "copies"


def _left() -> list[Path]:
    """The copies in which nothing runs."""
    return [copy for copy in sorted(_copies().glob("*")) if not experiments.is_running(copy.name)]


def _remove(copy: Path) -> None:
    """Remove a copy; what is left of it when this is killed is taken for no experiment's."""
    gone = copy.with_name(f"{_GONE}{copy.name.removeprefix(_GONE)}")
    if copy != gone:
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            copy.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _held(log: IO[bytes]) -> bool:
    # Where the file system knows no locks, nobody can be waited for.
    with contextlib.suppress(locks.UnsupportedError):
        return locks.taken(log.fileno())
    return True


def _commands(process: int) -> list[Any]:
    """The processes of the stage's command, below DVC and the shell that it starts."""
    import psutil

    found = []
    try:
        waiting = psutil.Process(process).children()
        while waiting:
            child = waiting.pop()
            below = child.children() if child.name() in _SHELLS else []
            waiting += below
            found += [] if below else [child]
    except psutil.Error:
        return []
    return found


def _watched(process: int, watch: Watch) -> bool:
    import psutil

    for command in _commands(process):
        try:
            return watch(Path(command.cwd()))
        except psutil.Error:
            continue
    return False


def _terminate(process: int, told: set[int]) -> None:
    """Ask the stage's command to end, as a cluster would: a training saves its state, and the experiment fails."""
    import psutil

    for command in _commands(process):
        if command.pid not in told:
            told.add(command.pid)
            try:
                command.terminate()
            except psutil.Error:
                continue
