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
from collections.abc import Callable
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

# Elements of a strip on a processor: three buffers like it fit in the cache of a core. Accelerators want few, large
# calls.
_CPU_STRIP: Final = 61 * 3072
_DEVICE_STRIP: Final = 1 << 24

# Strips that one thread takes together, at most, and how many such parts a large enough image has at least.
_STRIPS_AT_ONCE: Final = 5
_PARTS: Final = 16


class SpectralMaps(NamedTuple):
    """Tensors for B images of n pixels and K masks (1 without masks).

    Attributes:
        sam: (B, n) float64 spectral angle in radians.
        sid: (B, n) float64 spectral information divergence in nats.
        squared: (B, K, bands) float64 sum over the mask's pixels of the squared error.
        truth_sum: (B, K, bands) float64 sum over the mask's pixels of the truth.
        rgb: (B, 3, n) linear sRGB of the truth, unclipped, of the working type.
        rgb_change: (B, 3, n) that of the prediction less that of the truth.
    """

    sam: Tensor
    sid: Tensor
    squared: Tensor
    truth_sum: Tensor
    rgb: Tensor
    rgb_change: Tensor


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
    return joined(over_strips(comparing(truth, prediction, colour, weights, floor), strips(truth), truth.device))


def joined(parts: list[SpectralMaps]) -> SpectralMaps:
    """The maps of an image from those of its strips."""
    sam, sid, squared, truth_sum, rgb, rgb_change = zip(*parts, strict=True)
    return SpectralMaps(
        torch.cat(sam, dim=-1),
        torch.cat(sid, dim=-1),
        torch.stack(squared).sum(dim=0),
        torch.stack(truth_sum).sum(dim=0),
        torch.cat(rgb, dim=-1),
        torch.cat(rgb_change, dim=-1),
    )


def working_type(truth: Tensor, prediction: Tensor) -> torch.dtype:
    """Float64 where an input is, else float32."""
    return torch.float64 if torch.float64 in (truth.dtype, prediction.dtype) else torch.float32


def strips(truth: Tensor) -> list[slice]:
    """The pixels of an image or batch (B, bands, n) that one thread compares at a time."""
    step, pixels = _step(truth), truth.shape[2]
    if truth.device.type == "cpu":
        step *= min(_STRIPS_AT_ONCE, -(-pixels // (_PARTS * step)))
    return _within(slice(0, pixels), step)


def _step(truth: Tensor) -> int:
    batch, bands, _ = truth.shape
    elements = _CPU_STRIP if truth.device.type == "cpu" else _DEVICE_STRIP
    return max(64, elements // (batch * bands) // 64 * 64)


def _within(at: slice, step: int) -> list[slice]:
    return [slice(start, min(start + step, at.stop)) for start in range(at.start, at.stop, step)]


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


def _to_colours(colour: Tensor, like: Tensor, dtype: torch.dtype) -> tuple[slice, Tensor]:
    """The bands from the first to the last with any colour, and the matrix (3, bands) from these to linear sRGB."""
    bands = torch.nonzero(colour.any(dim=0)).flatten()
    visible = slice(int(bands[0]), int(bands[-1]) + 1)
    # Products on accelerators may round float32 to fewer digits.
    return visible, colour[:, visible].to(dtype if like.device.type == "cpu" else torch.float64)


def _squares(values: Tensor, scratch: Tensor) -> Tensor:
    return torch.mul(values, values, out=scratch).sum(dim=1, keepdim=True)


def _shares(values: Tensor, out: Tensor, floor: float) -> Tensor:
    """Write the shares of `values`, plus ε, into `out`; returns the reciprocal of the sums, (B, 1, n)."""
    if floor > 0:
        torch.mul(values, values, out=out).add_(4.0 * floor**2).sqrt_().add_(values).mul_(0.5)
    else:
        torch.clamp(values, min=0.0, out=out)
    scale = out.sum(dim=1, keepdim=True).add_(SID_EPSILON).reciprocal_()
    torch.addcmul(out.new_full((1, 1, 1), SID_EPSILON), out, scale, out=out)
    return scale


def _chord(truth: Tensor, prediction: Tensor, squares: tuple[Tensor, Tensor], scratch: Tensor) -> Tensor:
    """|a/|a| - b/|b||², (B, 1, n), for `squares` |a|² and |b|²."""
    one, other = (square.clamp(min=torch.finfo(scratch.dtype).tiny).rsqrt_() for square in squares)
    torch.mul(truth, one, out=scratch).addcmul_(prediction, other, value=-1.0)
    return scratch.square_().sum(dim=1, keepdim=True)


def _cosine_gap(chord: Tensor, squares: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(1 - cosine, |a||b| + ε), both (B, n) float64.

    With h half the `_chord`, the cosine without ε is 1 - h, and with it
    1 - cosine = (h |a||b| + ε) / (|a||b| + ε).
    """
    half_chord = chord.squeeze(1).double().mul_(0.5)
    product = squares[0].squeeze(1).sqrt().double() * squares[1].squeeze(1).sqrt()
    bounded = product + SAM_EPSILON
    return half_chord.mul_(product).add_(SAM_EPSILON).div_(bounded).clamp_(0.0, 2.0), bounded


def comparing(
    truth: Tensor, prediction: Tensor, colour: Tensor, weights: Tensor | None, floor: float
) -> Callable[[slice], SpectralMaps]:
    """What makes the maps of one of the `strips` of a pair, in any thread; for the arguments see `spectral_maps`."""
    batch, bands, _ = truth.shape
    dtype = working_type(truth, prediction)
    visible, seen = _to_colours(colour, truth, dtype)
    buffers = _Buffers(dtype)
    step = _step(truth)
    masks = 1 if weights is None else weights.shape[1]

    def compare(at: slice) -> SpectralMaps:
        pixels = at.stop - at.start
        # |a|², |b|², the chord and the divergence.
        found = torch.empty(4, batch, 1, pixels, dtype=dtype, device=truth.device)
        rgb = torch.empty(2, batch, 3, pixels, dtype=dtype, device=truth.device)
        sums = torch.zeros(2, batch, masks, bands, dtype=torch.float64, device=truth.device)
        for part in _within(at, step):
            a, b = _loaded(truth, part, dtype), _loaded(prediction, part, dtype)
            x, y, z = buffers.like(a)
            here = slice(part.start - at.start, part.stop - at.start)
            squares, others, chord, divergence = found[..., here]

            squares.copy_(_squares(a, x))
            others.copy_(_squares(b, x))
            chord.copy_(_chord(a, b, (squares, others), x))

            _shares(a, x, floor)
            _shares(b, y, floor)
            torch.sub(x, y, out=z)
            torch.sum(x.div_(y).log_().mul_(z), dim=1, keepdim=True, out=divergence)

            torch.sub(b, a, out=x)
            rgb[0, :, :, here] = torch.matmul(seen, a[:, visible].to(seen.dtype))
            rgb[1, :, :, here] = torch.matmul(seen, x[:, visible].to(seen.dtype))

            x.square_()
            if weights is None:
                sums[0, :, 0] += x.sum(dim=2)
                sums[1, :, 0] += a.sum(dim=2)
                continue
            for k, mask in enumerate(weights[:, :, None, part].to(dtype).unbind(dim=1)):
                sums[0, :, k] += torch.mul(x, mask, out=y).sum(dim=2)
                sums[1, :, k] += torch.mul(a, mask, out=z).sum(dim=2)
        gap, _ = _cosine_gap(found[2], (found[0], found[1]))
        sam = gap.mul_(0.5).sqrt_().asin_().mul_(2.0)
        return SpectralMaps(sam, found[3].squeeze(1).double(), *sums, *rgb)

    return compare


class _Spectral(torch.autograd.Function):
    """The maps with their gradient in the prediction."""

    @staticmethod
    def forward(ctx: Any, truth: Tensor, prediction: Tensor, colour: Tensor, floor: float) -> tuple[Tensor, ...]:
        compare = comparing(truth.detach(), prediction.detach(), colour, None, floor)
        maps = joined(over_strips(compare, strips(truth), truth.device))
        ctx.floor = floor
        ctx.save_for_backward(truth, prediction, colour)
        ctx.mark_non_differentiable(maps.truth_sum, maps.rgb)
        return tuple(maps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        incoming = SpectralMaps(*gradients)
        truth, prediction, colour = ctx.saved_tensors
        floor: float = ctx.floor
        dtype = working_type(truth, prediction)
        visible, seen = _to_colours(colour, truth, dtype)
        buffers = _Buffers(dtype)
        result = torch.empty_like(prediction)

        def walk(at: slice) -> None:
            a, b = _loaded(truth, at, dtype), _loaded(prediction, at, dtype)
            x, y, z = buffers.like(a)

            # The angle: dcos/db = (a - cos |a|/|b| b) / (|a||b| + ε), dθ/dcos = -1 / sin θ.
            squares = (_squares(a, x), _squares(b, x))
            gap, bounded = _cosine_gap(_chord(a, b, squares, x), squares)
            sine = (gap * (2.0 - gap)).sqrt_()
            along = torch.where((squares[1].squeeze(1) > 0) & (sine > 0), -incoming.sam[:, at] / (bounded * sine), 0.0)
            ratio = torch.where(squares[1] > 0, (squares[0] / squares[1]).sqrt_(), 0.0).squeeze(1)
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
            z[:, visible] += torch.matmul(seen.mT, incoming.rgb_change[:, :, at].to(seen.dtype)).to(dtype)
            result[:, :, at] = z

        over_strips(walk, _within(slice(0, truth.shape[2]), _step(truth)), truth.device)
        return None, result, None, None
