"""Local operations run in strips of rows that stay in the processor's cache.

A local operation makes each row of its output from the same row and a few neighbours (the halo).
Its wide intermediate tensors then need to exist for one strip at a time only; in training they
are recomputed strip by strip instead of being kept for the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

# local(x, mixing, weights, top, bottom): x is (b, h, w, C); the result lacks the halo's `top` and `bottom` rows.
Local = Callable[[Tensor, Tensor | None, Sequence[Tensor], int, int], Tensor]

# Elements of the widest intermediate tensor: a few MB on a CPU, so that its neighbours fit the
# cache beside it; on a GPU large enough to keep every multiprocessor busy.
_CPU_ELEMENTS = 1 << 19
_GPU_ELEMENTS = 1 << 28


def in_strips(
    local: Local, x: Tensor, mixing: Tensor | None, weights: Sequence[Tensor], *, halo: int, width: int
) -> Tensor:
    """Run a local operation over images, in strips that fit the cache.

    Compiled, it is one whole: the compiler does its own fusing.

    Args:
        local: the operation; it must be differentiable and free of randomness.
        x: (B, H, W, C).
        mixing: one matrix a sample (B, C, C), or None.
        weights: the other tensors that the operation reads.
        halo: rows above and below that an output row depends on.
        width: channels of the widest intermediate tensor.

    Returns:
        (B, H, W, C).
    """
    if torch.compiler.is_compiling():
        return local(x, mixing, weights, 0, 0)
    tensors = [x, *weights] if mixing is None else [x, mixing, *weights]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        out: Tensor = _Recomputed.apply(local, halo, width, x, mixing, *weights)  # type: ignore[no-untyped-call]
        return out
    return _forward(local, halo, width, x, mixing, weights)


def same_autocast(device: str) -> AbstractContextManager[Any]:
    """The autocast state of this moment, to be entered again in a backward pass."""
    return torch.autocast(
        device,
        dtype=torch.get_autocast_dtype(device),
        enabled=torch.is_autocast_enabled(device),
        cache_enabled=False,
    )


Strip = tuple[slice, slice, slice, int, int]


def _plan(x: Tensor, halo: int, width: int) -> Iterator[Strip]:
    """(samples, rows to make, rows to read, halo rows read above, below) for each strip."""
    batch, height, across, _ = x.shape
    elements = _CPU_ELEMENTS if x.device.type == "cpu" else _GPU_ELEMENTS
    rows = max(elements // (across * width), 2 * halo, 1)
    if rows >= height:
        together = max(rows // height, 1)
        for first in range(0, batch, together):
            yield slice(first, first + together), slice(0, height), slice(0, height), 0, 0
        return
    for sample in range(batch):
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            top, bottom = min(halo, start), min(halo, height - stop)
            yield slice(sample, sample + 1), slice(start, stop), slice(start - top, stop + bottom), top, bottom


def _forward(
    local: Local, halo: int, width: int, x: Tensor, mixing: Tensor | None, weights: Sequence[Tensor]
) -> Tensor:
    out: Tensor | None = None
    for samples, made, read, top, bottom in _plan(x, halo, width):
        part = local(x[samples, read], None if mixing is None else mixing[samples], weights, top, bottom)
        if part.shape[:2] == x.shape[:2]:
            return part
        if out is None:
            out = part.new_empty(*x.shape[:3], part.shape[3])
        out[samples, made] = part
    assert out is not None
    return out


class _Recomputed(torch.autograd.Function):
    """A local operation that keeps its inputs only."""

    @staticmethod
    def forward(
        ctx: Any, local: Local, halo: int, width: int, x: Tensor, mixing: Tensor | None, *weights: Tensor
    ) -> Tensor:
        ctx.local, ctx.halo, ctx.width = local, halo, width
        ctx.autocast = same_autocast(x.device.type)
        ctx.save_for_backward(x, mixing, *weights)
        return _forward(local, halo, width, x, mixing, weights)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, mixing, *weights = ctx.saved_tensors
        wanted = ctx.needs_input_grad[3:]
        leaves = [weight.detach().requires_grad_(want) for weight, want in zip(weights, wanted[2:], strict=True)]
        sums: list[Tensor | None] = [None] * len(leaves)
        grad_x = torch.zeros_like(x) if wanted[0] else None
        grad_mixing = torch.zeros_like(mixing) if wanted[1] else None
        for samples, made, read, top, bottom in _plan(x, ctx.halo, ctx.width):
            part = x[samples, read].detach().requires_grad_(wanted[0])
            matrix = None if mixing is None else mixing[samples].detach().requires_grad_(wanted[1])
            with torch.enable_grad(), ctx.autocast:
                out = ctx.local(part, matrix, leaves, top, bottom)
            sources = [t for t in (part, matrix, *leaves) if t is not None and t.requires_grad]
            grads = iter(torch.autograd.grad(out, sources, grad[samples, made]))
            if grad_x is not None:
                grad_x[samples, read] += next(grads)
            if grad_mixing is not None:
                grad_mixing[samples] += next(grads)
            for index, leaf in enumerate(leaves):
                if leaf.requires_grad:
                    known = sums[index]
                    sums[index] = next(grads) if known is None else known.add_(next(grads))
        return None, None, None, grad_x, grad_mixing, *sums
