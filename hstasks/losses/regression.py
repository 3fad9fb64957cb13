"""Losses of values, such as grams of dry matter.

Shapes: prediction and target (B, T). `weights` are (T,), one for each target; the loss of an image is
Σ w l / Σ w over its targets, so that weights that sum to 1 weigh the targets as they are. A target that is NaN is not
known and does not count. The loss of a batch is the mean over its images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hsengine.base.errors import UserError
from hstasks.losses.rows import full_precision, same_shape

Weights = Sequence[float] | None


def l1(prediction: Tensor, target: Tensor, *, weights: Weights = None, each: bool = False) -> Tensor:
    """|y - ŷ|."""
    return _weighted(lambda x, y: (x - y).abs(), prediction, target, weights, each)


def squared(prediction: Tensor, target: Tensor, *, weights: Weights = None, each: bool = False) -> Tensor:
    """(y - ŷ)²."""
    return _weighted(lambda x, y: (x - y).square(), prediction, target, weights, each)


def huber(
    prediction: Tensor, target: Tensor, *, beta: float = 1.0, weights: Weights = None, each: bool = False
) -> Tensor:
    """½ e² / β where |e| < β, |e| - ½ β beyond (smooth L1)."""
    return _weighted(
        lambda x, y: F.smooth_l1_loss(x, y, beta=beta, reduction="none"), prediction, target, weights, each
    )


def quantile(
    prediction: Tensor, target: Tensor, *, q: float = 0.5, weights: Weights = None, each: bool = False
) -> Tensor:
    """max(q e, (q - 1) e), e = y - ŷ: least at the q-quantile (Koenker, Bassett: Regression quantiles, 1978).

    Raises:
        UserError: q is not between 0 and 1, or the shapes differ.
    """
    if not 0.0 < q < 1.0:
        raise UserError(f"The quantile loss has q = {q}: give a number between 0 and 1.")
    return _weighted(lambda x, y: torch.maximum(q * (y - x), (q - 1.0) * (y - x)), prediction, target, weights, each)


def focal_regression(
    prediction: Tensor,
    target: Tensor,
    *,
    beta: float = 0.2,
    gamma: float = 1.0,
    activation: Literal["sigmoid", "tanh"] = "sigmoid",
    power: Literal[1, 2] = 1,
    weights: Weights = None,
    each: bool = False,
) -> Tensor:
    """|e|^power (2 σ(β|e|) - 1)^γ, or with tanh(β|e|)^γ: small errors count less.

    Source: Yang et al.: Delving into deep imbalanced regression, ICML 2021.
    """

    def rows(x: Tensor, y: Tensor) -> Tensor:
        error = (x - y).abs()
        size = torch.tanh(beta * error) if activation == "tanh" else 2.0 * torch.sigmoid(beta * error) - 1.0
        return error**power * size**gamma

    return _weighted(rows, prediction, target, weights, each)


def gaussian_nll(
    prediction: Tensor, target: Tensor, *, log_var: Tensor, weights: Weights = None, each: bool = False
) -> Tensor:
    """½ (ln 2π + s + e² exp(-s)), s the predicted logarithm of the variance, (B, T).

    Raises:
        UserError: there are no predicted variances, or the shapes differ.
    """
    same_shape(prediction, log_var, ("prediction", "log_var"))
    spread = full_precision(log_var)
    return _weighted(
        lambda x, y: 0.5 * (math.log(2.0 * math.pi) + spread + (x - y).square() * torch.exp(-spread)),
        prediction,
        target,
        weights,
        each,
    )


def weighted_r2_loss(
    prediction: Tensor,
    target: Tensor,
    *,
    weights: Weights = None,
    spread: float | None = None,
    each: bool = False,
) -> Tensor:
    """1 - R² over all (image, target) pairs: Σ w (y - ŷ)² / Σ w (y - ȳ)², ȳ = Σ w y / Σ w.

    Args:
        prediction: (B, T).
        target: (B, T).
        weights: (T,); None for equal ones.
        spread: Σ w (y - ȳ)² of an image's row on average, over the training set. With it an image's loss does not
            depend on the others of its batch; None takes the batch's own.
        each: True for each image's share, (B,), whose mean is the loss.

    Raises:
        UserError: the shapes differ, or `spread` is not positive.
    """
    if spread is not None and not spread > 0:
        raise UserError(f"The spread of the targets is {spread}: R² is not defined. Give targets that differ.")
    x, y, w = _prepared(prediction, target, weights)
    known = torch.where(w > 0, y, 0.0)
    if spread is None:
        mean = (w * known).sum() / w.sum().clamp_min(torch.finfo(x.dtype).tiny)
        total = (w * (known - mean).square()).sum() / len(x)
    else:
        total = x.new_tensor(spread)
    # Of a batch of one constant value R² is not defined; the floor keeps its loss finite.
    losses = (w * (x - known).square()).sum(dim=1) / total.clamp_min(1e-6)
    return losses if each else losses.mean()


def _weighted(
    rows: Callable[[Tensor, Tensor], Tensor], prediction: Tensor, target: Tensor, weights: Weights, each: bool
) -> Tensor:
    with torch.autocast(prediction.device.type, enabled=False):
        x, y, w = _prepared(prediction, target, weights)
        values = rows(x, torch.where(w > 0, y, x.detach()))
        losses = (w * values).sum(dim=1) / w.sum(dim=1).clamp_min(torch.finfo(x.dtype).tiny)
    return losses if each else losses.mean()


def _prepared(prediction: Tensor, target: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    same_shape(prediction, target, ("prediction", "target"))
    x = full_precision(prediction)
    y = target.to(x.dtype)
    row = x.new_ones(x.shape[1]) if weights is None else torch.as_tensor(weights, dtype=x.dtype, device=x.device)
    if row.shape != (x.shape[1],) or bool((row < 0).any()) or not bool((row > 0).any()):
        raise UserError(
            f"The target weights {list(weights or [])} do not fit {x.shape[1]} targets: give one of at "
            "least 0 for each, and one above 0."
        )
    return x, y, torch.where(y.isnan(), 0.0, row)
