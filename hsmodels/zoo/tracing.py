"""What a model does otherwise while it is exported, so that the file's graph holds for every size of image."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def is_exported() -> bool:
    """Whether a model is being turned into a graph, by torch.export (as ONNX is) or by TorchScript's trace.

    A graph has no branches on sizes and no loops over strips; what a model chooses by them to be fast is left to
    the runtime.
    """
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def full_precision(device: str) -> AbstractContextManager[Any]:
    """No autocast; there is none in a graph, and torch.export cannot store one."""
    return nullcontext() if is_exported() else torch.autocast(device, enabled=False)


def mirrored(x: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) mirrored to the right and below, as often as needed, up to a multiple of pixels."""
    for axis in (-2, -1):
        length = x.shape[axis]
        places = torch.arange((length + multiple - 1) // multiple * multiple, device=x.device)
        last = length - 1
        # A triangle wave: up to the last pixel, back to the first, and again.
        period = torch.full_like(places, 2 * last).clamp_min(1)
        x = x.index_select(axis, last - (places % period - last).abs())
    return x


def cropped(x: Tensor, height: int, width: int) -> Tensor:
    """The first rows and columns of (B, C, H, W)."""
    if not is_exported():
        return x[..., :height, :width]
    # A slice would ask whether there are as many.
    for axis, length in ((-2, height), (-1, width)):
        x = x.index_select(axis, torch.arange(length, device=x.device))
    return x


def enlarged(x: Tensor, factor: int) -> Tensor:
    """(B, C, H, W) → (B, C, factor · H, factor · W), bicubic."""
    # A size is a whole number in a graph too; a length times a fraction is not.
    size = (x.shape[-2] * factor, x.shape[-1] * factor) if is_exported() else None
    scale = None if size is not None else float(factor)
    return F.interpolate(x, size=size, scale_factor=scale, mode="bicubic", align_corners=False)
