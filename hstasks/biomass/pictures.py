"""What is computed of a picture itself: burnt-in dates, colours, complexity, and its look."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STATISTICS = (
    *(f"{name}_{measure}" for name in ("red", "green", "blue", "excess", "hue_x", "hue_y", "saturation")
      for measure in ("mean", "sd", "p10", "p50", "p90")),
    *("vegetation", "edges", "dark"),
)  # fmt: skip
"""Names of the colour statistics."""

COMPLEXITY = ("fractal", "wavelet")
_HUES, _LEAST = (10.0, 50.0), 150.0 / 255.0
_SCALES = (2, 4, 8, 16, 32, 64, 128)
_ROWS, _COLUMNS = 8, 16
# About so many columns remain of a picture when its colours are counted.
_WIDTH = 500


def date_mask(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a picture (3, H, W), white as 1, has the orange of a burnt-in date, (H, W): hue 10° to 50°, saturation and
    value above 150/255."""
    hue, saturation, value = hsv(image)
    found: NDArray[np.bool_] = (hue >= _HUES[0]) & (hue <= _HUES[1]) & (saturation > _LEAST) & (value > _LEAST)
    return found


def without_dates(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The picture with its burnt-in date, and one pixel around it, painted with the mean colour of the rest."""
    mask = date_mask(image)
    if not mask.any() or mask.all():
        return image
    wide = mask.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            moved = np.roll(mask, step, axis=axis)
            index: list[Any] = [slice(None), slice(None)]
            index[axis] = 0 if step == 1 else -1
            moved[tuple(index)] = False
            wide |= moved
    painted = image.copy()
    rest = ~wide if not wide.all() else ~mask
    painted[:, wide] = image[:, rest].mean(axis=1, dtype=np.float64).astype(np.float32)[:, None]
    return painted


def hsv(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Hue in degrees, saturation and value of a picture (3, H, W), white as 1."""
    red, green, blue = image
    value = image.max(axis=0)
    spread = value - image.min(axis=0)
    safe = np.where(spread > 0, spread, 1.0)
    hue = np.where(
        value == red,
        (green - blue) / safe % 6.0,
        np.where(value == green, (blue - red) / safe + 2.0, (red - green) / safe + 4.0),
    )
    hue = np.where(spread > 0, 60.0 * hue, 0.0)
    saturation = np.where(value > 0, spread / np.where(value > 0, value, 1.0), 0.0)
    return hue.astype(np.float32), saturation.astype(np.float32), value


def statistics(image: NDArray[np.float32]) -> dict[str, float]:
    """The colour statistics of a picture (3, H, W), by the names of `STATISTICS`, without its burnt-in date."""
    step = max(1, round(image.shape[2] / _WIDTH))
    small = image[:, : image.shape[1] // step * step, : image.shape[2] // step * step].astype(np.float64)
    small = small.reshape(3, small.shape[1] // step, step, small.shape[2] // step, step).mean(axis=(2, 4))
    kept = ~date_mask(small.astype(np.float32))
    if not kept.any():
        kept[:] = True
    hue, saturation, value = hsv(small.astype(np.float32))
    excess = 2.0 * small[1] - small[0] - small[2]
    angle = np.deg2rad(hue.astype(np.float64))
    planes = [*small, excess, np.cos(angle) * saturation, np.sin(angle) * saturation, saturation.astype(np.float64)]
    found: list[float] = []
    for plane in planes:
        values = plane[kept]
        found += [float(values.mean()), float(values.std()), *np.quantile(values, (0.1, 0.5, 0.9)).tolist()]
    grey = small.mean(axis=0)
    edges = 0.5 * (np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())
    found += [float((excess[kept] > 0.1).mean()), float(edges), float((value[kept] < 0.25).mean())]
    return dict(zip(STATISTICS, found, strict=True))


def complexity(image: NDArray[np.float32]) -> dict[str, float]:
    """Fractal dimension of where the picture is light, and the share of low frequencies (the published features).

    The dimension is the negative slope of ln N(s) on ln s, with N(s) boxes of side s that hold a pixel with grey
    above 0.5, s from 2 to 128, clipped to [1, 2]. The share is of the absolute sums of a one-level Haar transform,
    low / (low + high).
    """
    grey = image.mean(axis=0, dtype=np.float64)
    return {"fractal": box_dimension(grey > 0.5), "wavelet": _low_share(grey)}


def box_counts(mask: NDArray[np.bool_], scales: tuple[int, ...]) -> dict[int, int]:
    """How many boxes of each side hold at least one set pixel of a mask (H, W)."""
    found = {}
    for side in scales:
        height, width = (-(-size // side) * side for size in mask.shape)
        padded = np.zeros((height, width), dtype=bool)
        padded[: mask.shape[0], : mask.shape[1]] = mask
        found[side] = int(padded.reshape(height // side, side, width // side, side).any(axis=(1, 3)).sum())
    return found


def box_dimension(mask: NDArray[np.bool_]) -> float:
    """The box-counting dimension of a mask (H, W), clipped to [1, 2]; 1 of an empty one."""
    scales = tuple(side for side in _SCALES if side <= min(mask.shape))
    counts = box_counts(mask, scales)
    if len(scales) < 2 or not mask.any():
        return 1.0
    slope = np.polyfit(np.log(scales), np.log([counts[side] for side in scales]), 1)[0]
    return float(np.clip(-slope, 1.0, 2.0))


def look(image: NDArray[np.float32]) -> str:
    """A name of 128 bits for how a picture (3, H, W) looks, in hexadecimal: whether each of 8 x 16 areas is lighter
    than its right neighbour. Pictures that were encoded anew, or made lighter, differ in few bits."""
    grey = image.mean(axis=0, dtype=np.float64)
    rows = np.linspace(0, grey.shape[0], _ROWS + 1).astype(int)
    columns = np.linspace(0, grey.shape[1], _COLUMNS + 2).astype(int)
    if (np.diff(rows) < 1).any() or (np.diff(columns) < 1).any():
        return ""
    sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], axis=0), columns[:-1], axis=1)
    means = sums / np.outer(np.diff(rows), np.diff(columns))
    return np.packbits(means[:, :-1] > means[:, 1:]).tobytes().hex()


def differing(first: str, second: str) -> int:
    """By how many bits two looks differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()


def _low_share(grey: NDArray[np.float64]) -> float:
    even = grey[: grey.shape[0] // 2 * 2, : grey.shape[1] // 2 * 2]
    a, b, c, d = even[::2, ::2], even[::2, 1::2], even[1::2, ::2], even[1::2, 1::2]
    low = np.abs(a + b + c + d).sum()
    high = np.abs(a + b - c - d).sum() + np.abs(a - b + c - d).sum() + np.abs(a - b - c + d).sum()
    return float(low / (low + high)) if low + high > 0 else 1.0
