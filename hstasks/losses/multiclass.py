"""Losses of masks with several classes, where some pixels have no truth.

Shapes: logits (B, C, H, W), truth (B, H, W) integer, `valid` (B, H, W) bool or None. A pixel counts where it is
valid and its truth is not `ignore`. The loss of a batch pools all its valid pixels, as if it were one image; with
`each` every image stands alone. Where nothing counts the loss is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hsengine.base.errors import UserError
from hstasks.losses.rows import full_precision, jaccard_steps, mean_over

Rows = Callable[[Tensor, Tensor, Tensor], Tensor]


def cross_entropy(
    logits: Tensor,
    truth: Tensor,
    valid: Tensor | None = None,
    *,
    ignore: int | None = None,
    smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    each: bool = False,
) -> Tensor:
    """Mean over valid pixels of (1 - ε) (-ln p_truth) + ε mean_c(-ln p_c).

    Args:
        logits: (B, C, H, W).
        truth: (B, H, W), class numbers.
        valid: (B, H, W) bool; None for everywhere.
        ignore: the label that is no class to learn.
        smoothing: ε, in [0, 1).
        class_weights: one for each class; the mean becomes Σ w l / Σ w.
        each: True for the loss of each image, (B,).

    Raises:
        UserError: shapes that do not fit, a truth outside the classes, or another number of weights.
    """

    def rows(x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        log = x.log_softmax(dim=1)
        losses = -(1.0 - smoothing) * _of_truth(log, y) - smoothing * log.mean(dim=1)
        if class_weights is None:
            return mean_over(losses, v)
        weights = _class_weights(class_weights, x)[y] * v
        return (weights * losses).sum(dim=1) / weights.sum(dim=1).clamp_min(torch.finfo(x.dtype).tiny)

    return _on_rows(rows, logits, truth, valid, ignore, each)


def multiclass_dice(
    logits: Tensor,
    truth: Tensor,
    valid: Tensor | None = None,
    *,
    ignore: int | None = None,
    smooth: float = 0.05,
    each: bool = False,
) -> Tensor:
    """Mean over the classes present in the truth of 1 - (2 Σ p y + s) / (Σ p + Σ y + s).

    `ignore` is not a class here; an absent class says nothing. Arguments as for `cross_entropy`.
    """

    def rows(x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        share, target = x.softmax(dim=1) * v[:, None], _one_hot(y, v, x)
        both, size = (share * target).sum(dim=2), share.sum(dim=2) + target.sum(dim=2)
        losses = 1.0 - (2.0 * both + smooth) / (size + smooth)
        return mean_over(losses, target.any(dim=2))

    return _on_rows(rows, logits, truth, valid, ignore, each)


def multiclass_focal(
    logits: Tensor,
    truth: Tensor,
    valid: Tensor | None = None,
    *,
    ignore: int | None = None,
    gamma: float = 2.0,
    each: bool = False,
) -> Tensor:
    """Mean over valid pixels of (1 - p_truth)^γ (-ln p_truth); arguments as for `cross_entropy`."""

    def rows(x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        log = _of_truth(x.log_softmax(dim=1), y)
        return mean_over(-((1.0 - log.exp()) ** gamma) * log, v)

    return _on_rows(rows, logits, truth, valid, ignore, each)


def ohem(
    logits: Tensor,
    truth: Tensor,
    valid: Tensor | None = None,
    *,
    ignore: int | None = None,
    below: float = 0.7,
    at_least: int = 64,
    each: bool = False,
) -> Tensor:
    """Cross-entropy of the hard pixels only: those whose p_truth is under `below`, or the `at_least` hardest.

    Source: Shrivastava et al.: Training region-based detectors with online hard example mining, CVPR 2016.
    Arguments as for `cross_entropy`.
    """

    def rows(x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        losses = -_of_truth(x.log_softmax(dim=1), y)
        hardness = losses.detach().masked_fill(~v, -torch.inf)
        rank = hardness.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        hard = v & ((hardness.neg().exp() < below) | (rank < at_least))
        return mean_over(losses, hard)

    return _on_rows(rows, logits, truth, valid, ignore, each)


def lovasz_softmax(
    logits: Tensor,
    truth: Tensor,
    valid: Tensor | None = None,
    *,
    ignore: int | None = None,
    each: bool = False,
) -> Tensor:
    """Mean over the classes present of the Lovász extension of the Jaccard loss at |y_c - p_c|.

    Source: Berman, Triki, Blaschko, CVPR 2018. Arguments as for `cross_entropy`.
    """

    def rows(x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        target = _one_hot(y, v, x)
        errors = ((target - x.softmax(dim=1)).abs() * v[:, None]).flatten(0, 1)
        # Pixels that do not count go behind all others.
        keys = errors.detach().masked_fill(~v[:, None].expand_as(target).flatten(0, 1), -1.0)
        order = keys.argsort(dim=1, descending=True, stable=True)
        steps = jaccard_steps(target.flatten(0, 1).gather(1, order))
        losses = (errors.gather(1, order) * steps).sum(dim=1).reshape(target.shape[:2])
        return mean_over(losses, target.any(dim=2))

    return _on_rows(rows, logits, truth, valid, ignore, each)


def _on_rows(rows: Rows, logits: Tensor, truth: Tensor, valid: Tensor | None, ignore: int | None, each: bool) -> Tensor:
    places = (len(logits), *logits.shape[2:])
    for name, array in (("truth", truth), ("valid", valid)):
        if array is not None and tuple(array.shape) != places:
            raise UserError(
                f"{name} of shape {tuple(array.shape)} does not fit logits of shape {tuple(logits.shape)}: "
                f"it needs {places}."
            )
    classes = logits.shape[1]
    counts = torch.ones_like(truth, dtype=torch.bool) if valid is None else valid.bool()
    if ignore is not None:
        counts = counts & (truth != ignore)
    known = torch.where(counts, truth, 0).long()
    low, high = (int(bound) for bound in torch.aminmax(known)) if known.numel() else (0, 0)
    if low < 0 or high >= classes:
        raise UserError(
            f"The truth holds label {low if low < 0 else high}, but there are {classes} classes, 0 to {classes - 1}: "
            "map it to a class, or name it as 'ignore'."
        )
    with torch.autocast(logits.device.type, enabled=False):
        flat = full_precision(logits).flatten(2)
        known, counts = known.flatten(1), counts.flatten(1)
        if not each:
            flat = flat.transpose(0, 1).flatten(1)[None]
            known, counts = known.reshape(1, -1), counts.reshape(1, -1)
        losses = rows(flat, known, counts)
    return losses if each else losses[0]


def _of_truth(values: Tensor, truth: Tensor) -> Tensor:
    return values.gather(1, truth[:, None])[:, 0]


def _one_hot(truth: Tensor, valid: Tensor, like: Tensor) -> Tensor:
    target = torch.zeros_like(like, requires_grad=False)
    return target.scatter_(1, truth[:, None], valid[:, None].to(like.dtype))


def _class_weights(weights: Sequence[float], logits: Tensor) -> Tensor:
    if len(weights) != logits.shape[1]:
        raise UserError(f"There are {len(weights)} class weights for {logits.shape[1]} classes: give one for each.")
    return torch.as_tensor(weights, dtype=logits.dtype, device=logits.device)
