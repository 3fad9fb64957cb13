"""Which crop of a tile is worth training on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError
from hstasks.landcover.sampling import RARE, class_shares

Rule = Literal["meant", "published"]

LARGEST_SHARE = 0.75
RARE_SHARE = 0.03
TRIES = 11
"""Windows drawn before the last one is taken as it is."""


def acceptable(crop: ArrayLike, rule: Rule = "meant", classes: int = 6, rare: Sequence[int] = RARE) -> bool:
    """Whether a crop of a mask is taken.

    No class may hold 0.75 of its valid pixels or more. As the rule was meant, a rare class must also hold more than
    0.03; as published, this part does nothing.

    Args:
        crop: (H, W) labels, 0 where there is no truth; a crop without any is not taken.
        rule: "meant" or "published".
        classes: how many there are, 0 included.
        rare: the classes asked for.
    """
    shares = class_shares(crop, classes)
    if shares is None or shares.max() >= LARGEST_SHARE:
        return False
    return rule == "published" or bool((shares[list(rare)] > RARE_SHARE).any())


def choose(
    mask: ArrayLike, size: int, generator: np.random.Generator, rule: Rule = "meant", tries: int = TRIES
) -> tuple[int, int]:
    """The row and column of the first acceptable of `tries` random windows; of the last where none is.

    Args:
        mask: (H, W) labels.
        size: side of the window.
        generator: what the draws come from; a function of the sample's key.
        rule: see `acceptable`.
        tries: at least 1.

    Raises:
        UserError: the mask is smaller than the window.
    """
    labels = _mask(mask, size)
    row = column = 0
    for _ in range(max(tries, 1)):
        row, column = (int(generator.integers(side - size + 1)) for side in labels.shape)
        if acceptable(labels[row : row + size, column : column + size], rule):
            break
    return row, column


def around_class(mask: ArrayLike, size: int, generator: np.random.Generator, number: int) -> tuple[int, int] | None:
    """The row and column of a window that holds a random pixel of a class at a random place; None without any.

    Args:
        mask: (H, W) labels.
        size: side of the window.
        generator: what the draws come from.
        number: the class.

    Raises:
        UserError: the mask is smaller than the window.
    """
    labels = _mask(mask, size)
    places = np.flatnonzero(labels == number)
    if not len(places):
        return None
    pixel = np.unravel_index(places[generator.integers(len(places))], labels.shape)
    row, column = (
        int(np.clip(place - generator.integers(size), 0, side - size))
        for place, side in zip(pixel, labels.shape, strict=True)
    )
    return row, column


def _mask(mask: ArrayLike, size: int) -> NDArray[np.integer]:
    labels: NDArray[np.integer] = np.asarray(mask)
    if labels.ndim != 2 or min(labels.shape) < size:
        raise UserError(f"A mask of shape {labels.shape} has no window of {size} x {size}: choose a smaller crop.")
    return labels
