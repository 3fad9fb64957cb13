"""Bilinear resampling of images, also strip by strip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Taps:
    """For each new pixel along an axis, the two old ones that it lies between.

    Attributes:
        low: (new pixels,) index of the old pixel before it.
        high: (new pixels,) index of the one after it.
        weight: (new pixels,) float32 share of the latter.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    weight: NDArray[np.float32]

    def __getitem__(self, part: slice) -> Taps:
        return Taps(self.low[part], self.high[part], self.weight[part])

    def shifted(self, by: int) -> Taps:
        """The same for an image that begins `by` pixels earlier."""
        return replace(self, low=self.low + by, high=self.high + by)

    def apply(self, values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """`values` with the axis resampled."""
        extent = [1] * values.ndim
        extent[axis] = -1
        before = values.take(self.low, axis)
        after = values.take(self.high, axis)
        after -= before
        after *= self.weight.reshape(extent)
        after += before
        return after


def taps(old: int, new: int) -> Taps:
    """Taps of `new` pixels over `old` ones that span the same length; the edge pixels hold beyond their centres."""
    centres = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0.0, old - 1.0)
    low = np.floor(centres).astype(np.int64)
    return Taps(low, np.minimum(low + 1, old - 1), (centres - low).astype(np.float32))


def bilinear(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """An image (channels, any height, any width) at another size, without averaging over what is left out."""
    if values.shape[1:] == (height, width):
        return values
    return taps(values.shape[2], width).apply(taps(values.shape[1], height).apply(values, 1), 2)
