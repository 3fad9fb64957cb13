"""Arrays of either library as tensors."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = Tensor | NDArray[np.generic]


def as_tensor(values: Array) -> Tensor:
    """`values` as a tensor without gradient: the same memory where torch can use it, else a copy."""
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if not array.dtype.isnative or any(stride < 0 for stride in array.strides):
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    with warnings.catch_warnings():
        # Of arrays that cannot be written to; nothing here writes.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
