"""Inputs on which file and model are compared: random ones, and windows of real ones, of two sizes each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hsengine.export.writing import Sample

_RANDOM = ((2, 44, 34), (1, 26, 52))
# Sides of the windows of a real image at most.
_WINDOWS = ((64, 96), (96, 72))


def sizes(multiple: int, least: int = 1) -> list[tuple[int, int, int]]:
    """Two sizes (batch, height, width), neither a square: the first has more than one image."""
    return [(batch, _up(height, multiple, least), _up(width, multiple, least)) for batch, height, width in _RANDOM]


def random(shapes: Sequence[Sequence[int]], seed: int = 0) -> tuple[Tensor, ...]:
    """Uniform numbers in [0, 1), the same each time."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(tuple(shape), generator=generator) for shape in shapes)


def windows(image: Tensor, source: str, multiple: int) -> list[Sample]:
    """Two windows of an image (C, H, W) about its middle, their sides and places multiples of a number of pixels."""
    found: list[Sample] = []
    for height, width in _WINDOWS:
        sides = [
            max(min(side, length - (8 if taken else 0)) // multiple * multiple, multiple)
            for side, length, taken in zip((height, width), image.shape[-2:], (False, bool(found)), strict=True)
        ]
        top, left = (
            (length - side) // 2 // multiple * multiple for side, length in zip(sides, image.shape[-2:], strict=True)
        )
        window = image[None, :, top : top + sides[0], left : left + sides[1]].contiguous()
        if all(sample.inputs[0].shape != window.shape for sample in found):
            found.append(Sample(source, (window,)))
    return found


def _up(length: int, multiple: int, least: int) -> int:
    return max(-(-length // multiple) * multiple, -(-least // multiple) * multiple)
