"""How much memory a model needs for an image, found without computing anything: by its tensors' sizes alone."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

RESERVED = 1 << 30
ROOM = 1.5
"""The libraries' own memory, and how much more an allocator holds than tensors need."""
_PROBES = (64, 192)


def largest_tile(model: nn.Module, channels: int, limit: int, candidates: Sequence[int]) -> tuple[int, int]:
    """The largest side of a square input, of some candidates, that fits into a GPU's memory, and the bytes it takes.

    Memory grows with the number of pixels: it is found at two small sizes and drawn on.

    Args:
        model: in evaluation mode.
        channels: of its input.
        limit: bytes.
        candidates: sides in pixels; the smallest is taken where none fits.
    """
    small, large = (held(model, (1, channels, side, side)) for side in _PROBES)
    slope = (large - small) / (_PROBES[1] ** 2 - _PROBES[0] ** 2)
    needed = {side: int((small + slope * (side**2 - _PROBES[0] ** 2)) * ROOM) + RESERVED for side in candidates}
    side = max((side for side in candidates if needed[side] <= limit), default=min(candidates))
    return side, needed[side]


def held(model: nn.Module, shape: Sequence[int]) -> int:
    """Bytes of all tensors that are alive at once, at most, while a batch (B, C, H, W) is predicted on a GPU."""
    with torch.no_grad(), FakeTensorMode(), _Live() as live:
        state = {
            name: torch.empty(value.shape, dtype=value.dtype, device="cuda")
            for name, value in [*model.named_parameters(), *model.named_buffers()]
        }
        made: Any = functional_call(model, state, (torch.empty(tuple(shape), device="cuda"),))
        # The output is held once more while views or tiles are put together.
        most: int = live.most + made.numel() * made.element_size()
    return most


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that are alive.

    Attributes:
        most: at once.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = self._now = 0
        self._held: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor):
                self._add(value)
        return found

    def _add(self, value: Tensor) -> None:
        storage = value.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self._held[key]:
            self._now += size
            self.most = max(self.most, self._now)
        self._held[key] += 1
        weakref.finalize(value, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._held[key] -= 1
        if not self._held[key]:
            self._now -= size
