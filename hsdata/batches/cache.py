"""Arrays kept in memory that forked processes share."""

from __future__ import annotations

import math
import mmap
import multiprocessing
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hsengine.base.errors import UserError
from hsengine.base.memory import Cache, installed, keeps

Arrays = Mapping[Hashable, tuple[tuple[int, ...], DTypeLike]]
"""Shape and type of each array, by a name."""


class SharedArrays:
    """Room for arrays of known shapes, each filled by the first process that asks for it.

    The room is anonymous shared memory: processes forked from this one see what any of them has
    filled in. Pages are taken as they are filled. A pickled copy starts empty with room of its own.
    """

    def __init__(self, arrays: Arrays) -> None:
        """Set the room aside.

        Args:
            arrays: what there is to be room for.

        Raises:
            UserError: the arrays together are larger than the machine's memory.
        """
        self._arrays = dict(arrays)
        self._numbers = {name: number for number, name in enumerate(self._arrays)}
        starts: dict[Hashable, int] = {}
        end = max(1, len(self._arrays))
        for name, (shape, dtype) in self._arrays.items():
            starts[name] = end = -(-end // 64) * 64
            end += _bytes(shape, dtype)
        if end > installed():
            raise UserError(
                f"machine.cache: 'memory' would take {end / 1e9:.1f} GB for the decoded samples, more than this "
                f"machine's {installed() / 1e9:.1f} GB; set it to 'none'."
            )
        self._starts = starts
        self._room = mmap.mmap(-1, end)

    def __getstate__(self) -> dict[str, Any]:
        return {"arrays": self._arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["arrays"])  # type: ignore[misc]

    def get(self, name: Hashable, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The array of that name; `make` is called unless some process has filled it already.

        Raises:
            ValueError: what `make` gives has another shape than was announced.
        """
        shape, dtype = self._arrays[name]
        array = np.ndarray(shape, dtype, buffer=self._room, offset=self._starts[name])
        number = self._numbers[name]
        # Two processes may both fill it: with the same values, so that none ever reads a wrong one.
        if not self._room[number]:
            values = make()
            if values.shape != shape:
                raise ValueError(f"it has shape {values.shape} where {shape} is expected")
            array[...] = values
            self._room[number] = 1
        array.flags.writeable = False
        return array


def shared(arrays: Arrays, cache: Cache) -> SharedArrays | None:
    """Room for arrays where they are to stay in memory.

    Args:
        arrays: what there is to be room for.
        cache: `machine.cache`; `auto` only where reading processes are forked, since others would keep a copy each.

    Raises:
        UserError: the arrays together are larger than the machine's memory.
    """
    if cache == "auto" and not _forks():
        return None
    needed = sum(_bytes(shape, dtype) for shape, dtype in arrays.values())
    return SharedArrays(arrays) if keeps(cache, needed) else None


def _bytes(shape: tuple[int, ...], dtype: DTypeLike) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def _forks() -> bool:
    """Whether processes are forked here. Python chooses when first asked to, which is left to others."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return (chosen or multiprocessing.get_all_start_methods()[0]) == "fork"
