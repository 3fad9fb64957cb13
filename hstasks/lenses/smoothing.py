"""Filters of images (..., height, width), with zeros beyond the borders, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def gaussian(image: NDArray[Any], sigma: float) -> Values:
    """Convolve with a normalised Gaussian of `sigma` pixels that is cut off at ceil(3 sigma)."""
    from scipy.ndimage import convolve1d

    radius = math.ceil(3.0 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    rows = convolve1d(np.asarray(image, np.float64), kernel, axis=-2, mode="constant")
    return np.asarray(convolve1d(rows, kernel, axis=-1, mode="constant"))


def guided(image: NDArray[Any], radius: int, eps: float) -> Values:
    """The guided filter of an image guided by itself (He, Sun and Tang 2013, arXiv:1409.6262).

    Each pixel becomes a x + b, with the means of a and b over the windows that hold it; in a window of variance v and
    mean m, a = v / (v + eps) and b = (1 - a) m. Windows are cut off at the borders.

    Args:
        image: in any unit.
        radius: of the square window, in pixels.
        eps: variance below which a window is smoothed, in the image's unit squared.
    """
    values = np.asarray(image, np.float64)
    mean = _box(values, radius)
    variance = _box(values * values, radius) - mean * mean
    slope = variance / (variance + eps)
    return _box(slope, radius) * values + _box(mean - slope * mean, radius)


def _box(image: Values, radius: int) -> Values:
    """Means over windows cut off at the borders."""
    from scipy.ndimage import uniform_filter1d

    total, count = image, np.ones(image.shape[-2:])
    for axis in (-2, -1):
        total = uniform_filter1d(total, 2 * radius + 1, axis=axis, mode="constant")
        count = uniform_filter1d(count, 2 * radius + 1, axis=axis, mode="constant")
    return np.asarray(total / count)
