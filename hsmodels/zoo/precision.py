"""Mixed precision where models recompute, and where the processor only emulates it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor


def has_bf16() -> bool:
    """Whether this processor multiplies bf16 itself; oneDNN calls supported what AVX-512 can emulate, more slowly."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


_NATIVE = {
    torch.bfloat16: has_bf16(),
    torch.float16: bool(torch.ops.mkldnn._is_mkldnn_fp16_supported()),
}


def same_autocast(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """The autocast state of this moment, to be entered again where a backward pass recomputes."""
    return partial(
        torch.autocast,
        device,
        dtype=torch.get_autocast_dtype(device),
        enabled=torch.is_autocast_enabled(device),
        cache_enabled=False,
    )


def native(x: Tensor) -> AbstractContextManager[Any]:
    """Full precision where autocast asks for half precision that the processor only emulates.

    A CPU without such instructions takes about ten times as long for half precision as for float32.
    """
    if (
        x.device.type != "cpu"
        or not torch.is_autocast_enabled("cpu")
        or _NATIVE.get(torch.get_autocast_dtype("cpu"), True)
    ):
        return nullcontext()
    return torch.autocast("cpu", enabled=False)
