"""Batch normalisation over the global batch: its statistics do not depend on the number of processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class GlobalBatchNorm(_BatchNorm):
    """Batch normalisation with the mean and variance of all processes' samples, on CPUs and GPUs.

    Attributes:
        counted: whether this process's samples take part; not where they only keep it in step.
    """

    counted: bool

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input, of the same shape and type."""
        if not self.training:
            return super().forward(input)
        axes = [0, *range(2, input.ndim)]
        shape = [1, -1] + [1] * (input.ndim - 2)
        share = 1.0 if self.counted else 0.0
        values = input.float()
        size = values.new_tensor([input.numel() / input.shape[1]])
        totals = _summed(torch.cat([values.sum(axes), size]) * share)
        count = totals[-1].detach()
        mean = totals[:-1] / count
        centred = values - mean.view(shape)
        # Around the common mean, so that nothing cancels.
        variance = _summed(centred.square().sum(axes) * share) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1).clamp_min(1))
        output = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes from two on."""

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        factor = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(variance, factor)


def share_statistics(model: nn.Module, world: int) -> list[GlobalBatchNorm]:
    """Let the batch normalisations of a model see all processes' samples.

    Args:
        model: changed in place; its state keys stay.
        world: the number of processes; with one, nothing is changed.

    Returns:
        The layers; each process must call them equally often.
    """
    layers: list[GlobalBatchNorm] = []
    for module in model.modules() if world > 1 else ():
        if isinstance(module, _BatchNorm):
            module.__class__ = GlobalBatchNorm
            assert isinstance(module, GlobalBatchNorm)
            module.counted = True
            layers.append(module)
    return layers


class _Sum(torch.autograd.Function):
    """The sum over the processes; each one's gradient is the sum of all of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


def _summed(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total
