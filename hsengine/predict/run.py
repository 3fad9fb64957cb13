"""From a model and an input of any size to its output: tiles, views, precision, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.predict import tiles
from hsengine.predict.views import View, averaged

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def apply(
    model: nn.Module,
    input: Tensor,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    views: Sequence[View] = (),
    precision: str = "no",
    scale: int | None = None,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Apply a model to images of any size, without gradients and in evaluation mode.

    With `tile`, memory beside input and output depends on the tile only: the input may stay on the CPU
    while the model is on a GPU. Where neighbouring tiles meet, each is used only from a margin of 3/8 of
    the overlap on; models that look no further than that give exactly what they give of the whole
    image. Models that look at the whole image at once, as by attention, give something else of a tile, and
    no overlap bounds the difference: `seam_error` measures it.

    Args:
        model: from (B, C, h, w) to (B, channels, h * scale, w * scale).
        input: (B, C, h, w) or (C, h, w).
        tile: side of a tile in input pixels, a multiple of 8; None takes images whole.
        overlap: input pixels that neighbouring tiles share; None chooses 96, or half of a small tile.
        views: average over these, such as `views.DIHEDRAL`; without any, the image as it is.
        precision: `no` computes as the model is, `bf16` and `fp16` under autocast.
        scale: output pixels for each input pixel, to be checked; by default what the model gives.
        activation: makes float32 outputs of the model what is averaged over views and tiles, such as probabilities.

    Returns:
        (B, channels, H, W), or without B as the input is, float32, where `input` is stored.

    Raises:
        UserError: tiles and overlap do not suit, memory does not suffice, or the output's shape does not
            fit the input's.
    """
    batch = input if input.ndim == 4 else input[None]
    if batch.ndim != 4 or 0 in batch.shape:
        raise UserError(
            f"The input has shape {tuple(input.shape)}: give (B, C, height, width) or (C, height, width), none of them "
            "0."
        )
    run: tiles.Run = partial(_run, model, device_of(model, batch), precision, scale, activation)
    if views:
        run = partial(averaged, run, views=views)
    # Not inference_mode: what a model keeps of this for later could then never enter a training step.
    with torch.no_grad(), _evaluating(model), _explaining_memory(tile):
        if tile is None:
            output = run(batch).to(batch.device, torch.float32)
        else:
            output = tiles.tiled(run, batch, tile, tiles.overlap_of(tile, overlap))
    return output if input.ndim == 4 else output[0]


def seam_error(
    model: nn.Module,
    input: Tensor,
    *,
    tile: int,
    overlap: int | None = None,
    views: Sequence[View] = (),
    precision: str = "no",
) -> float:
    """The largest difference between two neighbouring tiles where one fades into the other.

    It costs two tiles along each axis. For models of limited reach it also bounds, up to how fast their answer to a
    cut dies away, the difference to whole-image inference; 0 where the reach is within the margin.

    Args:
        model: as for `apply`, like all that follow.
        input: (C, h, w) or (B, C, h, w); the seam nearest to the image's middle is taken.
        tile: side of a tile.
        overlap: shared pixels.
        views: averaged over.
        precision: of the arithmetic.

    Returns:
        The difference in units of the output; 0 for an image that one tile covers.
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
            result = apply(model, part, views=views, precision=precision)
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


def device_named(name: torch.device | str | None) -> torch.device:
    """The device that the user names; a GPU if there is one where they name none.

    Raises:
        UserError: there is no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"There is no device '{name}': give 'cpu', 'cuda' or 'cuda:<number>'.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"There is no GPU for device '{name}': use 'cpu'.")
    return device


def _run(
    model: nn.Module,
    device: torch.device,
    precision: str,
    scale: int | None,
    activation: Callable[[Tensor], Tensor] | None,
    window: Tensor,
) -> Tensor:
    with torch.autocast(device.type, _AUTOCAST.get(precision), enabled=precision in _AUTOCAST):
        output: Tensor = model(window.to(device))
    _check(window, output, scale)
    return output.float() if activation is None else activation(output.float())


def _check(window: Tensor, output: Tensor, scale: int | None) -> None:
    """Refuse an output that is not (B, channels, h * scale, w * scale) with one whole scale."""
    height, width = window.shape[-2:]
    factor = scale if scale is not None else max(output.shape[-1] // width, 1)
    if output.ndim != 4 or output.shape[-2:] != (height * factor, width * factor) or len(output) != len(window):
        raise UserError(
            f"The model made {tuple(output.shape)} of an input {tuple(window.shape)}: its output must be "
            f"(B, channels, height * scale, width * scale) with scale {scale or 'a whole number'}."
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
