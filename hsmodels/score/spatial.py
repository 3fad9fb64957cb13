"""Structural similarity and peak signal-to-noise ratio of renders."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

from hsmodels.score.strips import over_strips

RADIUS: Final = 5
SIGMA: Final = 1.5
# (K L)² for K = 0.01 and 0.03, data range L = 1.
LUMINANCE_CONSTANT: Final = 0.01**2
CONTRAST_CONSTANT: Final = 0.03**2

SQUARED_ERROR_FLOOR: Final = 1e-12

# Rows filtered at a time, so that the planes in hand stay in the processor's cache; columns filtered by one product.
_CPU_ROWS: Final = 32
_COLUMNS: Final = 64


@cache
def _window() -> tuple[float, ...]:
    """The 1-D Gaussian of 11 taps, summing to one."""
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    return tuple(float(tap) for tap in taps / taps.sum())


def _mirrored(size: int, device: torch.device) -> Tensor:
    """Indices of an axis padded by its mirror image, edges not repeated; an axis of any size."""
    period = max(2 * (size - 1), 1)
    place = np.abs(np.arange(-RADIUS, size + RADIUS)) % period
    return torch.from_numpy(np.where(place < size, place, period - place)).to(device)


def _filtered(planes: Tensor, axis: int) -> Tensor:
    """`planes` filtered along `axis`, which loses its padding.

    A sum of shifted planes: exact in the planes' own type, where convolutions on GPUs may round to TF32.
    """
    window, size = _window(), planes.shape[axis] - 2 * RADIUS
    result = planes.narrow(axis, RADIUS, size) * window[RADIUS]
    for i in range(RADIUS):
        pair = planes.narrow(axis, i, size) + planes.narrow(axis, 2 * RADIUS - i, size)
        result = result.add_(pair, alpha=window[i])
    return result


@cache
def _band(size: int, dtype: torch.dtype) -> Tensor:
    """(size, size + 10): times a padded column, the column filtered."""
    window = torch.tensor(_window(), dtype=dtype)
    matrix = torch.zeros(size, size + 2 * RADIUS, dtype=dtype)
    for row in range(size):
        matrix[row, row : row + 2 * RADIUS + 1] = window
    return matrix


def _filtered_by_products(planes: Tensor) -> Tensor:
    """`planes` (..., H, W) filtered along both axes, which lose their padding; on a processor, without gradient.

    Each axis is a product with a matrix that is a band of the window: five times as many operations as there are
    taps, and still faster, since none of them waits for memory.
    """
    *others, height, width = planes.shape
    height, width = height - 2 * RADIUS, width - 2 * RADIUS
    across = (_band(height, planes.dtype) @ planes).reshape(-1, width + 2 * RADIUS)
    result = across.new_empty(len(across), width)
    for left in range(0, width, _COLUMNS):
        size = min(_COLUMNS, width - left)
        part = across[:, left : left + size + 2 * RADIUS]
        torch.mm(part, _band(size, planes.dtype).T, out=result[:, left : left + size])
    return result.reshape(*others, height, width)


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity at each pixel, mean over the channels.

    Gaussian window of 11 × 11 with σ 1.5, mirrored borders, K = (0.01, 0.03), data range 1
    (Wang et al. 2004). Images smaller than the window are mirrored repeatedly.

    Args:
        first: (B, channels, H, W).
        second: (B, channels, H, W).

    Returns:
        (B, H, W), of the inputs' type.
    """
    height, width = first.shape[-2:]
    rows, columns = _mirrored(height, first.device), _mirrored(width, first.device)
    if first.device.type == "cpu" and not (torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)):
        step = _CPU_ROWS
        strips = [slice(top, min(top + step, height) + 2 * RADIUS) for top in range(0, height, step)]
        parts = over_strips(lambda at: _similarity_of_rows(first, second, rows[at], columns), strips, first.device)
        return torch.cat(parts, dim=1)
    x, y = (planes.index_select(-2, rows).index_select(-1, columns) for planes in (first, second))
    planes = torch.stack([x, y, x * x + y * y, x * y])
    mean_x, mean_y, squares, products = _filtered(_filtered(planes, -2), -1)
    means, mean_squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    luminance = (2.0 * means + LUMINANCE_CONSTANT) / (mean_squares + LUMINANCE_CONSTANT)
    contrast = (2.0 * (products - means) + CONTRAST_CONSTANT) / (squares - mean_squares + CONTRAST_CONSTANT)
    similarity: Tensor = (luminance * contrast).mean(dim=1)
    return similarity


def _similarity_of_rows(first: Tensor, second: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """`ssim_map` of padded rows, channel by channel, so that all of it stays in the cache; without gradient."""
    batch, channels = first.shape[:2]
    planes = first.new_empty(4, batch, len(rows), len(columns))
    x, y, squares, products = planes
    total = first.new_zeros(batch, len(rows) - 2 * RADIUS, len(columns) - 2 * RADIUS)
    for channel in range(channels):
        for image, padded in ((first, x), (second, y)):
            torch.index_select(image[:, channel].index_select(-2, rows), -1, columns, out=padded)
        torch.mul(x, y, out=products)
        torch.mul(x, x, out=squares).addcmul_(y, y)
        mean_x, mean_y, mean_squares, mean_products = _filtered_by_products(planes)
        means = mean_x * mean_y
        # The squares of the means, then the variances.
        mean_x.square_().addcmul_(mean_y, mean_y)
        variances = mean_squares.sub_(mean_x)
        upper = mean_products.sub_(means).mul_(2.0).add_(CONTRAST_CONSTANT)
        upper.mul_(means.mul_(2.0).add_(LUMINANCE_CONSTANT))
        lower = variances.add_(CONTRAST_CONSTANT).mul_(mean_x.add_(LUMINANCE_CONSTANT))
        total.add_(upper.div_(lower))
    return total.div_(channels)


def psnr(squared_error: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors, data range 1; at most 120."""
    return -10.0 * squared_error.clamp(min=SQUARED_ERROR_FLOOR).log10()
