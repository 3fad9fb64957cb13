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
    curved = (1.0 + cie.SRGB_OFFSET) * power - cie.SRGB_OFFSET
    return torch.where(bounded > threshold, curved, cie.SRGB_SLOPE * bounded)


def lab(linear: Tensor) -> Tensor:
    """CIELAB (..., 3, n) of the render of linear sRGB (..., 3, n); float64.

    Decoding the render gives the clipped linear values back, so they are used as they are.
    """
    to_relative = torch.from_numpy(cie.RGB_TO_XYZ / cie.WHITE_D65[:, None]).to(linear.device)
    relative = to_relative @ linear.double().clamp(0.0, 1.0)
    threshold = cie.LAB_THRESHOLD
    curved = (relative.clamp(min=threshold).log() / 3.0).exp()
    fx, fy, fz = torch.where(relative > threshold, curved, cie.LAB_SLOPE * relative + 4.0 / 29.0).unbind(dim=-2)
    return torch.stack([116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)], dim=-2)


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
    units = []
    for a, b, chroma in (first, second):
        inverse = torch.where(chroma > 0, 1.0 / torch.where(chroma > 0, chroma, 1.0), 0.0)
        units.append((a * inverse, b * inverse))
    (x1, y1), (x2, y2) = units
    x, y = x1 + x2, y1 + y2
    lower_is_first = (y1 > 0) | ((y1 == 0) & (x1 > 0))
    opposite = x * x + y * y < 1e-24
    neutral = (first[2] == 0) & (second[2] == 0)
    x = torch.where(opposite, torch.where(lower_is_first, -y1, -y2), x)
    y = torch.where(opposite, torch.where(lower_is_first, x1, x2), y)
    x = torch.where(neutral, 1.0, x)
    inverse = 1.0 / (x * x + y * y).sqrt()
    return x * inverse, y * inverse


def ciede2000(first: Tensor, second: Tensor) -> Tensor:
    """CIEDE2000 colour difference (..., n) of CIELAB colours (..., 3, n), all weights 1.

    Follows Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary
    test data, and mathematical observations" (2005). Hue differences and means are taken from dot and
    cross products of (a', b') instead of differences of angles: the same numbers, without the
    cancellation and the branches.
    """
    l1, a1, b1 = first.unbind(dim=-2)
    l2, a2, b2 = second.unbind(dim=-2)
    mean_chroma = 0.5 * (root(a1 * a1 + b1 * b1) + root(a2 * a2 + b2 * b2))
    stretch = 1.5 - 0.5 * _saturation(mean_chroma)
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = root(a1 * a1 + b1 * b1), root(a2 * a2 + b2 * b2)

    # ΔH' = 2 sqrt(C1 C2) sin(Δh / 2), by whichever half-angle formula keeps its digits.
    product, dot, cross = c1 * c2, a1 * a2 + b1 * b2, a1 * b2 - a2 * b1
    close = dot > 0
    near = cross / torch.where(close, 0.5 * (product + dot), 1.0).sqrt()
    far = root(torch.where(close, 0.0, 2.0 * (product - dot)).clamp(min=0.0))
    hue_term = torch.where(close, near, torch.where(cross < 0, -far, far))

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
    hue = torch.where(hue < 0, hue + 360.0, hue)
    turn = math.radians(60.0) * torch.exp(-(((hue - 275.0) / 25.0) ** 2))
    chroma = 0.5 * (c1 + c2)
    rotation = -2.0 * torch.sin(turn) * _saturation(chroma)

    lightness = (0.5 * (l1 + l2) - 50.0) ** 2
    lightness_scale = 1.0 + 0.015 * lightness / (20.0 + lightness).sqrt()
    dl = (l2 - l1) / lightness_scale
    dc = (c2 - c1) / (1.0 + 0.045 * chroma)
    dh = hue_term / (1.0 + 0.015 * chroma * tint)
    return root((dl * dl + dc * dc + dh * dh + rotation * dc * dh).clamp(min=0.0))
