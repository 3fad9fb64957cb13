"""The six measures of a pair of images, and their score: on images, batches and regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hsdata.camera.colour import srgb_weights
from hsdata.cube import BAND_GRID
from hsengine.base.errors import UserError
from hsmodels.score import colour, operations, scale, spatial, spectral
from hsmodels.score.arrays import Array, as_tensor
from hsmodels.score.strips import one_thread_per_operation, over_strips

# Pixels of a batch of images that are scored together.
_PIXELS_AT_ONCE = 1 << 20


def ssc(
    truth: Array, prediction: Array, *, wavelengths: ArrayLike | None = None, mask: Array | None = None
) -> dict[str, float]:
    """The challenge's score of a prediction and everything it is made of.

    Args:
        truth: (bands, H, W) reflectance, tensor or array of any floating type, on any device; or a batch
            (B, bands, H, W), whose values are the means over its images.
        prediction: the same shape, on the same device.
        wavelengths: (bands,) band centres in nm; by default the challenge's grid where there are 61 bands.
        mask: (H, W), or (B, H, W) for a batch; only pixels where it is true or nonzero count. SAM, SID, SSIM and
            ΔE00 are averaged over them, PSNR and ERGAS come from their squared errors and means.

    Returns:
        The values named in `hsmodels.score.NAMES`. Never NaN: spectra of zeros, constant images, bands of zero
        mean are legal, negative reflectance counts as none in SID, magnitudes end at 1e30, SSC is 0 where
        S_SPAT is negative.

    Raises:
        UserError: shapes that do not belong together, missing wavelengths, an empty mask, or NaN or infinite
            values.
    """
    return {
        name: float(value.mean())
        for name, value in ssc_batch(truth, prediction, wavelengths=wavelengths, mask=mask).items()
    }


def ssc_batch(
    truth: Array, prediction: Array, *, wavelengths: ArrayLike | None = None, mask: Array | None = None
) -> dict[str, Tensor]:
    """`ssc` of each image of a batch: float64 tensors (B,) on the inputs' device."""
    pair = _Pair.of(truth, prediction, wavelengths)
    weights = None if mask is None else _weights(pair, "mask", mask)[:, None]
    if weights is not None and (empty := (weights.sum(dim=-1) == 0).flatten()).any():
        which = "" if len(empty) == 1 else f" of image {int(empty.nonzero()[0])}"
        raise UserError(f"The mask{which} holds no pixel: a score needs at least one.")
    return {name: values[:, 0] for name, values in _scored(pair, weights).items()}


def ssc_regions(
    truth: Array, prediction: Array, masks: Mapping[str, Array], *, wavelengths: ArrayLike | None = None
) -> dict[str, dict[str, float]]:
    """`ssc` under several masks at once, at the cost of about one.

    Args:
        truth: (bands, H, W), see `ssc`.
        prediction: (bands, H, W).
        masks: (H, W) each, by the region's name.
        wavelengths: see `ssc`.

    Returns:
        The values of each region that has any pixel; empty ones are left out.
    """
    pair = _Pair.of(truth, prediction, wavelengths)
    if len(pair.truth) != 1:
        raise UserError(f"Regions are scored image by image, not for a batch of {len(pair.truth)}.")
    weights = {name: _weights(pair, f"mask '{name}'", mask) for name, mask in masks.items()}
    weights = {name: weight for name, weight in weights.items() if bool(weight.any())}
    if not weights:
        return {}
    values = _scored(pair, torch.stack(list(weights.values()), dim=1))
    return {name: {key: float(values[key][0, k]) for key in values} for k, name in enumerate(weights)}


class _Pair(NamedTuple):
    """A checked pair: (B, bands, H, W) each, and the (3, bands) matrix to linear sRGB."""

    truth: Tensor
    prediction: Tensor
    to_rgb: Tensor

    @classmethod
    def of(cls, truth: Array, prediction: Array, wavelengths: ArrayLike | None) -> _Pair:
        a, b = as_tensor(truth), as_tensor(prediction)
        if a.shape != b.shape:
            raise UserError(
                f"The prediction has shape {tuple(b.shape)}, the truth {tuple(a.shape)}: they must be equal."
            )
        if a.ndim not in (3, 4) or 0 in a.shape:
            raise UserError(f"A score needs (bands, H, W) or (B, bands, H, W), not an array of shape {tuple(a.shape)}.")
        if a.device != b.device:
            raise UserError(f"The prediction is on {b.device}, the truth on {a.device}: move one to the other.")
        a, b = (x if x.is_floating_point() else x.float() for x in (a, b))
        a, b = (x[None] if x.ndim == 3 else x for x in (a, b))
        return cls(a, b, colour_matrix(a.shape[1], wavelengths).to(a.device))


def colour_matrix(bands: int, wavelengths: ArrayLike | None) -> Tensor:
    """(3, bands) float64 from reflectance to linear sRGB.

    Raises:
        UserError: no wavelengths for a band count other than the challenge's, or not one a band.
    """
    if wavelengths is None:
        if bands != len(BAND_GRID):
            raise UserError(
                f"The cube has {bands} bands, the challenge's grid {len(BAND_GRID)}: give the wavelengths in nm."
            )
        centres: NDArray[np.float64] = BAND_GRID
    else:
        given = wavelengths.cpu() if isinstance(wavelengths, Tensor) else wavelengths
        centres = np.asarray(given, dtype=np.float64).reshape(-1)
    if len(centres) != bands:
        raise UserError(
            f"The cube has {bands} bands but {len(centres)} wavelengths were given; give one in nm per band."
        )
    return torch.from_numpy(srgb_weights(centres))


def _weights(pair: _Pair, name: str, mask: Array) -> Tensor:
    """(B, n) float64 of 0 and 1."""
    batch, _, height, width = pair.truth.shape
    chosen = as_tensor(mask).to(pair.truth.device) != 0
    if chosen.shape not in ((height, width), (batch, height, width)):
        raise UserError(f"The {name} has shape {tuple(chosen.shape)}, the image {(height, width)}: they must be equal.")
    return chosen.double().expand(batch, height, width).reshape(batch, height * width)


def _scored(pair: _Pair, weights: Tensor | None) -> dict[str, Tensor]:
    """Every value, (B, K), of checked inputs; `weights` is (B, K, n)."""
    _, _, height, width = pair.truth.shape
    step = max(1, _PIXELS_AT_ONCE // (height * width))
    parts = []
    with torch.no_grad(), torch.autocast(pair.truth.device.type, enabled=False), one_thread_per_operation():
        for first in range(0, len(pair.truth), step):
            chunk = slice(first, first + step)
            masks = None if weights is None else weights[chunk]
            values = measures(pair.truth[chunk], pair.prediction[chunk], pair.to_rgb, masks)
            if not all(bool(value.isfinite().all()) for value in values.values()):
                _refuse_non_finite(pair)
                most = spectral.MAGNITUDE_LIMIT
                a, b = (x[chunk].double().clamp(-most, most) for x in (pair.truth, pair.prediction))
                values = measures(a, b, pair.to_rgb, masks)
            parts.append(values | scale.subscores(values))
    return {name: torch.cat([part[name] for part in parts]) for name in scale.NAMES}


def _refuse_non_finite(pair: _Pair) -> None:
    for name, values in (("prediction", pair.prediction), ("truth", pair.truth)):
        count = int((~values.isfinite()).sum())
        if count:
            raise UserError(
                f"The {name} holds {count} values that are NaN or infinite, of {values.numel()}: "
                "they cannot be scored; see where they come from."
            )


def measures(
    truth: Tensor, prediction: Tensor, to_rgb: Tensor, weights: Tensor | None = None, *, floor: float = 0.0
) -> dict[str, Tensor]:
    """The six measures (`scale.MEASURES`), float64 (B, K); differentiable in `prediction` without weights.

    Args:
        truth: (B, bands, H, W) floating.
        prediction: (B, bands, H, W) floating.
        to_rgb: (3, bands) float64, see `colour_matrix`.
        weights: (B, K, H·W) float64 of 0 and 1, each with at least one 1; without them K is 1.
        floor: see `spectral_maps`; 0 is the score.
    """
    return measures_of(pixel_maps(truth, prediction, to_rgb, weights, floor=floor), weights)


def measures_of(maps: PixelMaps, weights: Tensor | None = None) -> dict[str, Tensor]:
    """The six measures of maps; for `weights`, those that the maps were made with, see `measures`."""
    batch, count = maps.similarity.shape
    pixels = maps.similarity.new_full((batch, 1), count) if weights is None else weights.sum(dim=-1)

    def averaged(values: Tensor) -> Tensor:
        if weights is None:
            return values.mean(dim=-1, keepdim=True)
        return (weights @ values[..., None]).squeeze(-1) / pixels

    return {
        "SAM_deg": torch.rad2deg(averaged(maps.sam)),
        "SID": averaged(maps.sid),
        "ERGAS": scale.ergas(maps.band_squared / pixels[..., None], maps.truth_sum / pixels[..., None]),
        "PSNR_dB": spatial.psnr(averaged(maps.squared)),
        "SSIM": averaged(maps.similarity),
        "DeltaE00": averaged(maps.difference),
    }


class PixelMaps(NamedTuple):
    """What the measures are means over, float64, for B images of n pixels and K masks (1 without masks).

    Attributes:
        sam: (B, n) spectral angle in radians.
        sid: (B, n) spectral information divergence in nats.
        band_squared: (B, K, bands) sum over the mask's pixels of the squared error.
        truth_sum: (B, K, bands) sum over the mask's pixels of the truth.
        squared: (B, n) squared error of the renders, mean over the channels.
        similarity: (B, n) structural similarity.
        difference: (B, n) ΔE00.
    """

    sam: Tensor
    sid: Tensor
    band_squared: Tensor
    truth_sum: Tensor
    squared: Tensor
    similarity: Tensor
    difference: Tensor


def pixel_maps(
    truth: Tensor, prediction: Tensor, to_rgb: Tensor, weights: Tensor | None = None, *, floor: float = 0.0
) -> PixelMaps:
    """The maps of a batch; for the arguments see `measures`."""
    a, b = truth.flatten(2), prediction.flatten(2)
    batch, _, pixels = a.shape
    dtype = operations.working_type(truth, prediction)
    if torch.is_grad_enabled() and prediction.requires_grad:
        maps = spectral.spectral_maps(a, b, to_rgb, weights, floor)
        rendered = _rendered(maps.rgb.double(), maps.rgb_change.double())
        images = rendered.images.to(dtype)
    else:
        compare = spectral.comparing(operations.Spectra(a.detach(), b.detach(), to_rgb, weights, floor))
        images = torch.empty(2, batch, 3, pixels, dtype=dtype, device=a.device)

        # Spectra and colours of a strip one after the other, while it is in the cache.
        def walk(at: slice) -> tuple[spectral.SpectralMaps, _Rendered]:
            maps = compare(at)
            rendered = _rendered(maps.rgb, maps.rgb_change)
            images[..., at] = rendered.images
            nothing = images.new_empty(0)
            return maps._replace(rgb=nothing, rgb_change=nothing), rendered._replace(images=nothing)

        parts = over_strips(walk, spectral.strips(a), a.device)
        maps = spectral.joined([part for part, _ in parts])
        rendered = _Rendered(
            *(torch.cat(tensors, dim=-1) for tensors in zip(*(part for _, part in parts), strict=True))
        )
    images = images.reshape(2, batch, 3, *truth.shape[2:])
    similarity = spatial.ssim_map(images[0], images[1]).flatten(1).double()
    return PixelMaps(
        maps.sam, maps.sid, maps.squared, maps.truth_sum, rendered.squared, similarity, rendered.difference
    )


class _Rendered(NamedTuple):
    """Renders (2, B, 3, n) of truth and prediction; their squared error and ΔE00, (B, n) float64."""

    images: Tensor
    squared: Tensor
    difference: Tensor


def _rendered(rgb: Tensor, change: Tensor) -> _Rendered:
    """Of linear sRGB (B, 3, n) of the truth and how far the prediction's is from it."""
    linear, change = colour.clipped(rgb, change)
    images = colour.encode(torch.stack([linear, linear + change]))
    squared = (images[0] - images[1]).square().mean(dim=1)
    difference = colour.ciede2000(*colour.labs(linear, change))
    return _Rendered(images, squared.double(), difference.double())
