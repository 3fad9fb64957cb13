"""Mixed precision where models recompute, and where the processor only emulates it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch


def same_autocast(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """The autocast state of this moment, to be entered again where a backward pass recomputes."""
    return partial(
        torch.autocast,
        device,
        dtype=torch.get_autocast_dtype(device),
        enabled=torch.is_autocast_enabled(device),
        cache_enabled=False,
    )
