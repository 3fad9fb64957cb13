"""Predictions that the camera sees as the input: the least correction of a cube that renders to its photo."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from hsdata.camera import colour
from hsengine.base.errors import UserError
from hsmodels.zoo.baselines import linear_light

HALF_STEP = 0.5 / 255.0
"""What a picture of 8 bits leaves open, in encoded values."""

# Of the half step, how much a correction leaves; the rest is for what clipping takes back.
_LEFT = 0.8
# Rounding of float32, in encoded values.
_ROUNDING = 2e-6
_STEPS = 40
# Share of what is missing that a step must gain for another to follow: black below the floor gains nothing.
_GAIN = 0.02
# Rows of a cube that are corrected at once; even, for a mosaic's phase.
_ROWS = 64
# Weight of bands at a limit: they take part in the correction a little.
_LEAST = 1e-4
# Relative to the mean of the diagonal: keeps the 3 x 3 equations solvable.
_DAMPING = 1e-6


def rendered(cube: Tensor, to_rgb: Tensor, mosaic: bool) -> Tensor:
    """The input that the standard observer's camera makes of cubes, as `hsdata.camera` does.

    Args:
        cube: (B, bands, H, W) reflectance.
        to_rgb: (3, bands) linear sRGB of the bands.
        mosaic: RGGB planes (B, 1, H, W) instead of pictures of half the size, (B, 3, H/2, W/2).
    """
    rgb = _encoded(torch.einsum("kb,nbhw->nkhw", to_rgb, cube))
    return (rgb * _places(rgb)).sum(dim=1, keepdim=True) if mosaic else F.avg_pool2d(rgb, 2)


def consistent(cube: Tensor, input: Tensor, wavelengths: ArrayLike, *, floor: float = 0.0) -> Tensor:
    """Correct cubes until the camera makes their input of them, within half a step of 8 bits.

    What already does stays as it is. The correction d of a pixel's spectrum a is the smallest in the sense of
    Σ d² / (a (1 - a)), which keeps bands off 0 and 1, among those that give the pixel the encoded colour that is
    missing, or the channel that a mosaic has there; a block of 2 x 2 pixels shares what its input pixel misses.
    Repeated, as clipping at `floor` and at 1 takes some back. A pixel whose input is darker than a spectrum at the
    floor, or brighter than white, comes as near as these allow. Source: Y.-T. Lin and G. Finlayson, Physically
    plausible spectral reconstruction, Sensors 20, 2020.

    Args:
        cube: (B, bands, H, W) finished reflectance, from `floor` to 1.
        input: what it was predicted from: RGB (B, 3, H/2, W/2), or RGGB planes (B, 1, H, W), in [0, 1].
        wavelengths: (bands,) nm.
        floor: least reflectance.

    Raises:
        UserError: the input is not of that size.
    """
    mosaic = input.shape[1] == 1
    factor = 1 if mosaic else 2
    if cube.shape[-2:] != (input.shape[-2] * factor, input.shape[-1] * factor):
        raise UserError(
            f"A cube of {tuple(cube.shape[-2:])} pixels cannot be made consistent with an input of "
            f"{tuple(input.shape[-2:])}: predict.consistent is for the tracks' own sizes."
        )
    cube, input = cube.float(), input.to(cube.device).float()
    to_rgb = torch.from_numpy(colour.srgb_weights(np.asarray(wavelengths, dtype=np.float64))).to(cube)
    # Blocks of 2 x 2 pixels do not see each other.
    parts = [
        _corrected(cube[:, :, top : top + _ROWS], input[:, :, top // factor : (top + _ROWS) // factor], to_rgb, floor)
        for top in range(0, cube.shape[2], _ROWS)
    ]
    return torch.cat(parts, dim=2)


def _corrected(cube: Tensor, input: Tensor, to_rgb: Tensor, floor: float) -> Tensor:
    mosaic = input.shape[1] == 1
    before = float("inf")
    for _ in range(_STEPS):
        light = torch.einsum("kb,nbhw->nkhw", to_rgb, cube)
        rgb = _encoded(light)
        places = _places(rgb) if mosaic else torch.ones_like(rgb)
        seen = (rgb * places).sum(dim=1, keepdim=True) if mosaic else F.avg_pool2d(rgb, 2)
        missing = input - seen
        much = missing.abs()
        excess = (much - HALF_STEP + _ROUNDING).clamp_min(0.0).sum().item()
        if not 0.0 < excess < (1.0 - _GAIN) * before:
            break
        before = excess
        missing = torch.where(much > HALF_STEP - _ROUNDING, missing.sign() * (much - _LEFT * HALF_STEP), 0.0)
        if not mosaic:
            missing = F.interpolate(missing, scale_factor=2.0, mode="nearest")
        missing = missing * places
        wanted = linear_light((rgb + missing).clamp(0.0, 1.0), "srgb", 1)
        # Where nothing is missing nothing changes, whatever rounding makes of decoding what was encoded.
        change = torch.where((missing != 0.0).any(dim=1, keepdim=True), wanted - light, 0.0) * places
        weights = (cube * (1.0 - cube)).clamp_min(_LEAST)
        by_channel = _alone(to_rgb, weights, change) if mosaic else _solved(to_rgb, weights, change)
        cube = cube + weights * torch.einsum("kb,nkhw->nbhw", to_rgb, by_channel)
        cube = cube.clamp(floor, 1.0)
    return cube


def _alone(to_rgb: Tensor, weights: Tensor, change: Tensor) -> Tensor:
    """The same where one channel alone is asked for: each divided by its own m D mᵀ."""
    return change / torch.einsum("kb,nbhw->nkhw", to_rgb.square(), weights)


def _solved(to_rgb: Tensor, weights: Tensor, change: Tensor) -> Tensor:
    """x of (M D Mᵀ) x = change, D = diag(weights), for each pixel: (B, 3, H, W), by Cramer's rule in float64."""
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    products = torch.stack([to_rgb[i] * to_rgb[j] for i, j in pairs])
    a, b, c, d, e, f = torch.einsum("pb,nbhw->pnhw", products, weights).double()
    damping = _DAMPING * (a + d + f) / 3.0
    a, d, f = a + damping, d + damping, f + damping
    rows = (
        (d * f - e * e, c * e - b * f, b * e - c * d),
        (c * e - b * f, a * f - c * c, b * c - a * e),
        (b * e - c * d, b * c - a * e, a * d - b * b),
    )
    determinant = a * rows[0][0] + b * rows[0][1] + c * rows[0][2]
    wanted = change.double()
    solved = [sum(entry * wanted[:, k] for k, entry in enumerate(row)) / determinant for row in rows]
    return torch.stack(solved, dim=1).to(change)


def _encoded(light: Tensor) -> Tensor:
    """The sRGB transfer of linear values, clipped to [0, 1]."""
    light = light.clamp(0.0, 1.0)
    low = colour.SRGB_SLOPE * light
    high = (1.0 + colour.SRGB_OFFSET) * light.clamp_min(colour.SRGB_THRESHOLD) ** (1.0 / colour.SRGB_GAMMA)
    return torch.where(light <= colour.SRGB_THRESHOLD, low, high - colour.SRGB_OFFSET)


def _places(rgb: Tensor) -> Tensor:
    """1 where an RGGB mosaic has a channel, (1, 3, H, W): red at even rows and columns, blue at odd ones."""
    odd_row = (torch.arange(rgb.shape[-2], device=rgb.device) % 2)[:, None]
    odd_column = (torch.arange(rgb.shape[-1], device=rgb.device) % 2)[None, :]
    red, blue = (1 - odd_row) * (1 - odd_column), odd_row * odd_column
    return torch.stack([red, 1 - red - blue, blue])[None].to(rgb)
