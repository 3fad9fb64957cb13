"""Augmentation: the same geometry for an image, its mask and its validity, and light for the image alone.

What happens is a function of a key, (seed, epoch, sample id, draw), never of the worker, the process or the
clock. Each step has its own stream of random numbers: setting one leaves the choices of the others as they were.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as F  # type: ignore[import-untyped]

from hsengine.base.errors import UserError
from hstasks.images.settings import Affine, Augment, Probability

Key = tuple[int, int, str, int]
"""(seed, epoch, sample id, draw)."""

# Their names in torch.
_BEYOND = {"zero": "zeros", "edge": "border", "reflect": "reflection"}


def augmented(
    image: Tensor, mask: Tensor | None, valid: Tensor | None, settings: Augment, key: Key
) -> tuple[Tensor, Tensor | None, Tensor]:
    """A changed copy of a sample.

    Args:
        image: (C, H, W), float32, in [0, 1] where `settings.clip` holds.
        mask: (H, W), integer, or none.
        valid: (H, W), bool; none: all of it.
        settings: what may happen.
        key: what does.

    Returns:
        Image, mask and validity, (C, h, w) and (h, w): of the crop's size, or with height and width exchanged
        by a quarter turn.

    Raises:
        UserError: the image is smaller than the crop.
    """
    layers = [image, None if mask is None else mask[None], _validity(image, valid)[None]]
    for geometry in _geometry(image, settings, key):
        layers = [None if layer is None else geometry(layer) for layer in layers]
    turned, labels, inside = layers
    assert turned is not None and inside is not None
    return _lit(turned, settings, key), None if labels is None else labels[0], inside[0]


Geometry = Callable[[Tensor], Tensor]
"""A map of images (C, H, W): floating point is interpolated, all else takes the nearest pixel."""


def _geometry(image: Tensor, settings: Augment, key: Key) -> list[Geometry]:
    """What happens to the places of the pixels."""
    steps: list[Geometry] = []
    if settings.crop is not None:
        steps.append(_crop(image, settings.crop, generator(key, "crop"), key[2]))
    if _happens(settings.hflip, generator(key, "hflip")):
        steps.append(F.horizontal_flip)
    if _happens(settings.vflip, generator(key, "vflip")):
        steps.append(F.vertical_flip)
    random = generator(key, "rot90")
    if _happens(settings.rot90, random):
        steps.append(_turn(int(random.integers(4))))
    random = generator(key, "dihedral")
    if _happens(settings.dihedral, random):
        steps += [F.horizontal_flip] * int(random.integers(2)) + [_turn(int(random.integers(4)))]
    for place, affine in enumerate(settings.affine):
        random = generator(key, f"affine {place}")
        if _happens(affine.p, random):
            steps.append(_affine(affine, random))
    return steps


def _crop(image: Tensor, side: int, random: np.random.Generator, name: str) -> Geometry:
    height, width = image.shape[-2:]
    if min(height, width) < side:
        raise UserError(f"{name} has {height} x {width} pixels: set augment.crop to {min(height, width)} at most.")
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    return lambda layer: layer[..., top : top + side, left : left + side]


def _turn(quarters: int) -> Geometry:
    return lambda layer: torch.rot90(layer, quarters, (-2, -1))


def _affine(settings: Affine, random: np.random.Generator) -> Geometry:
    right, down, scale, angle, shear = random.uniform(-1.0, 1.0, 5).tolist()
    radians, factor = math.radians(angle * settings.rotate), 1.0 + scale * settings.scale
    cos, sin, slope = math.cos(radians), math.sin(radians), shear * settings.shear
    # Rotation times shear times scale, and its inverse: where each pixel comes from.
    forward = factor * torch.tensor([[cos, cos * slope - sin], [sin, sin * slope + cos]], dtype=torch.float64)
    inverse = torch.linalg.inv(forward)

    def mapped(layer: Tensor) -> Tensor:
        height, width = layer.shape[-2:]
        side = torch.tensor([width, height], dtype=torch.float64)
        shift = torch.tensor([right, down], dtype=torch.float64) * settings.shift * side
        rows = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
        columns = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
        places = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], dim=-1)
        grid = ((places - shift) @ inverse.T) * 2 / side
        changed = _sampled(layer, grid, settings.border)
        if layer.dtype == torch.bool:
            beyond = (grid.abs() > 1).any(-1).to(layer.device)
            known = torch.ones_like(changed) if settings.border == "zero" else changed
            changed = torch.where(beyond, known & settings.border_valid, changed)
        return changed

    return mapped


def _sampled(layer: Tensor, grid: Tensor, border: str) -> Tensor:
    # torchvision's affine fills what is beyond the border with one value only; its base repeats the image too.
    smooth = layer.is_floating_point()
    # Integers up to 2^53 keep their values.
    values = layer if smooth else layer.to(torch.float64)
    sampled = functional.grid_sample(
        values[None],
        grid[None].to(values),
        mode="bilinear" if smooth else "nearest",
        padding_mode=_BEYOND[border],
        align_corners=False,
    )
    return sampled[0].to(layer.dtype)


def _lit(image: Tensor, settings: Augment, key: Key) -> Tensor:
    """What happens to the values of the pixels."""
    changed = image
    random = generator(key, "light")
    if _happens(settings.light.p, random):
        contrast, brightness = random.uniform(-1.0, 1.0, 2).tolist()
        changed = changed * (1.0 + contrast * settings.light.contrast) + brightness * settings.light.brightness
    random = generator(key, "noise")
    if _happens(settings.noise.p, random):
        sigma = float(random.uniform(0.0, settings.noise.sigma))
        noise = random.standard_normal(tuple(image.shape), dtype=np.float32)
        changed = changed + sigma * torch.from_numpy(noise).to(image)
    # An unchanged image is left alone, wherever its values lie.
    return changed.clamp(0.0, 1.0) if settings.clip and changed is not image else changed


def generator(key: Key, stream: str) -> np.random.Generator:
    """Random numbers that follow from a key and the name of what they are for, on every machine."""
    digest = hashlib.blake2b("\0".join([*map(str, key), stream]).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def _happens(probability: Probability, random: np.random.Generator) -> bool:
    return bool(random.random() < probability)


def _validity(image: Tensor, valid: Tensor | None) -> Tensor:
    return torch.ones(image.shape[-2:], dtype=torch.bool, device=image.device) if valid is None else valid
