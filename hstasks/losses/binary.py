"""Losses of binary masks and labels.

Shapes: logits and target are (B, ...), such as (B, H, W), (B, 1, H, W) or (B,); `valid`, of the same shape, is
True where the truth counts. The loss of a batch is the mean over its images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from hstasks.losses.rows import full_precision, jaccard_steps, mean_over, same_shape

DICE_SMOOTH = 1e-6
"""Added to both halves of the Dice coefficient, so that an empty prediction of an empty mask is perfect."""

Rows = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def bce(logits: Tensor, target: Tensor, valid: Tensor | None = None, *, each: bool = False) -> Tensor:
    """Binary cross-entropy of logits, mean over the valid places of an image.

    Args:
        logits: (B, ...).
        target: (B, ...) in [0, 1]; fractions, as mixup makes them, are allowed.
        valid: (B, ...) bool; None for everywhere.
        each: True for the loss of each image, (B,); False for their mean.

    Raises:
        UserError: the shapes differ.
    """
    return _on_rows(_bce, logits, target, valid, each)


def dice(
    logits: Tensor, target: Tensor, valid: Tensor | None = None, *, smooth: float = DICE_SMOOTH, each: bool = False
) -> Tensor:
    """1 - (2 Σ p y + s) / (Σ p + Σ y + s) of each image, p = sigmoid(logit); arguments as for `bce`."""
    return _on_rows(lambda x, y, v: _dice(x, y, v, smooth), logits, target, valid, each)


def bce_dice(logits: Tensor, target: Tensor, valid: Tensor | None = None, *, each: bool = False) -> Tensor:
    """The sum of `bce` and `dice`, both with weight 1; arguments as for `bce`."""
    return _on_rows(lambda x, y, v: _bce(x, y, v) + _dice(x, y, v, DICE_SMOOTH), logits, target, valid, each)


def focal(
    logits: Tensor, target: Tensor, valid: Tensor | None = None, *, gamma: float = 2.0, each: bool = False
) -> Tensor:
    """Mean of |y - p|^γ times the cross-entropy (Lin et al.: Focal loss, ICCV 2017); arguments as for `bce`."""

    def rows(x: Tensor, y: Tensor, v: Tensor | None) -> Tensor:
        entropy = F.binary_cross_entropy_with_logits(x, y, reduction="none")
        missed = y * torch.sigmoid(-x) + (1.0 - y) * torch.sigmoid(x)
        return mean_over(missed**gamma * entropy, v)

    return _on_rows(rows, logits, target, valid, each)


def lovasz_hinge(logits: Tensor, target: Tensor, valid: Tensor | None = None, *, each: bool = False) -> Tensor:
    """The Lovász extension of the Jaccard loss at the hinge errors e = 1 - s·logit, s = ±1, image by image.

    Σ_k relu(e_k) (J_k - J_{k-1}), errors falling. Of an empty mask only the largest logit counts.
    Source: Berman, Triki, Blaschko, CVPR 2018.

    Args:
        logits: (B, ...).
        target: (B, ...), of the mask where it is above 0.5.
        valid: (B, ...) bool; None for everywhere. An image without valid places has loss 0.
        each: True for the loss of each image, (B,); False for their mean.

    Raises:
        UserError: the shapes differ.
    """
    return _on_rows(lambda x, y, v: _lovasz(x, y, v, F.relu), logits, target, valid, each)


def lovasz_elu(logits: Tensor, target: Tensor, valid: Tensor | None = None, *, each: bool = False) -> Tensor:
    """`lovasz_hinge` with elu(e) + 1 in place of relu(e): what is right by more than the margin still pulls."""
    return _on_rows(lambda x, y, v: _lovasz(x, y, v, lambda e: F.elu(e) + 1.0), logits, target, valid, each)


def lovasz_symmetric(logits: Tensor, target: Tensor, valid: Tensor | None = None, *, each: bool = False) -> Tensor:
    """Half the sum of `lovasz_hinge` of the mask and of the mask's complement, ½ (L(x, y) + L(-x, 1 - y))."""

    def rows(x: Tensor, y: Tensor, v: Tensor | None) -> Tensor:
        return 0.5 * (_lovasz(x, y, v, F.relu) + _lovasz(-x, 1.0 - y, v, F.relu))

    return _on_rows(rows, logits, target, valid, each)


def _on_rows(rows: Rows, logits: Tensor, target: Tensor, valid: Tensor | None, each: bool) -> Tensor:
    same_shape(logits, target, ("logits", "target"))
    if valid is not None:
        same_shape(logits, valid, ("logits", "valid"))
    with torch.autocast(logits.device.type, enabled=False):
        flat = full_precision(logits).reshape(len(logits), -1)
        truth = target.reshape(len(target), -1).to(flat.dtype)
        losses = rows(flat, truth, None if valid is None else valid.reshape(len(valid), -1).bool())
    return losses if each else losses.mean()


def _bce(logits: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    return mean_over(F.binary_cross_entropy_with_logits(logits, target, reduction="none"), valid)


def _dice(logits: Tensor, target: Tensor, valid: Tensor | None, smooth: float) -> Tensor:
    share = torch.sigmoid(logits)
    if valid is not None:
        share, target = torch.where(valid, share, 0.0), torch.where(valid, target, 0.0)
    both = (share * target).sum(dim=1)
    return 1.0 - (2.0 * both + smooth) / (share.sum(dim=1) + target.sum(dim=1) + smooth)


def _lovasz(logits: Tensor, target: Tensor, valid: Tensor | None, bend: Callable[[Tensor], Tensor]) -> Tensor:
    truth = (target > 0.5).to(logits.dtype)
    errors = 1.0 - (2.0 * truth - 1.0) * logits
    if valid is not None:
        # Behind all others, where either bend is 0: a place that does not count moves no step before it.
        errors, truth = errors.masked_fill(~valid, -torch.inf), truth.masked_fill(~valid, 0.0)
    falling, order = errors.sort(dim=1, descending=True, stable=True)
    steps = jaccard_steps(truth.gather(1, order))
    return (bend(falling) * steps).sum(dim=1)
