"""From linear sRGB to the colour differences of the score: renders, CIELAB, CIEDE2000.

Every function works on tensors (..., 3, n) and is differentiable, with finite gradients at black, at greys
and at equal colours. The constants are those of `hsdata.camera.colour`.

A pair of colours is the first and how far the second is from it: in float32, the difference of two nearly equal
colours would have no digits left.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Final

import numpy as np
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


def clipped(linear: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """A pair of linear values with both of them clipped to [0, 1], as renders are; the change keeps its digits."""
    bounded = linear.clamp(0.0, 1.0)
    return bounded, torch.clamp(change + (linear - bounded), min=-bounded, max=1.0 - bounded)


def encode(linear: Tensor) -> Tensor:
    """The sRGB render of linear values of any shape: clipped to [0, 1] and gamma encoded."""
    bounded = linear.clamp(0.0, 1.0)
    threshold = cie.SRGB_THRESHOLD
    power = (bounded.clamp(min=threshold).log() / cie.SRGB_GAMMA).exp()
    # The curve from the threshold on, and below it the line, which meets it there to 3e-8.
    return (1.0 + cie.SRGB_OFFSET) * power + cie.SRGB_SLOPE * bounded.clamp(max=threshold) - _CONSTANT


def labs(linear: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """CIELAB of a pair of clipped linear sRGB colours: of the first, and how far the second is from it.

    Decoding a render gives the clipped linear values back, so they are used as they are. The difference of two cube
    roots comes from that of what they are of, x - y = (x³ - y³) / (x² + xy + y²).

    Args:
        linear: linear sRGB (..., 3, n), see `clipped`.
        change: of the second colours less the first, (..., 3, n).
    """
    to_relative = torch.from_numpy(cie.RGB_TO_XYZ / cie.WHITE_D65[:, None]).to(linear)
    first, apart = to_relative @ linear, to_relative @ change
    # A cube root from the threshold on, and below it a line that meets it there.
    upper = first.clamp(min=cie.LAB_THRESHOLD)
    under = first - upper
    rise = torch.clamp(apart + under, min=cie.LAB_THRESHOLD - upper)
    root, other = (torch.stack([upper, upper + rise]).log() / 3.0).exp()
    f = torch.add(root, under, alpha=cie.LAB_SLOPE)
    steps = rise / torch.addcmul(other * other, root, root + other)
    steps = torch.add(steps, apart - rise, alpha=cie.LAB_SLOPE)
    (fx, fy, fz), (dx, dy, dz) = f.unbind(dim=-2), steps.unbind(dim=-2)
    return (
        torch.stack([116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)], dim=-2),
        torch.stack([116.0 * dy, 500.0 * (dx - dy), 200.0 * (dy - dz)], dim=-2),
    )


def _saturation(chroma: Tensor) -> Tensor:
    """sqrt(C^7 / (C^7 + 25^7))."""
    square = chroma * chroma
    seventh = square * square * (square * chroma)
    return root(seventh / (seventh + _POWER_25_7))


@cache
def _tint(dtype: torch.dtype, device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    """T of CIEDE2000 as P(cos g) + sin g Q(cos g), g the hue less half a turn: the factors, highest power first.

    From cos ng = T_n(cos g) and sin ng = sin g U_{n-1}(cos g), the Chebyshev polynomials of either kind.
    """
    factors = np.array([1.0, -0.17, 0.24, 0.32, -0.20]) * (-1.0) ** np.arange(5)
    angles = np.radians([0.0, -30.0, 0.0, 6.0, -63.0])
    cosines = np.polynomial.chebyshev.cheb2poly(factors * np.cos(angles))
    second_kind = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [-1.0, 0.0, 4.0, 0.0], [0.0, -4.0, 0.0, 8.0]])
    sines = -(factors * np.sin(angles))[1:] @ second_kind
    p, q = (torch.tensor(values[::-1].copy(), dtype=dtype, device=device).unbind() for values in (cosines, sines))
    return list(p), list(q)


def _polynomial(factors: list[Tensor], at: Tensor) -> Tensor:
    value = at * factors[0] + factors[1]
    for factor in factors[2:]:
        value = torch.addcmul(factor, value, at)
    return value


def _directions(a: Tensor, b: Tensor, chroma: Tensor, x: Tensor, y: Tensor, lost: Tensor) -> tuple[Tensor, Tensor]:
    """Where (x, y) has no direction of its own, `lost`, that of the mean hue.

    A neutral colour leaves the hue to the other; two neutral ones have hue 0; of two opposite hues the
    mean lies a quarter turn after the smaller, as the mean of the two angles does.
    """
    (a1, a2), (b1, b2), (c1, c2) = a.detach(), b.detach(), chroma.detach()
    neutral, first_is_lower = (c1 == 0) | (c2 == 0), (b1 > 0) | ((b1 == 0) & (a1 > 0))
    across = torch.where(neutral, a1 + a2, torch.where(first_is_lower, -b1, -b2))
    along = torch.where(neutral, b1 + b2, torch.where(first_is_lower, a1, a2))
    # Their squares would be 0 where the colours are nearly neutral.
    size = across.abs() + along.abs()
    across, along = (part / size.clamp(min=torch.finfo(size.dtype).tiny) for part in (across, along))
    across = torch.where(size > 0, across, 1.0)
    return torch.where(lost, across, x), torch.where(lost, along, y)


def ciede2000(first: Tensor, apart: Tensor) -> Tensor:
    """CIEDE2000 colour difference (..., n) of CIELAB colours, all weights 1.

    Follows Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary
    test data, and mathematical observations" (2005). Hue differences and means are taken from products of
    (a', b') instead of differences of angles: the same numbers, without the cancellation and the branches.

    Args:
        first: (..., 3, n).
        apart: (..., 3, n), the second colours less the first, which have lost their last digits.
    """
    (dl, da, db), l1 = apart.unbind(dim=-2), first[..., 0, :]
    pair = torch.stack([first[..., 1:, :], first[..., 1:, :] + apart[..., 1:, :]])
    squares = pair * pair
    chroma = root(squares[..., 0, :] + squares[..., 1, :])
    stretch = 1.5 - 0.5 * _saturation(0.5 * (chroma[0] + chroma[1]))
    a, b, da = pair[..., 0, :] * stretch, pair[..., 1, :], da * stretch
    chroma = root(torch.addcmul(squares[..., 1, :], a, a))
    (a1, a2), (b1, b2), (c1, c2) = a, b, chroma
    total, product = c1 + c2, c1 * c2

    # Along the mean hue, and as long as 2 C1 C2 cos(Δh / 2).
    x, y = torch.addcmul(a1 * c2, a2, c1), torch.addcmul(b1 * c2, b2, c1)
    square = torch.addcmul(x * x, y, y)
    # ΔH' = 2 sqrt(C1 C2) sin(Δh / 2), and C1 C2 sin Δh is the cross product.
    turned = 2.0 * torch.addcmul(a1 * db, da, b1, value=-1.0) * root(product)
    least = 1e-24 if x.dtype == torch.float64 else 1e-12
    clear = torch.addcmul(square, product, product, value=-least)
    if bool(clear.detach().amin() <= 0):
        lost = clear.detach() <= 0
        x, y = _directions(a, b, chroma, x, y, lost)
        square = torch.addcmul(x * x, y, y)
        opposite = 2.0 * root(product) * torch.where(turned.detach() < 0, -1.0, 1.0)
        inverse = square.rsqrt()
        hue_term = torch.where(lost, opposite, turned * inverse)
    else:
        inverse = square.rsqrt()
        hue_term = turned * inverse

    # Of the angle half a turn from the mean hue: where that goes from 0 to 360°, this one does from -180 to 180°.
    inverse = -inverse
    cosine, sine = x * inverse, y * inverse
    p, q = _tint(x.dtype, x.device)
    tint = torch.addcmul(_polynomial(p, cosine), sine, _polynomial(q, cosine))
    away = torch.atan2(sine, cosine) * (180.0 / math.pi / 25.0) - (275.0 - 180.0) / 25.0
    # Far from blue it is nothing; numbers too small for their type would cost a hundred times the time of others.
    turn = math.radians(60.0) * (-(away * away)).clamp(min=-60.0).exp()
    rotation = -2.0 * torch.sin(turn) * _saturation(0.5 * total)

    lightness = torch.add(l1, dl, alpha=0.5) - 50.0
    lightness = lightness * lightness
    dl = dl / (1.0 + 0.015 * lightness * (20.0 + lightness).rsqrt())
    # C2' - C1' from the difference of their squares; 0 where both are neutral.
    weight = total * (1.0 + 0.0225 * total)
    dc = torch.addcmul(da * (a1 + a2), db, b1 + b2) / (weight + (1.0 - weight.detach().sign()))
    dh = hue_term / (1.0 + 0.0075 * total * tint)
    squared = torch.addcmul(torch.addcmul(dl * dl, dc, dc), dh, torch.addcmul(dh, rotation, dc))
    return root(squared.clamp(min=0.0))
