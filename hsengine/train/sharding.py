"""Parameters, gradients and optimiser state spread over the processes (fully sharded data parallelism).

Nothing outside the running training sees the shards: what is measured, saved and handed out is whole, and
equal on every process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from hsengine.train.checkpointing import blocks_of

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def shard(model: nn.Module, device: torch.device) -> None:
    """Leave each process its part of every parameter.

    A block of the model (a member of its outermost lists) is put together when it is needed, and let go again.

    Args:
        model: changed in place; its state keys stay, its parameters become `DTensor`.
        device: where it is.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in blocks_of(model):
        if any(True for _ in block.parameters()):
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def local(value: Tensor) -> Tensor:
    """This process's part of a tensor, sharing its memory; the tensor itself where it is no part of a whole."""
    return value.to_local() if _is_part(value) else value


def whole(value: Any) -> Any:
    """Tensors of any nesting of mappings and lists put together; all processes come here together."""
    if _is_part(value):
        return value.full_tensor().detach()
    if isinstance(value, Mapping):
        return {name: whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return [whole(part) for part in value]
    return value


def part_of(value: Tensor, like: Tensor) -> Tensor:
    """The part of a whole tensor that this process has of `like`; nothing is sent."""
    if not _is_part(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def load_model(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put a whole state into a model, sharded or not."""
    own = model.state_dict()
    model.load_state_dict({name: part_of(value, own[name]) if name in own else value for name, value in state.items()})


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Put the whole state of an optimiser into one of a model that is sharded or not."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    of_each = dict(state["state"])
    for number, parameter in zip(numbers, parameters, strict=True):
        if number in of_each:
            of_each[number] = {
                name: part_of(value, parameter)
                if isinstance(value, Tensor) and value.shape == parameter.shape
                else value
                for name, value in of_each[number].items()
            }
    optimizer.load_state_dict({**state, "state": of_each})


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The norm of all gradients, over all parts of the model."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = get_total_norm([local(gradient) for gradient in gradients])
    if any(_is_part(gradient) for gradient in gradients):
        square = norm.square()
        dist.all_reduce(square)
        norm = square.sqrt()
    return norm


@torch.no_grad()
def clip(parameters: Iterable[nn.Parameter], largest: float, norm: Tensor) -> None:
    """Scale the gradients down to a largest norm, given the norm that they have."""
    gradients = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
    torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp_max(1.0))


def _is_part(value: Any) -> TypeGuard[DTensor]:
    """Whether a value is a part of a whole tensor, told without importing that class: it takes its time."""
    return hasattr(value, "to_local")
