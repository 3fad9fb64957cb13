"""Whole images by overlapping tiles, blended so that no seam shows and memory depends on the tile.

Along each axis neighbouring tiles share `overlap` input pixels. A quarter of them, in the middle, is where
one tile fades into the next along a raised cosine; the outer three eighths on either side, nearest to the
cuts, are discarded. A model whose output depends on no input further away than that margin gives exactly
what it gives of the whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from hsengine.base.errors import UserError

STEP = 8
"""Tiles start at multiples of this, so that patterns of pixels and the blocks that networks pad to stay whole."""

OVERLAP = 96
"""Default overlap of neighbouring tiles in input pixels: a margin of 36, the reach of 36 convolutions of 3 x 3."""

Run = Callable[[Tensor], Tensor]
"""Gives (B, channels, h * scale, w * scale) of (B, C, h, w), for any h and w up to a tile's."""


@dataclass(frozen=True)
class Span:
    """A tile along one axis: input pixels `start` to `stop`."""

    start: int
    stop: int


def overlap_of(tile: int, overlap: int | None) -> int:
    """The overlap in input pixels: what was asked for, else `OVERLAP` or as much as half the tile.

    Raises:
        UserError: the tile is no multiple of 8, or the overlap leaves nothing of it.
    """
    if tile % STEP or tile < 2 * STEP:
        raise UserError(f"A tile of {tile} pixels: give a multiple of {STEP} from {2 * STEP} on.")
    if overlap is None:
        return min(OVERLAP, tile // 2)
    if not 0 <= overlap <= tile - STEP:
        raise UserError(f"An overlap of {overlap} pixels does not suit tiles of {tile}: give 0 to {tile - STEP}.")
    return overlap


def margin_of(overlap: int) -> int:
    """Distance in input pixels from a cut within which a tile's output is discarded."""
    return (overlap - overlap // 4) // 2


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Tiles that cover an axis of `length` input pixels, none longer than `tile`.

    They start at multiples of `STEP` and share at least `overlap` pixels with their neighbours.
    """
    if length <= tile:
        return [Span(0, length)]
    stride = (tile - overlap) // STEP * STEP
    last = -(-(length - tile) // STEP) * STEP
    count = -(-last // stride)
    # Evenly spread rather than a full stride each: the surplus goes into the overlaps.
    starts = [last * number // count // STEP * STEP for number in range(count + 1)]
    return [Span(start, min(start + tile, length)) for start in starts]


def fades(along: list[Span], overlap: int, scale: int, length: int) -> Tensor:
    """How far each tile has taken over from those before it: (tiles + 1, length * scale) in [0, 1].

    Row t rises from 0 to 1 along a raised cosine about the middle of what tile t shares with tile t - 1;
    the first row is 1 and the last 0. Row t less row t + 1 is the weight of tile t; the weights sum to 1.
    """
    centres = torch.arange(length * scale, dtype=torch.float64) + 0.5
    rows = [torch.ones_like(centres)]
    for before, after in pairwise(along):
        start, stop = fade_of(before, after, overlap, scale)
        position = ((centres - start) / max(stop - start, 1e-6)).clamp(0.0, 1.0)
        rows.append((1.0 - torch.cos(torch.pi * position)) / 2)
    rows.append(torch.zeros_like(centres))
    return torch.stack(rows)


def fade_of(before: Span, after: Span, overlap: int, scale: int) -> tuple[int, int]:
    """The output pixels (start, stop) within which one tile fades into the next, in the middle of what they share."""
    shared, width = before.stop - after.start, overlap // 4
    start = after.start + (shared - width) // 2
    return start * scale, (start + width) * scale


def tiled(run: Run, image: Tensor, tile: int, overlap: int) -> Tensor:
    """The output of `run` for an image, made tile by tile.

    Args:
        run: see `Run`.
        image: (B, C, H, W).
        tile: side of a tile in input pixels, a multiple of `STEP`.
        overlap: input pixels that neighbouring tiles share at least.

    Returns:
        (B, channels, H * scale, W * scale) float32 where `image` is stored; beside it, only one tile's
        tensors exist at a time.
    """
    height, width = image.shape[-2:]
    down, right = spans(height, tile, overlap), spans(width, tile, overlap)
    output: Tensor | None = None
    for i, vertical in enumerate(down):
        for j, horizontal in enumerate(right):
            window = image[..., vertical.start : vertical.stop, horizontal.start : horizontal.stop]
            part = run(window).to(image.device, torch.float32)
            scale = part.shape[-1] // window.shape[-1]
            if output is None:
                rows, columns = fades(down, overlap, scale, height), fades(right, overlap, scale, width)
                output = image.new_zeros(
                    (part.shape[0], part.shape[1], height * scale, width * scale), dtype=torch.float32
                )
            y = slice(vertical.start * scale, vertical.stop * scale)
            x = slice(horizontal.start * scale, horizontal.stop * scale)
            share = _share(rows[i : i + 2, y], columns[j : j + 2, x])
            # Where both agree, interpolating keeps the value to the last bit; a weighted sum would not.
            output[..., y, x].lerp_(part, share.to(image.device, torch.float32))
            del part
    assert output is not None
    return output


def strips(
    run: Run, read: Callable[[Span, Span], Tensor], size: tuple[int, int], tile: int, overlap: int
) -> Iterator[Tensor]:
    """The output for a scene that need not fit into memory, in strips from its top to its bottom.

    Windows are weighted by the square of a sine along each axis (a Hann window), and what they share is their weighted
    mean. At a time there are one window's tensors and a strip as high as a tile and as wide as the scene.

    Args:
        run: see `Run`.
        read: the scene's pixels (C, h, w) in some rows and columns.
        size: (height, width) of the scene.
        tile: side of a window in pixels, a multiple of `STEP`.
        overlap: pixels that neighbouring windows share at least; half a tile is usual.

    Yields:
        (channels, rows * scale, width * scale) float32; all strips together are the scene's height.
    """
    down, right = (spans(length, tile, overlap) for length in size)
    following = [*(span.start for span in down[1:]), size[0]]
    total = weights = torch.empty(0)
    for vertical, end in zip(down, following, strict=True):
        for horizontal in right:
            part = run(read(vertical, horizontal)[None])[0].to("cpu", torch.float32)
            height, width = part.shape[-2:]
            scale = width // (horizontal.stop - horizontal.start)
            if not total.numel():
                total = torch.zeros(part.shape[0], tile * scale, size[1] * scale)
                weights = torch.zeros(total.shape[1:])
            window = _hann(height)[:, None] * _hann(width)
            across = slice(horizontal.start * scale, horizontal.stop * scale)
            total[:, :height, across] += part * window
            weights[:height, across] += window
        done = (end - vertical.start) * scale
        yield total[:, :done] / weights[:done]
        for values in (total, weights[None]):
            rest = values[:, done:].clone()
            values.zero_()[:, : rest.shape[1]] = rest


def _hann(length: int) -> Tensor:
    """Weights of a window's pixels, (length,), none of them 0."""
    return torch.sin(torch.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length).square().float()


def _share(rows: Tensor, columns: Tensor) -> Tensor:
    """How much of a pixel a tile takes of what it and the tiles before it make together, (h, w) in [0, 1]."""
    mine = (rows[0] - rows[1])[:, None] * (columns[0] - columns[1])
    # Rows of tiles above, then tiles to the left in this row.
    before = (1.0 - rows[0])[:, None] + (rows[0] - rows[1])[:, None] * (1.0 - columns[0])
    total = mine + before
    return torch.where(total > 0, mine / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0)
