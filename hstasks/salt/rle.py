"""Run-length encoding of masks, as the competition's files hold them.

`start length` pairs, from 1, over the pixels from top to bottom and then from left to right; sorted, without
overlap; an empty mask is an empty string.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsengine.base.errors import UserError

TILE = (101, 101)
"""(height, width) of the competition's tiles, in pixels."""

_NUMBER = re.compile(r"[0-9]+")
# More digits than any pixel of an image has.
_DIGITS = 18


def rle_encode(mask: ArrayLike) -> str:
    """The runs of a mask (H, W) of any integer or boolean type; not 0 is in the mask.

    Raises:
        UserError: it has another number of axes or another type.
    """
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise UserError(
            f"A mask to encode is (height, width) of an integer or boolean type, not {array.dtype} of "
            f"shape {array.shape}."
        )
    inside = np.zeros(array.size + 2, dtype=np.int8)
    inside[1:-1] = (array != 0).ravel(order="F")
    changes = np.flatnonzero(np.diff(inside))
    starts, ends = changes[::2], changes[1::2]
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts.tolist(), ends.tolist(), strict=True))


def rle_decode(text: str, shape: tuple[int, int] = TILE) -> NDArray[np.bool_]:
    """The mask (H, W), boolean, that `text` encodes.

    Args:
        text: the runs; white space around them is ignored.
        shape: (height, width) of the mask.

    Raises:
        UserError: `text` is no list of pairs of whole numbers, or a run is empty, not after the one before it,
            overlaps it or leaves the tile.
    """
    height, width = shape
    flat = np.zeros(height * width, dtype=np.bool_)
    past = 0
    for start, length in _pairs(text):
        run = f"The run '{start} {length}'"
        if start < 1 or start + length - 1 > flat.size:
            raise UserError(f"{run} leaves the tile of {height} x {width} pixels, which are 1 to {flat.size}.")
        if length < 1:
            raise UserError(f"{run} is empty: leave it out.")
        if start <= past:
            raise UserError(f"{run} begins before pixel {past} where the run before it ends: sort and join the runs.")
        past = start + length - 1
        flat[start - 1 : past] = True
    return flat.reshape(shape, order="F")


def _pairs(text: str) -> list[tuple[int, int]]:
    if not isinstance(text, str):
        raise UserError(f"Run lengths are text such as '1 3 10 2', not {text!r}; an empty mask is ''.")
    words = text.split()
    wrong = next((word for word in words if len(word) > _DIGITS or not _NUMBER.fullmatch(word)), None)
    if wrong is not None:
        raise UserError(f"'{wrong[:20]}' is no whole number from 1 on: run lengths are pairs 'start length'.")
    if len(words) % 2:
        raise UserError(f"There are {len(words)} numbers: run lengths are pairs 'start length'.")
    numbers = [int(word) for word in words]
    return list(zip(numbers[::2], numbers[1::2], strict=True))
