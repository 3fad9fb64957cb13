"""Runs of verbs that can be ended at any moment: each is a copy of one process that has read the libraries.

A run is ended by the clock, or just before its n-th change of a file. As a program, it reads a request a line.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import random
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("hsengine", "hsdata", "hsmodels", "hstasks")
_LIBRARIES = (
    "torchvision",
    "timm",
    "segmentation_models_pytorch",
    "astropy.io.fits",
    "rasterio",
    "sklearn.linear_model",
)
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime")
_ENDS_AFTER = 300.0
KILLED: Counter[str] = Counter()
"""How many runs were killed before they ended, by verb."""
# PR_SET_CHILD_SUBREAPER of Linux.
_ADOPT = 36


@dataclass(frozen=True)
class Moment:
    """When a run is killed: at the latest after so many seconds, or before its so-manieth change of a file.

    With all that it started, as by a power cut; or but for what it took out of its group of processes, as by a user.
    """

    seconds: float = _ENDS_AFTER
    change: int = 0
    all: bool = True


@dataclass(frozen=True)
class Run:
    """How a run ended: its exit status, below 0 where it was killed, what it said, how long it took and its changes."""

    code: int
    said: str
    seconds: float
    changes: int


class Runs:
    """The process that is copied for each run."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": path}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | one
        )

    def run(self, line: str, folder: Path, at: Moment = Moment()) -> Run:
        """Run a verb such as `hsmodels train` in a folder; its saved states are in `state` there."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps({"line": line, "folder": str(folder), **asdict(at)}), file=self._process.stdin, flush=True)
        return Run(**json.loads(self._process.stdout.readline()))

    def finish(self, line: str, folder: Path) -> Run:
        """Run a verb to its end, which must be a good one."""
        run = self.run(line, folder)
        assert run.code == 0, f"{line}: {run.said}"
        return run

    def close(self) -> None:
        self._process.communicate()


def moments(undisturbed: Run, count: int, draw: random.Random) -> Iterator[Moment]:
    """Half before changes of files, spread over all and the last among them; half by the clock, half of them late."""
    changes = count - count // 2 if undisturbed.changes else 0
    for number in range(changes):
        change = max(1, round(undisturbed.changes * (number + draw.random()) / changes))
        yield Moment(change=change, all=number % 2 == 0)
    for number in range(count - changes):
        seconds = undisturbed.seconds * draw.uniform(0.85 if number % 2 else 0.05, 1.0)
        yield Moment(seconds=seconds, all=number % 4 < 2)


def _serve() -> None:
    """Answer requests; returns in the copies alone, with a verb to run."""
    for package in _PACKAGES:
        found = pkgutil.walk_packages([str(ROOT / package)], f"{package}.")
        names = [package, *(module.name for module in found if not module.name.endswith("_inference"))]
        for name in names:
            importlib.import_module(name)
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    # What a run leaves behind comes to this process when it ends.
    ctypes.CDLL(None, use_errno=True).prctl(_ADOPT, 1, 0, 0, 0)
    for request in sys.stdin:
        answer = _copied(**json.loads(request))
        if answer is None:
            return
        print(json.dumps(asdict(answer)), flush=True)
    os._exit(0)


def _copied(line: str, folder: str, seconds: float, change: int, all: bool) -> Run | None:
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as counted:
        began = time.monotonic()
        child = os.fork()
        if not child:
            _become(line, folder, change, said.fileno(), os.dup(counted.fileno()))
            return None
        watched = os.pidfd_open(child)
        if not select.select([watched], [], [], seconds)[0]:
            os.killpg(child, signal.SIGKILL)
        os.close(watched)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if code >= 0 or all:
            _end_all()
        took = time.monotonic() - began
        said.seek(0)
        return Run(code, said.read().decode(errors="replace"), took, os.fstat(counted.fileno()).st_size)


def _end_all() -> None:
    """End what runs have left behind, and see that it has ended."""
    import psutil

    while left := psutil.Process().children(recursive=True):
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for process in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, 0)


def _become(line: str, folder: str, change: int, said: int, counted: int) -> None:
    """Be the program of a verb, which counts its changes of files in the folder and ends before one of them."""
    os.setpgid(0, 0)
    os.chdir(folder)
    os.environ["HYPEROBJECT_STATE"] = f"{folder}/state"
    os.environ["KAGGLE_CONFIG_DIR"], os.environ["KAGGLEHUB_CACHE"] = f"{folder}/kaggle", f"{folder}/kaggle"
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(quiet, stream)
    os.dup2(said, 2)
    sys.argv = shlex.split(line)
    place, own = f"{folder}{os.sep}", os.getpid()

    def hear(event: str, given: tuple[object, ...]) -> None:
        if not (event in _CHANGES or (event == "open" and _writes(given))) or os.getpid() != own:
            return
        path = given[0]
        # What is relative is in the folder, too.
        if isinstance(path, str | bytes | os.PathLike) and str(Path(folder, os.fsdecode(path))).startswith(place):
            os.write(counted, b".")
            if os.fstat(counted).st_size == change:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hear)


def _writes(given: tuple[object, ...]) -> bool:
    return isinstance(given[2], int) and bool(given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _main() -> None:
    """Serve; in a copy, be the program and end as one does, but for the memory, which is given back as it is."""
    _serve()
    code: object = 0
    try:
        importlib.import_module(f"{sys.argv[0]}.cli").main()
    except SystemExit as end:
        code = end.code
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _main()
