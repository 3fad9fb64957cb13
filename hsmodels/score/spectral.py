"""What the score takes from each pixel's spectrum: angle, information divergence, errors by band, colour.

All of it comes from one walk over strips of pixels that fit in the processor's cache, with intermediate
results in a few reused buffers. The gradient is written out beside it, so that training on the score
keeps no copy of the cube either.

The angle (SAM) is that of F. A. Kruse et al., "The spectral image processing system (SIPS)", Remote Sensing of
Environment 44, 1993; the divergence (SID) that of C.-I Chang, "An information-theoretic approach to spectral
variability, similarity, and discrimination for hyperspectral image analysis", IEEE Transactions on Information
Theory 46, 2000.
"""

from __future__ import annotations

import threading
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hsmodels.score.strips import over_strips

SAM_EPSILON: Final = 1e-8
"""Added to the product of the norms in the cosine of two spectra."""

SID_EPSILON: Final = 1e-12
"""Added to a spectrum's sum, and to each of its shares before the logarithm."""

# Larger magnitudes are outside any reflectance; squares of this one still fit in float64.
MAGNITUDE_LIMIT: Final = 1e30

# Elements of a strip: a few buffers of it a core fit in the processor's cache. Accelerators want few, large calls.
_CPU_STRIP: Final = 61 * 4096
_DEVICE_STRIP: Final = 1 << 24


class SpectralMaps(NamedTuple):
    """Float64 tensors for B images of n pixels and K masks (1 without masks).

    Attributes:
        sam: (B, n) spectral angle in radians.
        sid: (B, n) spectral information divergence in nats.
        squared: (B, K, bands) sum over the mask's pixels of the squared error.
        truth_sum: (B, K, bands) sum over the mask's pixels of the truth.
        truth_rgb: (B, 3, n) linear sRGB of the truth, unclipped.
        prediction_rgb: (B, 3, n) of the prediction.
    """

    sam: Tensor
    sid: Tensor
    squared: Tensor
    truth_sum: Tensor
    truth_rgb: Tensor
    prediction_rgb: Tensor


def spectral_maps(
    truth: Tensor, prediction: Tensor, colour: Tensor, weights: Tensor | None = None, floor: float = 0.0
) -> SpectralMaps:
    """Compare spectra pixel by pixel; differentiable in `prediction` when no `weights` are given.

    The angle is arccos(a·b / (|a||b| + ε)), computed from the chord between the directions, which keeps its
    digits where the arccos of a rounded cosine near 1 has none. The divergence is Σ (p - q) ln(p / q) over the
    shares p = a / (Σa + ε) + ε; negative reflectance counts as none there, since it has no logarithm.

    At spectra (for the angle) and values (for the divergence) that are exactly zero or, for the divergence,
    negative, the gradient is zero. Just above zero it is the true one, of the order of 1 / reflectance.

    Args:
        truth: (B, bands, n), any floating type; float16 and bfloat16 are computed in float32.
        prediction: (B, bands, n).
        colour: (3, bands) float64, linear sRGB of reflectance.
        weights: (B, K, n) masks as float64 of 0 and 1.
        floor: with a positive floor f, the shares are those of (a + sqrt(a² + 4f²)) / 2 instead of max(a, 0):
            f at 0, and positive with a positive slope everywhere.
    """
    if prediction.requires_grad and torch.is_grad_enabled():
        if weights is not None:
            raise ValueError("masks have no gradient")
        return SpectralMaps(*_Spectral.apply(truth, prediction, colour, floor))  # type: ignore[no-untyped-call]
    return _forward(truth.detach(), prediction.detach(), colour, weights, floor)


def working_type(truth: Tensor, prediction: Tensor) -> torch.dtype:
    """Float64 where an input is, else float32."""
    return torch.float64 if torch.float64 in (truth.dtype, prediction.dtype) else torch.float32


def _strips(truth: Tensor) -> list[slice]:
    batch, bands, pixels = truth.shape
    elements = _CPU_STRIP if truth.device.type == "cpu" else _DEVICE_STRIP
    step = max(64, elements // (batch * bands))
    return [slice(start, min(start + step, pixels)) for start in range(0, pixels, step)]


class _Buffers(threading.local):
    """Three scratch tensors like a strip, for each thread its own."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.kept: Tensor | None = None

    def like(self, strip: Tensor) -> Tensor:
        if self.kept is None or self.kept.shape[-1] < strip.shape[-1]:
            self.kept = torch.empty((3, *strip.shape), dtype=self.dtype, device=strip.device)
        return self.kept[..., : strip.shape[-1]]


def _loaded(cube: Tensor, at: slice, dtype: torch.dtype) -> Tensor:
    strip = cube[:, :, at].to(dtype)
    # Cubes with the bands last in memory are turned strip by strip.
    return strip if strip.stride(2) == 1 else strip.contiguous()


def _visible(colour: Tensor) -> slice:
    """The bands from the first to the last with any colour."""
    bands = torch.nonzero(colour.any(dim=0)).flatten()
    return slice(int(bands[0]), int(bands[-1]) + 1)


def _norm(values: Tensor, scratch: Tensor) -> Tensor:
    return torch.mul(values, values, out=scratch).sum(dim=1, keepdim=True).sqrt_()


def _shares(values: Tensor, out: Tensor, floor: float) -> Tensor:
    """Write the shares of `values`, plus ε, into `out`; returns the reciprocal of the sums, (B, 1, n)."""
    if floor > 0:
        torch.mul(values, values, out=out).add_(4.0 * floor**2).sqrt_().add_(values).mul_(0.5)
    else:
        torch.clamp(values, min=0.0, out=out)
    scale = out.sum(dim=1, keepdim=True).add_(SID_EPSILON).reciprocal_()
    torch.addcmul(out.new_full((1, 1, 1), SID_EPSILON), out, scale, out=out)
    return scale


def _cosine_gap(
    truth: Tensor, prediction: Tensor, norms: tuple[Tensor, Tensor], scratch: Tensor
) -> tuple[Tensor, Tensor]:
    """(1 - cosine, |a||b| + ε), both (B, n) float64.

    With h = |a/|a| - b/|b||² / 2, the cosine without ε is 1 - h, and with it
    1 - cosine = (h |a||b| + ε) / (|a||b| + ε).
    """
    tiny = torch.finfo(scratch.dtype).tiny ** 0.5
    inverse = [norm.clamp(min=tiny).reciprocal_() for norm in norms]
    torch.mul(truth, inverse[0], out=scratch).addcmul_(prediction, inverse[1], value=-1.0)
    half_chord = scratch.square_().sum(dim=1).double().mul_(0.5)
    product = norms[0].squeeze(1).double() * norms[1].squeeze(1)
    bounded = product + SAM_EPSILON
    return half_chord.mul_(product).add_(SAM_EPSILON).div_(bounded).clamp_(0.0, 2.0), bounded


def _forward(truth: Tensor, prediction: Tensor, colour: Tensor, weights: Tensor | None, floor: float) -> SpectralMaps:
    batch, bands, pixels = truth.shape
    dtype = working_type(truth, prediction)
    masks = 1 if weights is None else weights.shape[1]

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=truth.device)

    maps = SpectralMaps(
        sam=zeros(batch, pixels),
        sid=zeros(batch, pixels),
        squared=zeros(batch, masks, bands),
        truth_sum=zeros(batch, masks, bands),
        truth_rgb=zeros(batch, 3, pixels),
        prediction_rgb=zeros(batch, 3, pixels),
    )
    visible = _visible(colour)
    seen = colour[:, visible].contiguous()
    buffers = _Buffers(dtype)

    def walk(at: slice) -> tuple[Tensor, Tensor]:
        a, b = _loaded(truth, at, dtype), _loaded(prediction, at, dtype)
        x, y, z = buffers.like(a)

        gap, _ = _cosine_gap(a, b, (_norm(a, x), _norm(b, x)), x)
        maps.sam[:, at] = gap.mul_(0.5).sqrt_().asin_().mul_(2.0)

        _shares(a, x, floor)
        _shares(b, y, floor)
        torch.sub(x, y, out=z)
        maps.sid[:, at] = x.div_(y).log_().mul_(z).sum(dim=1)

        for image in range(batch):
            torch.mm(seen, a[image, visible].double(), out=maps.truth_rgb[image, :, at])
            torch.mm(seen, b[image, visible].double(), out=maps.prediction_rgb[image, :, at])

        torch.sub(a, b, out=x).square_()
        if weights is None:
            return x.sum(dim=2)[:, None].double(), a.sum(dim=2)[:, None].double()
        sums = [
            (torch.mul(x, mask, out=y).sum(dim=2), torch.mul(a, mask, out=z).sum(dim=2))
            for mask in weights[:, :, None, at].to(dtype).unbind(dim=1)
        ]
        squared, total = (torch.stack(column, dim=1).double() for column in zip(*sums, strict=True))
        return squared, total

    for squared, total in over_strips(walk, _strips(truth), truth.device):
        maps.squared.add_(squared)
        maps.truth_sum.add_(total)
    return maps


class _Spectral(torch.autograd.Function):
    """`_forward` with its gradient in the prediction."""

    @staticmethod
    def forward(ctx: Any, truth: Tensor, prediction: Tensor, colour: Tensor, floor: float) -> tuple[Tensor, ...]:
        maps = _forward(truth, prediction, colour, None, floor)
        ctx.floor = floor
        ctx.save_for_backward(truth, prediction, colour)
        ctx.mark_non_differentiable(maps.truth_sum, maps.truth_rgb)
        return tuple(maps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        incoming = SpectralMaps(*gradients)
        truth, prediction, colour = ctx.saved_tensors
        floor: float = ctx.floor
        dtype = working_type(truth, prediction)
        visible = _visible(colour)
        buffers = _Buffers(dtype)
        result = torch.empty_like(prediction)

        def walk(at: slice) -> None:
            a, b = _loaded(truth, at, dtype), _loaded(prediction, at, dtype)
            x, y, z = buffers.like(a)

            # The angle: dcos/db = (a - cos |a|/|b| b) / (|a||b| + ε), dθ/dcos = -1 / sin θ.
            norms = (_norm(a, x), _norm(b, x))
            gap, bounded = _cosine_gap(a, b, norms, x)
            sine = (gap * (2.0 - gap)).sqrt_()
            along = torch.where((norms[1].squeeze(1) > 0) & (sine > 0), -incoming.sam[:, at] / (bounded * sine), 0.0)
            ratio = torch.where(norms[1] > 0, norms[0] / norms[1], 0.0).squeeze(1)
            back = along * (gap - 1.0) * ratio
            torch.mul(a, along.to(dtype)[:, None], out=z).addcmul_(b, back.to(dtype)[:, None])

            # The divergence: with r = p/q, d/dq = 1 - r - ln r; q = b / (Σb + ε) for positive b.
            _shares(a, x, floor)
            scale = _shares(b, y, floor)
            x.div_(y)
            slope = (1.0 - x).sub_(x.log_())
            mean = torch.mul(slope, y.sub_(SID_EPSILON), out=x).sum(dim=1, keepdim=True)
            slope.sub_(mean).mul_(scale * incoming.sid[:, None, at].to(dtype))
            if floor > 0:
                # The slope of (b + sqrt(b² + 4f²)) / 2.
                z.addcmul_(slope, (b / (b * b).add_(4.0 * floor**2).sqrt_()).add_(1.0).mul_(0.5))
            else:
                z.add_(torch.where(b > 0, slope, 0.0))

            torch.sub(b, a, out=x)
            z.addcmul_(x, incoming.squared[:, 0, :, None].to(dtype), value=2.0)
            z[:, visible] += (colour[:, visible].mT @ incoming.prediction_rgb[:, :, at]).to(dtype)
            result[:, :, at] = z

        over_strips(walk, _strips(truth), truth.device)
        return None, result, None, None
