"""How often a tile is drawn: weights from its loss, from the rare classes in it, or from both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError

RARE = (4, 5)
"""Settlement and seminatural grassland."""

DIFFICULTY = 4.0
"""What the hardest tile weighs above the easiest."""


SMALLEST = 0.01
"""The share below which a class weighs no more than others in the loss: so little of it teaches false alarms."""


def difficulty_weights(losses: ArrayLike, strength: float = DIFFICULTY) -> NDArray[np.float64]:
    """w = 1 + 4 (l - l_min) / (l_max - l_min) of each tile.

    Args:
        losses: (n,) mean cross-entropy of each tile without augmentation; NaN for one without valid pixels.
        strength: what stands for 4.

    Returns:
        (n,) from 1 to 1 + strength: 1 for a tile without a loss, and for all where the losses are equal.

    Raises:
        UserError: a loss is infinite, or `losses` is no row of numbers.
    """
    values = np.asarray(losses, dtype=np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        where = f", infinite at position {int(np.flatnonzero(np.isinf(values))[0])}" if values.ndim == 1 else ""
        raise UserError(
            f"The tiles' losses have shape {values.shape}{where}: give one number for each tile, NaN where a tile has "
            "no valid pixel."
        )
    known = np.isfinite(values)
    weights = np.ones(len(values))
    if known.any():
        low, high = values[known].min(), values[known].max()
        if high > low:
            weights[known] += strength * (values[known] - low) / (high - low)
    return weights


def hardness_richness_weights(
    hardness: ArrayLike,
    richness: ArrayLike,
    *,
    beta: float = 0.5,
    gamma: float = 1.0,
    clip: tuple[float, float] = (5.0, 95.0),
    mix: float = 0.5,
    floor: float = 1e-6,
) -> NDArray[np.float64]:
    """(error + ε)^β (share of rare classes + ε)^γ, clipped at two percentiles, over its mean + ε, mixed with 1.

    Args:
        hardness: (n,) error of each tile; NaN for one without valid pixels counts as 0.
        richness: (n,) share of the rare classes.
        beta: exponent of the hardness.
        gamma: exponent of the richness.
        clip: percentiles, linearly interpolated.
        mix: share of the weights; the rest is uniform.
        floor: ε.

    Returns:
        (n,) of mean 1, but for ε.

    Raises:
        UserError: the lengths differ.
    """
    hard, rich = np.nan_to_num(np.asarray(hardness, dtype=np.float64)), np.asarray(richness, dtype=np.float64)
    if hard.shape != rich.shape or hard.ndim != 1:
        raise UserError(f"{hard.shape} hardnesses and {rich.shape} richnesses: give one of each for every tile.")
    if not len(hard):
        return hard
    raw = (hard + floor) ** beta * (rich + floor) ** gamma
    raw = raw.clip(*np.percentile(raw, clip))
    weights: NDArray[np.float64] = mix * raw / (raw.mean() + floor) + (1.0 - mix)
    return weights


def class_balanced_weights(present: ArrayLike, rare: Sequence[int] = RARE, scale: float = 1.0) -> NDArray[np.float64]:
    """w = max(1, s · max_c 1 / f_c) over the rare classes c in a tile, f_c the share of tiles that hold c.

    Args:
        present: (n, C) bool, which classes each tile holds.
        rare: the classes that are drawn more often.
        scale: s.

    Returns:
        (n,) of at least 1.
    """
    holds = np.asarray(present, dtype=bool)[:, list(rare)]
    shares = holds.mean(axis=0) if len(holds) else np.ones(len(rare))
    gain = np.where(holds, scale / np.where(shares > 0, shares, 1.0), 0.0)
    weights: NDArray[np.float64] = np.maximum(1.0, gain.max(axis=1, initial=0.0))
    return weights


def rare_class_probabilities(frequencies: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """P(c) ∝ exp((1 - f_c) / T): which class the next tile must hold.

    Source: Hoyer, Dai, Van Gool: DAFormer, CVPR 2022.

    Args:
        frequencies: (C,) share of the pixels of each class.
        temperature: T; the lower, the more the rarest class is drawn.

    Raises:
        UserError: the temperature is not positive.
    """
    if not temperature > 0:
        raise UserError(f"The temperature of rare class sampling is {temperature}: give a number above 0.")
    shares = np.asarray(frequencies, dtype=np.float64)
    gains = np.exp((shares.min() - shares) / temperature)
    probabilities: NDArray[np.float64] = gains / gains.sum()
    return probabilities


def share_weights(counts: ArrayLike, power: float, floor: float = SMALLEST) -> NDArray[np.float64]:
    """f_c^-power of each class, over the mean of that by share: weights of a loss by class.

    Args:
        counts: (C,) pixels of each class.
        power: 0 weighs all alike, 0.5 by the root of the inverse share, 1 by the inverse share.
        floor: a class of a smaller share weighs 1.

    Returns:
        (C,) with Σ f_c w_c = Σ f_c over the classes of a share of `floor` or more; 1 for the others.
    """
    pixels = np.asarray(counts, dtype=np.float64)
    shares = pixels / max(pixels.sum(), 1.0)
    enough = (shares >= floor) & (shares > 0)
    weights = np.where(enough, np.where(enough, shares, 1.0) ** -power, 0.0)
    scale = (weights * shares).sum() / max(shares[enough].sum(), floor)
    return np.where(enough, weights / max(scale, 1e-12), 1.0)


def effective_number_weights(counts: ArrayLike, beta: float) -> NDArray[np.float64]:
    """(1 - β) / (1 - β^n) of each class, over their mean: weights of a loss by class.

    Source: Cui et al.: Class-balanced loss based on effective number of samples, CVPR 2019.

    Args:
        counts: (C,) pixels of each class.
        beta: in [0, 1): 0 weighs all alike, towards 1 by the inverse of the count.

    Returns:
        (C,) of mean 1 over the classes that have pixels; 0 for one without.

    Raises:
        UserError: β is not in [0, 1).
    """
    if not 0 <= beta < 1:
        raise UserError(f"The effective number of samples has β = {beta}: give a number of at least 0, below 1.")
    pixels = np.asarray(counts, dtype=np.float64)
    weights = np.zeros(len(pixels))
    there = pixels > 0
    weights[there] = (1.0 - beta) / (1.0 - beta ** pixels[there])
    return weights / weights[there].mean() if there.any() else weights


def class_shares(mask: ArrayLike, classes: int = 6, background: int = 0) -> NDArray[np.float64] | None:
    """The share of each class, (C,), among the pixels of a mask that are not background; None where all are."""
    counts = np.bincount(np.asarray(mask).reshape(-1), minlength=classes).astype(np.float64)
    counts[background] = 0
    total = counts.sum()
    return counts / total if total else None
