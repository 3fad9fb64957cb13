"""From a model and an input to a cube: tiles, test-time augmentation, ensembles, floor and ceiling.

Validation, evaluation, prediction and submission all come through `reconstruct`: the same model gives the
same numbers everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsmodels.inference import tiles
from hsmodels.inference.ensemble import Ensemble
from hsmodels.inference.tta import averaged
from hsmodels.params import Predict
from hsmodels.zoo.composed import bias_of

__all__ = ["Ensemble", "device_of", "finish", "predict", "reconstruct", "seam_error"]

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def reconstruct(model: nn.Module, input: Tensor, settings: Predict) -> Tensor:
    """The finished cubes of a batch, by the settings of `params.yaml`.

    Args:
        model: from (B, C, h, w) to (B, bands, H, W).
        input: (B, C, h, w) or (C, h, w), as the track's files hold it, in [0, 1].
        settings: floor, tiles, test-time augmentation, precision.

    Returns:
        (B, bands, H, W) or (bands, H, W) float32 in [floor, 1], where `input` is stored.

    Raises:
        UserError: see `predict` and `finish`.
    """
    raw = predict(
        model, input, tile=settings.tile, overlap=settings.overlap, tta=settings.tta, precision=settings.precision
    )
    return finish(raw, settings.floor)


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
    """Apply a model to images of any size, without gradients and in evaluation mode.

    A learned fixed pattern of the sensor is added at the end, where the output has as many columns as the
    training's frames or fewer: column 0 of the input must be the sensor's first.

    With `tile`, memory beside input and output depends on the tile only: the input may stay on the CPU
    while the model is on a GPU. Where neighbouring tiles meet, each is used only from a margin of 3/8 of
    the overlap on; models that look no further than that give exactly what they give of the whole
    image. Models that look at the whole image at once, as MST++ does by its attention, give something
    else of a tile, and no overlap bounds the difference: `seam_error` measures it.

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
    batch = input if input.ndim == 4 else input[None]
    if batch.ndim != 4 or 0 in batch.shape:
        raise UserError(f"An input has shape (B, C, height, width), none of them 0, not {tuple(input.shape)}.")
    is_mosaic = batch.shape[1] == 1 if mosaic is None else mosaic
    run = partial(_run, model, device_of(model, batch), precision, scale)
    if tta:
        run = partial(averaged, run, mosaic=is_mosaic)
    # Not inference_mode: what a model keeps of this for later could then never enter a training step.
    with torch.no_grad(), _evaluating(model), _explaining_memory(tile):
        if tile is None:
            output = run(batch).to(batch.device, torch.float32)
        else:
            output = tiles.tiled(run, batch, tile, tiles.overlap_of(tile, overlap))
    bias = bias_of(model, output.shape[-1]) if stripes else None
    if bias is not None:
        output += bias.to(output)
    return output if input.ndim == 4 else output[0]


def seam_error(
    model: nn.Module,
    input: Tensor,
    *,
    tile: int,
    overlap: int | None = None,
    tta: bool = False,
    precision: str = "no",
) -> float:
    """The largest difference between two neighbouring tiles where one fades into the other.

    It costs two tiles. For models of limited reach it also bounds, up to how fast their answer to a cut
    dies away, the difference to whole-image inference; 0 where the reach is within the margin.

    Args:
        model: as for `predict`.
        input: (C, h, w) or (B, C, h, w); the seam nearest to the image's middle is taken.
        tile: as for `predict`.
        overlap: as for `predict`.
        tta: as for `predict`.
        precision: as for `predict`.

    Returns:
        The difference in reflectance; 0 for an image that one tile covers.
    """
    batch = input if input.ndim == 4 else input[None]
    shared = max(tiles.overlap_of(tile, overlap), tiles.STEP)
    worst = 0.0
    for axis, other in ((-1, -2), (-2, -1)):
        along = tiles.spans(batch.shape[axis], tile, shared)
        if len(along) == 1:
            continue
        across = tiles.spans(batch.shape[other], tile, shared)
        middle = across[len(across) // 2]
        strip = batch.narrow(other, middle.start, middle.stop - middle.start)
        before, after = along[len(along) // 2 - 1 : len(along) // 2 + 1]
        faded = []
        for span in (before, after):
            part = strip.narrow(axis, span.start, span.stop - span.start)
            result = predict(model, part, tta=tta, precision=precision, stripes=False)
            scale = result.shape[axis] // part.shape[axis]
            start, stop = tiles.fade_of(before, after, shared, scale)
            faded.append(result.narrow(axis, start - span.start * scale, stop - start).clone())
        worst = max(worst, float((faded[0] - faded[1]).abs().max()))
    return worst


def device_of(model: nn.Module, otherwise: Tensor) -> torch.device:
    """Where a model's parameters are; a model without any works where `otherwise` is."""
    held: Tensor
    for held in chain(model.parameters(), model.buffers()):
        return held.device
    return otherwise.device


def _run(model: nn.Module, device: torch.device, precision: str, scale: int | None, window: Tensor) -> Tensor:
    with torch.autocast(device.type, _AUTOCAST.get(precision), enabled=precision in _AUTOCAST):
        output: Tensor = model(window.to(device))
    _check(window, output, scale)
    return output.float()


def _check(window: Tensor, output: Tensor, scale: int | None) -> None:
    """Refuse an output that is not (B, bands, h * scale, w * scale) with one whole scale."""
    height, width = window.shape[-2:]
    factor = scale if scale is not None else max(output.shape[-1] // width, 1)
    if output.ndim != 4 or output.shape[-2:] != (height * factor, width * factor) or len(output) != len(window):
        raise UserError(
            f"The model made {tuple(output.shape)} of an input {tuple(window.shape)}: its output must be "
            f"(B, bands, height * scale, width * scale) with scale {scale or 'a whole number'}."
        )


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        # Part by part: a frozen part may have been in evaluation mode on purpose.
        for module in training:
            module.training = True


@contextmanager
def _explaining_memory(tile: int | None) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        smaller = 512 if tile is None else max(tile // 16 * 8, 16)
        raise UserError(
            f"The GPU's memory does not hold {'a whole image' if tile is None else f'a tile of {tile} pixels'}: "
            f"set predict.tile (--tile) to {smaller} or less."
        ) from error
