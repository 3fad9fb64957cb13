"""One way to map a function over samples: in this process, in several, or on a Dask cluster.

Worker processes are spawned, never forked: forking after PyTorch, HDF5 or Zarr have started threads hangs.
Hence the function must be importable (a module's function, or `functools.partial` of one), items and results
must pickle, and a script that calls this needs the usual `if __name__ == "__main__":`.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Generic, TypeVar, cast

from hsengine.base.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

# Each worker computes with one thread: its siblings use the other cores.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLOSC_NTHREADS",
    "ZARR_THREADING__MAX_WORKERS",
    "ZARR_ASYNC__CONCURRENCY",
)
# Futures on a cluster for each of its threads: enough that no worker waits for the next item.
_AHEAD = 2
_SECONDS_TO_CONNECT = 15
# Starting worker processes takes as long as working through this many bytes of cubes in this one.
_WORTH_PROCESSES = 100e6


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def sensible(workers: int, size: float) -> int:
    """`workers`, but this process alone where it is 0 and the cubes to work through are less than 100 MB.

    Args:
        workers: processes asked for; 0 leaves the choice.
        size: bytes of all cubes, as float32.
    """
    return 1 if not workers and size < _WORTH_PROCESSES else workers


def run(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int = 0,
    scheduler: str | None = None,
    label: str = "working",
) -> list[R]:
    """`[function(item) for item in items]`, in the order of the items; see `stream`."""
    results = dict(stream(function, items, workers=workers, scheduler=scheduler, label=label))
    return [results[index] for index in range(len(results))]


def stream(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int = 0,
    scheduler: str | None = None,
    label: str = "working",
) -> Iterator[tuple[int, R]]:
    """Yield `(index, function(item))` for each item, as they are finished.

    Items are taken as workers become free and results are not kept, so that memory does not grow with their
    number. When an item fails no further item is begun; those under way are finished and yielded first.

    Args:
        function: importable by name; must not depend on the state of this process.
        items: what to call it with, one at a time.
        workers: processes; 0 means one a core, 1 means in this process.
        scheduler: address of a Dask scheduler (`tcp://host:port`), whose workers see the same files under the
            same paths; used instead of processes.
        label: what is being done, for the progress bar (shown on terminals only) and for messages.

    Raises:
        UserError: as raised for an item, or naming the item at which a worker process died.
    """
    from tqdm import tqdm

    # Its own lock is a semaphore of the system, which a killed process leaves behind.
    tqdm.set_lock(threading.RLock())
    total = len(items) if isinstance(items, Sized) else None
    results: Iterator[tuple[int, R]]
    if scheduler:
        results = _on_cluster(function, items, scheduler, label)
    else:
        count = workers or available_cores()
        count = count if total is None else min(count, total)
        # A daemonic process (a data loader's worker) may not have children.
        if count <= 1 or multiprocessing.current_process().daemon:
            results = ((index, function(item)) for index, item in enumerate(items))
        else:
            results = _in_processes(function, items, count, label)
    with tqdm(total=total, desc=label, disable=None, dynamic_ncols=True) as bar, contextlib.closing(results):  # type: ignore[type-var]
        for result in results:
            bar.update()
            yield result


@dataclass
class _Worker(Generic[T]):
    process: Any
    pipe: connection.Connection
    index: int = -1
    item: T | None = None
    answered: bool = False


def _in_processes(function: Callable[[T], R], items: Iterable[T], count: int, label: str) -> Iterator[tuple[int, R]]:
    queue = iter(enumerate(items))
    team: list[_Worker[T]] = []
    failure: BaseException | None = None
    try:
        busy: dict[connection.Connection, _Worker[T]] = {}
        for index, item in queue:
            worker: _Worker[T] = _started(function)
            team.append(worker)
            _hand(worker, index, item)
            busy[worker.pipe] = worker
            if len(team) == count:
                break
        while busy:
            for pipe in connection.wait(list(busy)):
                worker = busy.pop(cast(connection.Connection, pipe))
                outcome = _outcome(worker, label)
                if outcome.error is None:
                    yield worker.index, outcome.value
                else:
                    failure = failure or outcome.error
                following = next(queue, None) if failure is None else None
                if following is not None:
                    _hand(worker, *following)
                    busy[worker.pipe] = worker
        for worker in team:
            _dismiss(worker)
    finally:
        for worker in team:
            worker.pipe.close()
            if worker.process.is_alive():
                worker.process.terminate()
            worker.process.join()
    if failure is not None:
        raise failure


@dataclass(frozen=True)
class _Outcome:
    value: Any = None
    error: BaseException | None = None


def _started(function: Callable[[Any], Any]) -> _Worker[Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function), daemon=True)
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        process.start()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    # The worker must hold the only other end: then its death closes the pipe.
    theirs.close()
    return _Worker(process, ours)


def _hand(worker: _Worker[T], index: int, item: T) -> None:
    worker.index, worker.item = index, item
    # A worker that is dead already is noticed when its answer is read.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        worker.pipe.send((item,))


def _outcome(worker: _Worker[Any], label: str) -> _Outcome:
    try:
        value, error, trace = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return _Outcome(error=_died(worker, label))
    worker.answered = True
    if error is not None and not isinstance(error, UserError):
        error.add_note(f"In a worker process, {label} {name_of(worker.item)}:\n{trace}")
    return _Outcome(value, error)


def _died(worker: _Worker[Any], label: str) -> UserError:
    code = worker.process.exitcode
    if not worker.answered and code == 1:
        return UserError(
            f"A worker process could not start for {label} {name_of(worker.item)}: see its message above. "
            "A script that starts workers needs 'if __name__ == \"__main__\":' around its main part."
        )
    how = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"
    hint = "memory may have run out: try fewer workers" if code == -signal.SIGKILL else "try again with one worker"
    return UserError(f"A worker process {how} while {label} {name_of(worker.item)}; {hint}.")


def _dismiss(worker: _Worker[Any]) -> None:
    with contextlib.suppress(OSError):
        worker.pipe.send(None)
    worker.process.join(timeout=5)


def _serve(pipe: connection.Connection, function: Callable[[Any], Any]) -> None:
    """The life of a worker process: one item after another, until told to stop or left alone."""
    # Ctrl-C reaches the whole process group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            return
        if message is None:
            return
        try:
            pipe.send((function(message[0]), None, ""))
        except Exception as error:
            pipe.send((None, _portable(error), traceback.format_exc()))


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same where it does not survive pickling."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _die_with_parent() -> None:
    """A killed parent must not leave workers that still write."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _on_cluster(function: Callable[[T], R], items: Iterable[T], scheduler: str, label: str) -> Iterator[tuple[int, R]]:
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise UserError(
            "A Dask cluster needs the package 'distributed': pip install 'dask[distributed]', "
            "or leave out the scheduler to use this machine's cores."
        ) from None
    try:
        client = distributed.Client(scheduler, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"No Dask scheduler answers at {scheduler} ({error}): "
            "check the address, or start one with 'dask scheduler'."
        ) from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UserError(
                f"The Dask scheduler at {scheduler} has no workers: start some with 'dask worker {scheduler}'."
            )
        run_id = uuid.uuid4().hex
        queue = iter(enumerate(items))
        pending = distributed.as_completed(loop=client.loop)
        under_way: dict[str, tuple[int, T]] = {}
        failure: BaseException | None = None

        def submit() -> None:
            for index, item in queue:
                future = client.submit(function, item, key=f"{label}-{run_id}-{index}", pure=False)
                under_way[future.key] = index, item
                pending.add(future)
                return

        for _ in range(_AHEAD * threads):
            submit()
        for future in pending:
            index, item = under_way.pop(future.key)
            if future.status == "finished":
                yield index, future.result()
            else:
                failure = failure or _cluster_error(future, item, label)
            if failure is None:
                submit()
        if failure is not None:
            raise failure


def _cluster_error(future: Any, item: Any, label: str) -> BaseException:
    if future.status != "error":
        return UserError(f"The cluster gave up on {label} {name_of(item)} ({future.status}): run the command again.")
    error: BaseException = future.exception()
    if type(error).__name__ == "KilledWorker":
        return UserError(
            f"Several Dask workers died while {label} {name_of(item)}: see their logs; memory may have run out."
        )
    if not isinstance(error, UserError):
        error.add_note(f"On the Dask cluster, {label} {name_of(item)}.")
    return error


def name_of(item: object) -> str:
    """A short name of an item for messages: its `name`, or how it prints."""
    name = str(getattr(item, "name", item))
    return name if len(name) <= 200 else name[:197] + "..."
