"""Test-time augmentation: the mean over views of an image, each turned back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

Values = TypeVar("Values")
View = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""What makes a view of a batch (B, C, h, w), and what turns the output for it back."""


def averaged(run: Callable[[Tensor], Tensor], image: Tensor, views: Sequence[View]) -> Tensor:
    """The mean of what `run` gives for all views of an image, each turned back.

    Args:
        run: gives (B, channels, h * scale, w * scale) of (B, C, h, w); square images are not required.
        image: (B, C, h, w).
        views: at least one.

    Returns:
        (B, channels, h * scale, w * scale) float32.
    """
    total: Tensor | None = None
    for do, undo in views:
        result = undo(run(do(image).contiguous()))
        # A copy at first: the model may have handed out a tensor that it keeps.
        total = result.float().clone() if total is None else total.add_(result)
    assert total is not None
    return total.div_(len(views))


def dihedral(values: Values, k: int) -> Values:
    """One of the eight flips and turns of the last two axes of an array or tensor; 0 changes nothing.

    Bit 1 of `k` flips columns, bit 2 flips rows, bit 4 transposes afterwards.
    """
    array: Any = values
    array = _flip(array, -1) if k & 1 else array
    array = _flip(array, -2) if k & 2 else array
    return array.swapaxes(-1, -2) if k & 4 else array  # type: ignore[no-any-return]


def undo_dihedral(values: Values, k: int) -> Values:
    """The inverse of `dihedral` for the same `k`."""
    array: Any = values
    array = array.swapaxes(-1, -2) if k & 4 else array
    array = _flip(array, -2) if k & 2 else array
    return _flip(array, -1) if k & 1 else array  # type: ignore[no-any-return]


def views_of(do: Callable[..., Tensor], undo: Callable[..., Tensor], numbers: Sequence[int]) -> tuple[View, ...]:
    """The views that `do(image, k)` makes and `undo(output, k)` turns back, for each number."""
    return tuple((partial(do, k=k), partial(undo, k=k)) for k in numbers)


def _flip(array: Any, axis: int) -> Any:
    return np.flip(array, axis) if isinstance(array, np.ndarray) else array.flip(axis)


DIHEDRAL = views_of(dihedral, undo_dihedral, range(8))
"""All flips and turns."""

FLIP_COLUMNS = views_of(dihedral, undo_dihedral, (0, 1))
"""The image and its mirror image, left for right."""
