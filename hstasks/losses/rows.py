"""Batches as rows of places: what the losses compute on."""

from __future__ import annotations

import torch
from torch import Tensor

from hsengine.base.errors import UserError


def full_precision(values: Tensor) -> Tensor:
    """Half types as float32; float64 stays."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def same_shape(first: Tensor, second: Tensor, names: tuple[str, str]) -> None:
    """Refuse two arrays of unlike shape.

    Raises:
        UserError: names both and their shapes.
    """
    if first.shape != second.shape:
        raise UserError(
            f"{names[0]} of shape {tuple(first.shape)} and {names[1]} of shape {tuple(second.shape)} "
            "do not belong together: they need the same shape."
        )


def mean_over(values: Tensor, valid: Tensor | None) -> Tensor:
    """The mean of (B, N) over the valid places of each row: (B,); 0 where a row has none."""
    if valid is None:
        return values.mean(dim=1)
    kept = valid.to(values.dtype)
    return torch.where(valid, values, 0.0).sum(dim=1) / kept.sum(dim=1).clamp_min(1.0)


def jaccard_steps(truth: Tensor) -> Tensor:
    """How the Jaccard loss grows, place by place, when errors are taken in the order given.

    J_k = 1 - (G - Σ_{j≤k} y_j) / (G + Σ_{j≤k} (1 - y_j)), G = Σ y; the steps are J_k - J_{k-1} with J_0 = 0
    (Berman, Triki, Blaschko: The Lovász-Softmax loss, CVPR 2018, algorithm 1).

    Args:
        truth: (B, N), 0 or 1, in the order of falling errors.

    Returns:
        (B, N), of the same type.
    """
    total = truth.sum(dim=1, keepdim=True)
    found = truth.cumsum(dim=1)
    union = total + (1.0 - truth).cumsum(dim=1)
    jaccard = 1.0 - (total - found) / union
    return torch.diff(jaccard, dim=1, prepend=jaccard.new_zeros(len(jaccard), 1))
