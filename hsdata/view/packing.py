"""Planes of numbers as a page holds them: quantised, with the error of that measured, and deflated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsengine.report.page import packed

Bits = Literal[8, 16]


@dataclass(frozen=True)
class Planes:
    """Quantised planes.

    A value is low + (high - low) · (code / (2^bits - 1))²: the square root spends the codes on the dark values, which
    spectral measures are most sensitive to.

    Attributes:
        text: the codes, each plane less the one before it modulo 2^bits, high bytes before low ones; as
            `hsengine.report.page.packed` gives them.
        shape: (planes, height, width).
        bits: of a code.
        low: (planes,) the value of code 0.
        high: (planes,) that of the greatest code.
        worst: the greatest magnitude of the error.
        mean: the mean magnitude of the error.
    """

    text: str
    shape: tuple[int, int, int]
    bits: Bits
    low: list[float]
    high: list[float]
    worst: float
    mean: float

    def described(self, id: str) -> dict[str, Any]:
        """What the page's script reads; `id` is the element that holds `text`."""
        return {"id": id, "shape": self.shape, "bits": self.bits, "low": self.low, "high": self.high}


def quantised(values: NDArray[np.floating], bits: Bits) -> Planes:
    """Quantise planes (planes, height, width); what is not finite becomes the least value of its plane."""
    top = (1 << bits) - 1
    codes = np.empty(values.shape, dtype=np.uint8 if bits == 8 else np.uint16)
    low, high, worst, total = [], [], 0.0, 0.0
    for plane, code in zip(values, codes, strict=True):
        finite = np.isfinite(plane)
        least, most = (float(plane[finite].min()), float(plane[finite].max())) if finite.any() else (0.0, 0.0)
        span = (most - least) or 1.0
        shares = np.clip((np.where(finite, plane, least).astype(np.float64) - least) / span, 0.0, 1.0)
        code[:] = np.rint(np.sqrt(shares) * top)
        error = np.abs(span * ((code / top) ** 2 - shares))
        worst, total = max(worst, float(error.max(initial=0.0))), total + float(error.sum())
        low.append(least)
        high.append(least + span)
    # Neighbouring bands are alike: their differences deflate better.
    steps = np.concatenate([codes[:1], codes[1:] - codes[:-1]])
    content = (
        steps.tobytes() if bits == 8 else (steps >> 8).astype(np.uint8).tobytes() + steps.astype(np.uint8).tobytes()
    )
    shape = (values.shape[0], values.shape[1], values.shape[2])
    return Planes(packed(content), shape, bits, low, high, worst, total / max(values.size, 1))
