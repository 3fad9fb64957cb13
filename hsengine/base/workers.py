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
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any, TypeVar

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
# Starting worker processes takes as long as working through this many bytes in this one.
_WORTH_PROCESSES = 100e6


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def sensible(workers: int, size: float) -> int:
    """`workers`, but this process alone where it is 0 and there are less than 100 MB to work through.

    Args:
        workers: processes asked for; 0 leaves the choice.
        size: bytes to work through.
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
        # A daemonic process (a data loader's worker) may not have children, and a worker's siblings use the cores.
        if count <= 1 or multiprocessing.current_process().daemon or _assignment is not None:
            results = ((index, function(item)) for index, item in enumerate(items))
        else:
            results = _in_processes(function, items, count, label)
    with tqdm(total=total, desc=label, disable=None, dynamic_ncols=True) as bar, contextlib.closing(results):  # type: ignore[type-var]
        for result in results:
            bar.update()
            yield result


def _finished(
    submit: Callable[[int, T], Future[R]],
    items: Iterable[T],
    ahead: int,
    explained: Callable[[BaseException, T], BaseException],
) -> Iterator[tuple[int, R]]:
    """Results as they come, of at most `ahead` items at a time; the first failure ends it once the others are done."""
    queue = iter(enumerate(items))
    under_way: dict[Future[R], tuple[int, T]] = {}
    failure: BaseException | None = None
    while True:
        while failure is None and len(under_way) < ahead and (following := next(queue, None)) is not None:
            under_way[submit(*following)] = following
        if not under_way:
            break
        for future in futures.wait(under_way, return_when=futures.FIRST_COMPLETED).done:
            index, item = under_way.pop(future)
            error = futures.CancelledError() if future.cancelled() else future.exception()
            if error is None:
                yield index, future.result()
            elif failure is None:
                failure = error if isinstance(error, UserError) else explained(error, item)
    if failure is not None:
        raise failure


def _in_processes(function: Callable[[T], R], items: Iterable[T], count: int, label: str) -> Iterator[tuple[int, R]]:
    context = multiprocessing.get_context("spawn")
    begun, begins = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, context, _prepare, (begins, function))
    team: dict[int, Any] = {}
    given: dict[int, T] = {}
    latest: dict[int, int] = {}

    def submit(index: int, item: T) -> Future[R]:
        given[index] = item
        with _one_thread():
            future: Future[R] = pool.submit(_carry_out, index, item)
        team.update(getattr(pool, "_processes", None) or {})
        note_begun()
        return future

    def note_begun() -> None:
        while begun.poll():
            process, index = begun.recv()
            # What it had before is done.
            given.pop(latest.get(process, -1), None)
            latest[process] = index

    def explained(error: BaseException, item: T) -> BaseException:
        if not isinstance(error, BrokenProcessPool):
            error.add_note(f"In a worker process, {label} {name_of(item)}.")
            return error
        for process in team.values():
            process.join()
        # The pool ends the others when one dies.
        ended = {number: process.exitcode for number, process in team.items()}
        dead, code = next(((n, c) for n, c in ended.items() if c not in (0, -signal.SIGTERM)), (-1, -signal.SIGTERM))
        note_begun()
        return _died(code, dead in latest, given.get(latest.get(dead, -1), item), label)

    try:
        yield from _finished(submit, items, count, explained)
    except BaseException:
        for process in team.values():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        begun.close()
        begins.close()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """The environment that a worker starts with."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _died(code: int, began: bool, item: object, label: str) -> UserError:
    if not began and code == 1:
        return UserError(
            f"A worker process could not start for {label} {name_of(item)}: see its message above. "
            "A script that starts workers needs 'if __name__ == \"__main__\":' around its main part."
        )
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    hint = "memory may have run out: try fewer workers" if code == -signal.SIGKILL else "try again with one worker"
    return UserError(f"A worker process {how} while {label} {name_of(item)}; {hint}.")


# In a worker process: where it says which item it begins, and what it does with each.
_assignment: tuple[connection.Connection, Callable[[Any], Any]] | None = None


def _prepare(begins: connection.Connection, function: Callable[[Any], Any]) -> None:
    """Begin the life of a worker process."""
    global _assignment
    _assignment = begins, function
    # Ctrl-C reaches the whole process group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _carry_out(index: int, item: Any) -> Any:
    assert _assignment is not None
    begins, function = _assignment
    begins.send((os.getpid(), index))
    try:
        return function(item)
    except Exception as error:
        if not isinstance(error, UserError):
            error.add_note(traceback.format_exc())
        raise _portable(error) from None


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

    def explained(error: BaseException, item: T) -> BaseException:
        if isinstance(error, futures.CancelledError):
            return UserError(f"The cluster gave up on {label} {name_of(item)}: run the command again.")
        if type(error).__name__ == "KilledWorker":
            return UserError(
                f"Several Dask workers died while {label} {name_of(item)}: see their logs; memory may have run out."
            )
        error.add_note(f"On the Dask cluster, {label} {name_of(item)}.")
        return error

    with client, client.get_executor(pure=False) as pool:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UserError(
                f"The Dask scheduler at {scheduler} has no workers: start some with 'dask worker {scheduler}'."
            )
        yield from _finished(lambda _, item: pool.submit(function, item), items, _AHEAD * threads, explained)


def name_of(item: object) -> str:
    """A short name of an item for messages: its `name`, or how it prints."""
    name = str(getattr(item, "name", item))
    return name if len(name) <= 200 else name[:197] + "..."
