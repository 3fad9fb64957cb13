"""What the processes of one training tell each other; with one process, nothing is sent."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

Item = TypeVar("Item")


class Processes:
    """The group of processes that train together.

    Args:
        accelerator: knows the group.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.device = accelerator.device
        self.rank: int = accelerator.process_index
        self.world: int = accelerator.num_processes
        self.first: bool = accelerator.is_main_process

    def sums(self, values: list[float]) -> list[float]:
        """Each value summed over the processes, in double precision."""
        if self.world == 1:
            return values
        vector = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(vector)
        result: list[float] = vector.tolist()
        return result

    def all_of(self, items: list[Item]) -> list[Item]:
        """The items of all processes, in the order of the processes."""
        return items if self.world == 1 else list(gather_object(items))

    def from_first(self, value: Item) -> Item:
        """The first process's value, on every process."""
        if self.world == 1:
            return value
        box: list[Any] = [value]
        broadcast_object_list(box)
        received: Item = box[0]
        return received

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers: running statistics are kept by each for itself."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)
