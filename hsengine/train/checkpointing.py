"""Trading time for memory: blocks whose inner activations are computed again on the way back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from hsengine.base.errors import UserError


def enable(model: nn.Module, advice: Mapping[str, str] = MappingProxyType({})) -> None:
    """Recompute the blocks of a model in the backward pass instead of keeping what they compute.

    For blocks see `blocks_of`. The numbers stay the same.

    Args:
        model: changed in place; its state keys stay.
        advice: the task's own, see `hsengine.train.Task`.

    Raises:
        UserError: it has no such block.
    """
    blocks = list(blocks_of(model))
    if not blocks:
        own = f", or {advice['memory']}" if "memory" in advice else ""
        raise UserError(
            f"train.gradient_checkpointing: {type(model).__name__} has no list of blocks to apply it to; set it to "
            f"false and lower train.batch_size instead{own}."
        )
    for block in blocks:
        block.forward = partial(_forward, block, block.forward)


def blocks_of(module: nn.Module) -> Iterator[nn.Module]:
    """The members of a model's outermost lists (`nn.Sequential`, `nn.ModuleList`) that hold submodules of their own."""
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            members = [member for member in child if any(True for _ in member.children())]
            yield from members
            if members:
                continue
        yield from blocks_of(child)


def _forward(block: nn.Module, forward: Any, *inputs: Any) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For the pass that counts, and for the one that only computes again."""
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """A second pass must not move running statistics a second time."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
