"""Cubes of inputs of any size.

Validation, evaluation, prediction and submission all come through `finish`, and all but the first through
`reconstruct`: the same model gives the same numbers everywhere.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from hsdata.batches.augment import mosaic_dihedral, undo_mosaic_dihedral
from hsdata.cube import BAND_GRID
from hsengine.base.errors import UserError
from hsengine.predict import run
from hsengine.predict.views import DIHEDRAL, View, views_of
from hsmodels.inference.consistency import consistent
from hsmodels.params import Predict
from hsmodels.zoo.composed import bias_of

MOSAIC_DIHEDRAL = views_of(mosaic_dihedral, undo_mosaic_dihedral, range(8))
"""All flips and turns of an RGGB plane that are RGGB again."""


def reconstruct(model: nn.Module, input: Tensor, settings: Predict, wavelengths: ArrayLike = BAND_GRID) -> Tensor:
    """The finished cubes of a batch, by the settings of `params.yaml`.

    Args:
        model: from (B, C, h, w) to (B, bands, H, W).
        input: (B, C, h, w) or (C, h, w), as the track's files hold it, in [0, 1].
        settings: floor, tiles, test-time augmentation, precision, consistency.
        wavelengths: (bands,) nm.

    Returns:
        (B, bands, H, W) or (bands, H, W) float32 in [floor, 1], where `input` is stored.

    Raises:
        UserError: see `predict` and `finished`.
    """
    raw = predict(
        model, input, tile=settings.tile, overlap=settings.overlap, tta=settings.tta, precision=settings.precision
    )
    if input.ndim == 3:
        return finished(raw[None], input[None], settings, wavelengths)[0]
    return finished(raw, input, settings, wavelengths)


def finished(cube: Tensor, input: Tensor, settings: Predict, wavelengths: ArrayLike) -> Tensor:
    """Hold predictions within [floor, 1] and, if `predict.consistent`, to what the camera saw.

    Args:
        cube: (B, bands, H, W) reflectance, or (B, 3, H, W) RGB, which is only held within the limits.
        input: what it was predicted from, (B, C, h, w).
        settings: `floor` and `consistent` are read.
        wavelengths: (bands,) nm.

    Raises:
        UserError: see `finish`, and `hsmodels.inference.consistency.consistent`.
    """
    held = finish(cube, settings.floor)
    if not settings.consistent or cube.shape[1] != np.size(wavelengths):
        return held
    return consistent(held, input, wavelengths, floor=settings.floor)


def finish(cube: Tensor, floor: float) -> Tensor:
    """Hold a prediction within [floor, 1].

    Args:
        cube: reflectance of any shape.
        floor: the least value; a small positive one keeps the divergence of dark pixels small.

    Raises:
        UserError: the cube holds NaN or infinities.
    """
    # Extremes are NaN where any value is, and need no mask as large as the cube.
    low, high = torch.aminmax(cube)
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        raise UserError(
            "The prediction holds values that are not finite numbers: the training has diverged, or half precision "
            "overflows; set predict.precision to 'no', or train with a lower learning rate."
        )
    return cube.clamp(floor, 1.0)


def predict(
    model: nn.Module,
    input: Tensor,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    tta: bool = False,
    precision: str = "no",
    mosaic: bool | None = None,
    scale: int | None = None,
    stripes: bool = True,
) -> Tensor:
    """`hsengine.predict.apply` for cubes.

    A learned fixed pattern of the sensor is added at the end, where the output has as many columns as the
    training's frames or fewer: column 0 of the input must be the sensor's first.

    Args:
        model: from (B, C, h, w) to (B, bands, h * scale, w * scale).
        input: (B, C, h, w) or (C, h, w) in [0, 1]; one channel means an RGGB mosaic.
        tile: side of a tile in input pixels, a multiple of 8; None takes images whole.
        overlap: input pixels that neighbouring tiles share; None chooses 96, or half of a small tile.
        tta: average over the eight flips and turns; views of a mosaic are RGGB again.
        precision: `no` computes as the model is, `bf16` and `fp16` under autocast.
        mosaic: whether the input is a mosaic; by default decided by its channels.
        scale: output pixels for each input pixel, to be checked; by default what the model gives.
        stripes: add the fixed pattern of the sensor, where the model has learned one.

    Returns:
        (B, bands, H, W), or without B as the input is, float32, unclamped, where `input` is stored.

    Raises:
        UserError: tiles and overlap do not suit, memory does not suffice, or the output's shape does not
            fit the input's.
    """
    views = _views(input, tta, mosaic)
    output = run.apply(model, input, tile=tile, overlap=overlap, views=views, precision=precision, scale=scale)
    bias = bias_of(model, output.shape[-1]) if stripes else None
    return output if bias is None else output.add_(bias.to(output))


def seam_error(
    model: nn.Module,
    input: Tensor,
    *,
    tile: int,
    overlap: int | None = None,
    tta: bool = False,
    precision: str = "no",
) -> float:
    """`hsengine.predict.seam_error` for cubes, in reflectance; arguments as for `predict`."""
    views = _views(input, tta, None)
    return run.seam_error(model, input, tile=tile, overlap=overlap, views=views, precision=precision)


def _views(input: Tensor, tta: bool, mosaic: bool | None) -> tuple[View, ...]:
    if not tta:
        return ()
    is_mosaic = input.shape[-3:-2] == (1,) if mosaic is None else mosaic
    return MOSAIC_DIHEDRAL if is_mosaic else DIHEDRAL
