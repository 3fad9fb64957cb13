"""From linear sRGB to the colour differences of the score: renders, CIELAB, CIEDE2000.

Every function works on tensors (..., 3, n) and is differentiable, with finite gradients at black, at greys
and at equal colours. The constants are those of `hsdata.camera.colour`.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor

from hsdata.camera import colour as cie

_POWER_25_7: Final = 25.0**7
# What the curve and the line of an sRGB render have too much where they are added.
_CONSTANT: Final = cie.SRGB_OFFSET + cie.SRGB_SLOPE * cie.SRGB_THRESHOLD


class _Root(torch.autograd.Function):
    """Square root with the gradient 0 at 0, where the true one is infinite."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        root = values.sqrt()
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        return torch.where(root > 0, gradient / (2.0 * root), 0.0)


def root(values: Tensor) -> Tensor:
    """Square root of values of at least 0, with a zero gradient at 0."""
    result: Tensor = _Root.apply(values) if values.requires_grad else values.sqrt()  # type: ignore[no-untyped-call]
    return result


def encode(linear: Tensor) -> Tensor:
    """The sRGB render of linear values of any shape: clipped to [0, 1] and gamma encoded."""
    bounded = linear.clamp(0.0, 1.0)
    threshold = cie.SRGB_THRESHOLD
    power = (bounded.clamp(min=threshold).log() / cie.SRGB_GAMMA).exp()
    # The curve from the threshold on, and below it the line, which meets it there to 3e-8.
    return (1.0 + cie.SRGB_OFFSET) * power + cie.SRGB_SLOPE * bounded.clamp(max=threshold) - _CONSTANT


def labs(first: Tensor, second: Tensor, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """CIELAB of one render, and how far that of another is from it, both (..., 3, n).

    Decoding a render gives the clipped linear values back, so they are used as they are. The difference of two cube
    roots comes from that of what they are of, x - y = (x³ - y³) / (x² + xy + y²): with few digits, it would have none
    left where the colours are nearly equal.

    Args:
        first: linear sRGB (..., 3, n).
        second: linear sRGB (..., 3, n).
        dtype: float32 or float64, of the results; what is linear is computed in float64.
    """
    to_relative = torch.from_numpy(cie.RGB_TO_XYZ / cie.WHITE_D65[:, None]).to(first.device)
    x, y = (to_relative @ linear.double().clamp(0.0, 1.0) for linear in (first, second))
    threshold = cie.LAB_THRESHOLD
    # A cube root from the threshold on, and below it a line that meets it there.
    (upper, lower), (others, below) = ((values.clamp(min=threshold), values.clamp(max=threshold)) for values in (x, y))
    line, change = (cie.LAB_SLOPE * values.to(dtype) for values in (lower - threshold, below - lower))
    root, other = ((values.to(dtype).log() / 3.0).exp() for values in (upper, others))
    f = root + line
    change = change + (others - upper).to(dtype) / (root * (root + other) + other * other)
    (fx, fy, fz), (dx, dy, dz) = f.unbind(dim=-2), change.unbind(dim=-2)
    return (
        torch.stack([116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)], dim=-2),
        torch.stack([116.0 * dy, 500.0 * (dx - dy), 200.0 * (dy - dz)], dim=-2),
    )


def _saturation(chroma: Tensor) -> Tensor:
    """sqrt(C^7 / (C^7 + 25^7))."""
    square = chroma * chroma
    seventh = square * square * square * chroma
    return root(seventh / (seventh + _POWER_25_7))


def _mean_hue(first: tuple[Tensor, Tensor, Tensor], second: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the hue halfway along the shorter arc, from (a, b, chroma) of two colours.

    A neutral colour leaves the hue to the other; two neutral ones have hue 0; of two opposite hues the
    mean lies a quarter turn after the smaller, as the mean of the two angles does.
    """
    (x1, y1, has1), (x2, y2, has2) = (_unit(*colour) for colour in (first, second))
    x, y = x1 + x2 + (1.0 - has1) * (1.0 - has2), y1 + y2
    square = x * x + y * y
    opposite = square < (1e-24 if x.dtype == torch.float64 else 1e-12)
    if bool(opposite.any()):
        lower_is_first = (y1 > 0) | ((y1 == 0) & (x1 > 0))
        x = torch.where(opposite, torch.where(lower_is_first, -y1, -y2), x)
        y = torch.where(opposite, torch.where(lower_is_first, x1, x2), y)
        square = x * x + y * y
    inverse = 1.0 / square.sqrt()
    return x * inverse, y * inverse


def _unit(a: Tensor, b: Tensor, chroma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(a, b) / chroma, 0 for a neutral colour; and 1 where it has a hue, else 0."""
    hue = _positive(chroma)
    inverse = hue / (chroma + (1.0 - hue))
    return a * inverse, b * inverse, hue


def _positive(values: Tensor) -> Tensor:
    """1 where `values` is above 0, else 0: a choice by arithmetic costs a tenth of `torch.where`."""
    return values.detach().sign().clamp(min=0.0)


def ciede2000(first: Tensor, apart: Tensor) -> Tensor:
    """CIEDE2000 colour difference (..., n) of CIELAB colours, all weights 1.

    Follows Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary
    test data, and mathematical observations" (2005). Hue differences and means are taken from dot and
    cross products of (a', b') instead of differences of angles: the same numbers, without the
    cancellation and the branches.

    Args:
        first: (..., 3, n).
        apart: (..., 3, n), the second colours less the first, which have lost their last digits.
    """
    l1, a1, b1 = first.unbind(dim=-2)
    dl, da, db = apart.unbind(dim=-2)
    a2, b2 = a1 + da, b1 + db
    mean_chroma = 0.5 * (root(a1 * a1 + b1 * b1) + root(a2 * a2 + b2 * b2))
    stretch = 1.5 - 0.5 * _saturation(mean_chroma)
    a1, a2, da = a1 * stretch, a2 * stretch, da * stretch
    c1, c2 = root(a1 * a1 + b1 * b1), root(a2 * a2 + b2 * b2)

    # ΔH' = 2 sqrt(C1 C2) sin(Δh / 2), by whichever half-angle formula keeps its digits.
    product, dot, cross = c1 * c2, a1 * a2 + b1 * b2, a1 * db - da * b1
    close = _positive(dot)
    near = cross / torch.lerp(torch.ones_like(dot), 0.5 * (product + dot), close).sqrt()
    far = root((1.0 - close) * (2.0 * (product - dot)).clamp(min=0.0))
    hue_term = torch.lerp(far - 2.0 * _positive(-cross) * far, near, close)

    cos1, sin1 = _mean_hue((a1, b1, c1), (a2, b2, c2))
    cos2, sin2 = cos1 * cos1 - sin1 * sin1, 2.0 * sin1 * cos1
    cos3, sin3 = cos2 * cos1 - sin2 * sin1, sin2 * cos1 + cos2 * sin1
    cos4, sin4 = cos2 * cos2 - sin2 * sin2, 2.0 * sin2 * cos2
    tint = 1.0 + 0.24 * cos2
    # cos(nh + φ) = cos φ cos nh - sin φ sin nh.
    for factor, cosine, sine, degrees in (
        (-0.17, cos1, sin1, -30.0),
        (0.32, cos3, sin3, 6.0),
        (-0.20, cos4, sin4, -63.0),
    ):
        angle = math.radians(degrees)
        tint = tint + factor * math.cos(angle) * cosine - factor * math.sin(angle) * sine

    hue = torch.atan2(sin1, cos1) * (180.0 / math.pi)
    hue = hue + 360.0 * _positive(-hue)
    turn = math.radians(60.0) * torch.exp(-(((hue - 275.0) / 25.0) ** 2))
    chroma = 0.5 * (c1 + c2)
    rotation = -2.0 * torch.sin(turn) * _saturation(chroma)

    lightness = (l1 + 0.5 * dl - 50.0) ** 2
    lightness_scale = 1.0 + 0.015 * lightness / (20.0 + lightness).sqrt()
    dl = dl / lightness_scale
    total = c1 + c2
    dc = (da * (a1 + a2) + db * (b1 + b2)) / (total + (1.0 - _positive(total))) / (1.0 + 0.045 * chroma)
    dh = hue_term / (1.0 + 0.015 * chroma * tint)
    return root((dl * dl + dc * dc + dh * dh + rotation * dc * dh).clamp(min=0.0))
