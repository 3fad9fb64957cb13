"""Samples that stay in memory once they have been read."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from torch.utils.data import get_worker_info

from hsengine.base.memory import Cache, keeps

Item = TypeVar("Item")


class Kept(Generic[Item]):
    """What was read, by name; whatever the setting, what was read last is at hand.

    `auto` is decided in each process by what is read first: as if all were as large, and as if every other process that
    reads kept them too.
    """

    def __init__(self, cache: Cache, count: int, size: Callable[[Item], int]) -> None:
        """Keep nothing yet.

        Args:
            cache: `machine.cache`; memory is what is meant by `device` too.
            count: how many there are to read.
            size: bytes of one.
        """
        self._cache, self._count, self._size = cache, count, size
        self._keeps: bool | None = None
        self._items: dict[Hashable, Item] = {}

    def get(self, name: Hashable, read: Callable[[], Item]) -> Item:
        """What has that name; `read` gives it where it is not at hand.

        Raises:
            Exception: whatever `read` raises.
        """
        if name in self._items:
            return self._items[name]
        item = read()
        if self._keeps is None:
            worker = get_worker_info()
            copies = 1 if worker is None else worker.num_workers
            self._keeps = keeps(self._cache, self._size(item) * self._count * copies)
        if not self._keeps:
            self._items.clear()
        self._items[name] = item
        return item
