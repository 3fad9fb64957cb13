"""What the score takes from each pixel's spectrum: angle, information divergence, errors by band, colour.

All of it comes from one walk over strips of pixels, by compiled functions in float32 on a processor (`compiled`), by
PyTorch's operations elsewhere (`operations`). The gradient is written out beside it, so that training on the score
keeps no copy of the cube either.

The angle (SAM) is that of F. A. Kruse et al., "The spectral image processing system (SIPS)", Remote Sensing of
Environment 44, 1993; the divergence (SID) that of C.-I Chang, "An information-theoretic approach to spectral
variability, similarity, and discrimination for hyperspectral image analysis", IEEE Transactions on Information
Theory 46, 2000.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hsmodels.score import operations
from hsmodels.score.strips import over_strips

# Larger magnitudes are outside any reflectance; squares of this one still fit in float64.
MAGNITUDE_LIMIT: Final = 1e30

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
    pair = operations.Spectra(truth, prediction, colour, weights, floor)
    return joined(over_strips(comparing(pair), strips(truth), truth.device))


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


def strips(truth: Tensor) -> list[slice]:
    """The pixels of an image or batch (B, bands, n) that one thread compares at a time."""
    size, pixels = operations.step(truth), truth.shape[2]
    if truth.device.type == "cpu":
        size *= min(_STRIPS_AT_ONCE, -(-pixels // (_PARTS * size)))
    return operations.within(slice(0, pixels), size)


def comparing(pair: operations.Spectra) -> Callable[[slice], SpectralMaps]:
    """What makes the maps of one of the `strips` of a pair, in any thread."""
    write = _means(pair).comparing(pair)

    def compare(at: slice) -> SpectralMaps:
        found = operations.Found.empty(pair, at.stop - at.start)
        write(at, found)
        one, other, chord, divergence = (found.values[:, k : k + 1] for k in range(4))
        gap, _ = operations.cosine_gap(chord, (one, other))
        sam = gap.mul_(0.5).sqrt_().asin_().mul_(2.0)
        squared, truth_sum = found.errors.unbind(dim=1)
        return SpectralMaps(sam, divergence.squeeze(1).double(), squared, truth_sum, found.rgb[:, :3], found.rgb[:, 3:])

    return compare


def _means(pair: operations.Spectra) -> Any:
    """The module that compares such a pair."""
    if pair.truth.device.type != "cpu" or pair.dtype != torch.float32:
        return operations
    # Numba is imported where it serves.
    from hsmodels.score import compiled

    return compiled


class _Spectral(torch.autograd.Function):
    """The maps with their gradient in the prediction."""

    @staticmethod
    def forward(ctx: Any, truth: Tensor, prediction: Tensor, colour: Tensor, floor: float) -> tuple[Tensor, ...]:
        compare = comparing(operations.Spectra(truth.detach(), prediction.detach(), colour, floor=floor))
        maps = joined(over_strips(compare, strips(truth), truth.device))
        ctx.floor = floor
        ctx.save_for_backward(truth, prediction, colour)
        ctx.mark_non_differentiable(maps.truth_sum, maps.rgb)
        return tuple(maps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of = SpectralMaps(*gradients)
        truth, prediction, colour = ctx.saved_tensors
        pair = operations.Spectra(truth, prediction, colour, floor=ctx.floor)
        result = torch.empty_like(prediction)
        incoming = operations.Incoming(of.sam, of.sid, of.squared[:, 0], of.rgb_change)
        over_strips(_means(pair).pulling_back(pair, incoming, result), strips(truth), truth.device)
        return None, result, None, None
