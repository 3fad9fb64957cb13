"""Stacks of reversible blocks that keep their last activation only.

A block takes n groups of channels x₁..xₙ to h₁ = xₙ + F₁(x₁), h_{i+1} = x_{n-i} + F_{i+1}(h_i).
Given the h, each x follows by subtraction. The backward pass walks the blocks from the last to the
first, rebuilds the input of each from its output and differentiates its branches on the way, so
that the memory of training does not grow with the number of blocks.

The sums are made in float64, whatever the precision of the branches. Undone, they give what a
branch saw to its last bit, nearly always; in the branches' own precision, and in float32 where
these run in half precision, rounding errors would be amplified from block to block on the way back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hsmodels.zoo import volume
from hsmodels.zoo.precision import same_autocast

_SLOPE = 0.01
Branch = tuple[Tensor, Tensor, Tensor, Tensor]


class BranchLayer(nn.Module):
    """F: convolution, LeakyReLU, convolution."""

    def __init__(self, channels: int, dimensions: int):
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        self.nn_layer = nn.Sequential(
            conv(channels, channels, 3, padding=1), nn.LeakyReLU(_SLOPE), conv(channels, channels, 3, padding=1)
        )


class ReversibleBlock(nn.Module):
    """The branches of one block; see the module's text.

    Args:
        channels: of all groups together.
        n_split: groups, a divisor of `channels`.
        dimensions: 2 for images, 3 for volumes.
    """

    def __init__(self, channels: int, n_split: int, dimensions: int):
        super().__init__()
        self.f = nn.ModuleList([BranchLayer(channels // n_split, dimensions) for _ in range(n_split)])


@torch.compiler.disable  # type: ignore[untyped-decorator]
def run(blocks: nn.ModuleList, x: Tensor, n_split: int) -> Tensor:
    """Pass x through blocks of type `ReversibleBlock`.

    torch.compile leaves the stack as it is: its backward pass is a program of its own.

    Args:
        blocks: the stack.
        x: (B, C, ...).
        n_split: groups of each block.

    Returns:
        (B, C, ...) in the precision of x.
    """
    weights = [weight for block in blocks for weight in block.parameters()]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights)):
        out: Tensor = _Stack.apply(x, n_split, *weights)  # type: ignore[no-untyped-call]
        return out
    return _sums(x, n_split, weights, training=False).to(x.dtype)


def run_plainly(x: Tensor, n_split: int, weights: Sequence[Tensor]) -> Tensor:
    """`run` for automatic differentiation as it is, with the memory that it takes."""
    return _sums(x, n_split, weights, training=True).to(x.dtype)


def _sums(x: Tensor, n_split: int, weights: Sequence[Tensor], training: bool) -> Tensor:
    groups = list(_wide(x).chunk(n_split, dim=1))
    for block in _by_block(weights, n_split):
        groups = _forward(groups, block, x.dtype, training)
    return torch.cat(groups, dim=1)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.device.type == "mps" else x.double()  # Apple's GPUs have no float64


def _by_block(weights: Sequence[Tensor], n_split: int) -> list[list[Branch]]:
    branches = [cast(Branch, tuple(weights[i : i + 4])) for i in range(0, len(weights), 4)]
    return [branches[i : i + n_split] for i in range(0, len(branches), n_split)]


def _branch(x: Tensor, weights: Branch, dtype: torch.dtype, training: bool) -> Tensor:
    first, first_bias, second, second_bias = weights
    convolve = partial(F.conv2d, padding=1) if x.ndim == 4 else partial(volume.convolve, training=training)
    hidden = F.leaky_relu(convolve(x.to(dtype), first, first_bias), _SLOPE)
    return convolve(hidden, second, second_bias)


def _forward(groups: list[Tensor], block: list[Branch], dtype: torch.dtype, training: bool) -> list[Tensor]:
    made: list[Tensor] = []
    seen = groups[0]
    for group, weights in zip(reversed(groups), block, strict=True):
        seen = group + _branch(seen, weights, dtype, training)
        made.append(seen)
    return made


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, n_split: int, *weights: Tensor) -> Tensor:
        ctx.n_split, ctx.dtype = n_split, x.dtype
        ctx.autocast = same_autocast(x.device.type)
        out = _sums(x, n_split, weights, training=True)
        ctx.save_for_backward(out, *weights)
        return out.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        out, *weights = ctx.saved_tensors
        leaves = [
            weight.detach().requires_grad_(wanted)
            for weight, wanted in zip(weights, ctx.needs_input_grad[2:], strict=True)
        ]
        groups = list(out.chunk(ctx.n_split, dim=1))
        grads = list(grad.to(torch.promote_types(grad.dtype, torch.float32)).chunk(ctx.n_split, dim=1))
        of_weights: list[Tensor | None] = []
        for block in reversed(_by_block(leaves, ctx.n_split)):
            with ctx.autocast():
                groups, grads, of_block = _undo(groups, grads, block, ctx.dtype)
            of_weights = of_block + of_weights
        return torch.cat(grads, dim=1).to(ctx.dtype), None, *of_weights


def _undo(
    made: list[Tensor], grads: list[Tensor], block: list[Branch], dtype: torch.dtype
) -> tuple[list[Tensor], list[Tensor], list[Tensor | None]]:
    """From h₁..hₙ and their gradients to x₁..xₙ, their gradients, and those of the block's weights."""
    grads = list(grads)
    taken: list[Tensor] = []
    of_branches: list[list[Tensor | None]] = []
    for i in reversed(range(len(made))):
        # h_{i+1} = x_{n-i} + F_{i+1}(h_i), where x₁, by then rebuilt, stands for h₀.
        seen = (made[i - 1] if i else taken[0]).to(dtype).detach().requires_grad_()
        with torch.enable_grad():
            branch = _branch(seen, block[i], dtype, training=True)
        sources = [seen, *(weight for weight in block[i] if weight.requires_grad)]
        of_seen, *found = torch.autograd.grad(branch, sources, grads[i].to(branch.dtype))
        taken.append(made[i] - branch.detach())
        # The gradient of x_{n-i} is that of h_{i+1}; index -1 is h_n, whose x₁ is seen once more.
        grads[i - 1] = grads[i - 1] + of_seen
        left = iter(found)
        of_branches.append([next(left) if weight.requires_grad else None for weight in block[i]])
    return taken, grads[::-1], [grad for of_branch in reversed(of_branches) for grad in of_branch]
