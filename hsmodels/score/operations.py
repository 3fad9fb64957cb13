"""The comparison of spectra and its gradient by PyTorch's operations: on accelerators, and in float64.

What is computed is said in `hsmodels.score.spectral`; `hsmodels.score.compiled` does the same on processors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

SAM_EPSILON: Final = 1e-8
"""Added to the product of the norms in the cosine of two spectra."""

SID_EPSILON: Final = 1e-12
"""Added to a spectrum's sum, and to each of its shares before the logarithm."""

# Elements of a strip on a processor: three buffers like it fit in the cache of a core. Accelerators want few, large
# calls.
_CPU_STRIP: Final = 61 * 3072
_DEVICE_STRIP: Final = 1 << 24


@dataclass(frozen=True)
class Spectra:
    """A pair of batches of spectra, and how they are compared; see `hsmodels.score.spectral.spectral_maps`.

    Attributes:
        truth: (B, bands, n), any floating type, without gradient.
        prediction: (B, bands, n).
        colour: (3, bands) float64, linear sRGB of reflectance.
        weights: (B, K, n) masks as float64 of 0 and 1, or None.
        floor: of the shares.
    """

    truth: Tensor
    prediction: Tensor
    colour: Tensor
    weights: Tensor | None = None
    floor: float = 0.0

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in."""
        return working_type(self.truth, self.prediction)

    @property
    def visible(self) -> slice:
        """The bands from the first to the last with any colour."""
        bands = torch.nonzero(self.colour.any(dim=0)).flatten()
        return slice(int(bands[0]), int(bands[-1]) + 1)


class Found(NamedTuple):
    """Where the comparison of a slice of m pixels is written.

    Attributes:
        values: (B, 4, m) |a|², |b|², the chord |a/|a| - b/|b||² and the divergence.
        rgb: (B, 6, m) linear sRGB of the truth, and that of the prediction less it.
        errors: (B, 2, K, bands) float64, zeros at first: Σ (b - a)² and Σ a under each mask; K is 1 without masks.
    """

    values: Tensor
    rgb: Tensor
    errors: Tensor

    @classmethod
    def empty(cls, pair: Spectra, pixels: int) -> Found:
        """Room for so many pixels of a pair."""
        batch, bands, _ = pair.truth.shape
        masks = 1 if pair.weights is None else pair.weights.shape[1]
        device = pair.truth.device
        return cls(
            torch.empty(batch, 4, pixels, dtype=pair.dtype, device=device),
            torch.empty(batch, 6, pixels, dtype=pair.dtype, device=device),
            torch.zeros(batch, 2, masks, bands, dtype=torch.float64, device=device),
        )


class Incoming(NamedTuple):
    """Gradients in what is found, see `hsmodels.score.spectral.SpectralMaps`: sam and sid (B, n), squared (B, bands)
    and rgb_change (B, 3, n).
    """

    sam: Tensor
    sid: Tensor
    squared: Tensor
    rgb_change: Tensor


def working_type(truth: Tensor, prediction: Tensor) -> torch.dtype:
    """Float64 where an input is, else float32."""
    return torch.float64 if torch.float64 in (truth.dtype, prediction.dtype) else torch.float32


def step(truth: Tensor) -> int:
    """Pixels of a batch (B, bands, n) that are walked over at a time."""
    batch, bands, _ = truth.shape
    elements = _CPU_STRIP if truth.device.type == "cpu" else _DEVICE_STRIP
    return max(64, elements // (batch * bands) // 64 * 64)


def within(at: slice, size: int) -> list[slice]:
    """Slices of at most `size` that make up `at`."""
    return [slice(start, min(start + size, at.stop)) for start in range(at.start, at.stop, size)]


class _Buffers(threading.local):
    """Three scratch tensors like a strip, for each thread its own."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.kept: Tensor | None = None

    def like(self, strip: Tensor) -> Tensor:
        if self.kept is None or self.kept.shape[-1] < strip.shape[-1]:
            self.kept = torch.empty((3, *strip.shape), dtype=self.dtype, device=strip.device)
        return self.kept[..., : strip.shape[-1]]


def loaded(cube: Tensor, at: slice, dtype: torch.dtype) -> Tensor:
    """Some pixels of cubes (B, bands, n) in the working type, each band's one after the other in memory."""
    strip = cube[:, :, at].to(dtype)
    # Cubes with the bands last in memory are turned strip by strip.
    return strip if strip.stride(2) == 1 else strip.contiguous()


def _to_colours(pair: Spectra) -> tuple[slice, Tensor]:
    """The bands that have a colour, and the matrix (3, bands) from these to linear sRGB."""
    visible = pair.visible
    # Products on accelerators may round float32 to fewer digits.
    return visible, pair.colour[:, visible].to(pair.dtype if pair.truth.device.type == "cpu" else torch.float64)


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


def cosine_gap(chord: Tensor, squares: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(1 - cosine, |a||b| + ε), both (B, n) float64.

    With h half of `chord`, the cosine without ε is 1 - h, and with it
    1 - cosine = (h |a||b| + ε) / (|a||b| + ε).
    """
    half_chord = chord.squeeze(1).double().mul_(0.5)
    product = squares[0].squeeze(1).sqrt().double() * squares[1].squeeze(1).sqrt()
    bounded = product + SAM_EPSILON
    return half_chord.mul_(product).add_(SAM_EPSILON).div_(bounded).clamp_(0.0, 2.0), bounded


def comparing(pair: Spectra) -> Callable[[slice, Found], None]:
    """What compares some pixels of a pair, in any thread."""
    truth, dtype = pair.truth, pair.dtype
    visible, seen = _to_colours(pair)
    buffers, size = _Buffers(dtype), step(truth)

    def compare(at: slice, found: Found) -> None:
        for part in within(at, size):
            a, b = loaded(truth, part, dtype), loaded(pair.prediction, part, dtype)
            x, y, z = buffers.like(a)
            here = slice(part.start - at.start, part.stop - at.start)
            squares, others, chord, divergence = (found.values[:, k : k + 1, here] for k in range(4))

            squares.copy_(_squares(a, x))
            others.copy_(_squares(b, x))
            chord.copy_(_chord(a, b, (squares, others), x))

            _shares(a, x, pair.floor)
            _shares(b, y, pair.floor)
            torch.sub(x, y, out=z)
            divergence.copy_(x.div_(y).log_().mul_(z).sum(dim=1, keepdim=True))

            torch.sub(b, a, out=x)
            found.rgb[:, :3, here] = torch.matmul(seen, a[:, visible].to(seen.dtype))
            found.rgb[:, 3:, here] = torch.matmul(seen, x[:, visible].to(seen.dtype))

            x.square_()
            if pair.weights is None:
                found.errors[:, 0, 0] += x.sum(dim=2)
                found.errors[:, 1, 0] += a.sum(dim=2)
                continue
            for k, mask in enumerate(pair.weights[:, :, None, part].to(dtype).unbind(dim=1)):
                found.errors[:, 0, k] += torch.mul(x, mask, out=y).sum(dim=2)
                found.errors[:, 1, k] += torch.mul(a, mask, out=z).sum(dim=2)

    return compare


def pulling_back(pair: Spectra, incoming: Incoming, result: Tensor) -> Callable[[slice], None]:
    """What writes the gradient in some pixels of the prediction into `result`, like it, in any thread."""
    dtype = pair.dtype
    visible, seen = _to_colours(pair)
    buffers = _Buffers(dtype)

    def pull_back(at: slice) -> None:
        for part in within(at, step(pair.truth)):
            result[:, :, part] = of_strip(part)

    def of_strip(at: slice) -> Tensor:
        a, b = loaded(pair.truth, at, dtype), loaded(pair.prediction, at, dtype)
        x, y, z = buffers.like(a)

        # The angle: dcos/db = (a - cos |a|/|b| b) / (|a||b| + ε), dθ/dcos = -1 / sin θ.
        squares = (_squares(a, x), _squares(b, x))
        gap, bounded = cosine_gap(_chord(a, b, squares, x), squares)
        sine = (gap * (2.0 - gap)).sqrt_()
        along = torch.where((squares[1].squeeze(1) > 0) & (sine > 0), -incoming.sam[:, at] / (bounded * sine), 0.0)
        ratio = torch.where(squares[1] > 0, (squares[0] / squares[1]).sqrt_(), 0.0).squeeze(1)
        back = along * (gap - 1.0) * ratio
        torch.mul(a, along.to(dtype)[:, None], out=z).addcmul_(b, back.to(dtype)[:, None])

        # The divergence: with r = p/q, d/dq = 1 - r - ln r; q = b / (Σb + ε) for positive b.
        _shares(a, x, pair.floor)
        scale = _shares(b, y, pair.floor)
        x.div_(y)
        slope = (1.0 - x).sub_(x.log_())
        mean = torch.mul(slope, y.sub_(SID_EPSILON), out=x).sum(dim=1, keepdim=True)
        slope.sub_(mean).mul_(scale * incoming.sid[:, None, at].to(dtype))
        if pair.floor > 0:
            # The slope of (b + sqrt(b² + 4f²)) / 2.
            z.addcmul_(slope, (b / (b * b).add_(4.0 * pair.floor**2).sqrt_()).add_(1.0).mul_(0.5))
        else:
            z.add_(torch.where(b > 0, slope, 0.0))

        torch.sub(b, a, out=x)
        z.addcmul_(x, incoming.squared[:, :, None].to(dtype), value=2.0)
        z[:, visible] += torch.matmul(seen.mT, incoming.rgb_change[:, :, at].to(seen.dtype)).to(dtype)
        gradient: Tensor = z
        return gradient

    return pull_back
