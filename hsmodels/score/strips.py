"""Work on strips of an image: one thread a strip, and each operation on one thread.

Threads that share every small operation meet thousands of times for one image, and wait for the slowest each time,
long when other programs want the processor too. Threads with strips of their own meet once. The results do
not depend on the number of threads, as each strip is computed alike and the caller adds them in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

import torch

Strip = TypeVar("Strip")
Result = TypeVar("Result")

# More would wait for Python's lock.
_MOST_THREADS: Final = 16

_available: ContextVar[int | None] = ContextVar("_available", default=None)


@contextmanager
def one_thread_per_operation() -> Iterator[int]:
    """Gives the number of PyTorch's threads, which `over_strips` uses meanwhile; single operations use one."""
    known = _available.get()
    if known is not None:
        yield known
        return
    threads = torch.get_num_threads()
    token = _available.set(threads)
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
        _available.reset(token)


def over_strips(work: Callable[[Strip], Result], strips: Iterable[Strip], device: torch.device) -> list[Result]:
    """`work` of each strip, in order; without gradients. On a GPU, one after another."""
    items = list(strips)
    if device.type != "cpu":
        with torch.no_grad():
            return [work(item) for item in items]
    inference = torch.is_inference_mode_enabled()

    def alone(item: Strip) -> Result:
        # These modes belong to a thread.
        with torch.inference_mode(inference), torch.no_grad():
            return work(item)

    with one_thread_per_operation() as threads:
        threads = min(threads, len(items), _MOST_THREADS)
        if threads <= 1:
            return [alone(item) for item in items]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(alone, items))
