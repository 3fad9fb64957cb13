"""What is done to training pictures of pastures beside what all tasks share: colours, blur, crops, RandAugment.

Everything follows from a key, (seed, epoch, sample id, draw); each step has its own stream of random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F  # type: ignore[import-untyped]

from hstasks.biomass.params import Changes, Colour, Window
from hstasks.images.transforms import Key, augmented, generator

_BINS = 30
"""The greatest magnitude of RandAugment."""

# Shares and degrees at the greatest magnitude, as in the published tables.
_SHEAR, _SHIFT, _TURN, _FACTOR = 0.3, 150.0 / 331.0, 30.0, 0.9


def changed(image: Tensor, settings: Changes, key: Key) -> Tensor:
    """A changed copy of a picture (3, H, W), white as 1, of the same size.

    RandAugment comes first, then the window, then flips, affine maps, light and noise, then colours and blur.
    """
    image = _randomly(image, settings, key)
    image = window(image, settings.window, key)
    image = augmented(image, None, None, settings, key)[0]
    random = generator(key, "colour")
    if random.random() < settings.colour.p:
        image = coloured(image, settings.colour, random)
    random = generator(key, "blur")
    if random.random() < settings.blur.p:
        low, high = settings.blur.sizes
        size = int(random.choice(np.arange(low | 1, high + 1, 2)))
        image = F.gaussian_blur(image, [size, size])
    return image.clamp(0.0, 1.0) if settings.clip else image


def coloured(image: Tensor, settings: Colour, random: np.random.Generator) -> Tensor:
    """A picture in another light: turned hue, another saturation and value, and a tint added to each channel."""
    hue, saturation, value, *tint = random.uniform(-1.0, 1.0, 6).tolist()
    if settings.hue:
        image = F.adjust_hue(image.clamp(0.0, 1.0), hue * settings.hue / 360.0)
    if settings.saturation:
        image = F.adjust_saturation(image.clamp(0.0, 1.0), 1.0 + saturation * settings.saturation)
    image = image * (1.0 + value * settings.value)
    return image + torch.tensor(tint, dtype=image.dtype)[:, None, None] * settings.tint


def window(image: Tensor, settings: Window, key: Key) -> Tensor:
    """A random part of a picture (3, H, W), enlarged to its size (Szegedy et al. 2015)."""
    random = generator(key, "window")
    if not random.random() < settings.p:
        return image
    height, width = image.shape[-2:]
    (least, most), (narrow, wide) = settings.scale, settings.ratio
    area = float(random.uniform(least, most))
    ratio = math.exp(float(random.uniform(math.log(narrow), math.log(wide))))
    h = min(height, max(1, round(height * math.sqrt(area / ratio))))
    w = min(width, max(1, round(width * math.sqrt(area * ratio))))
    top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
    found: Tensor = F.resized_crop(image, top, left, h, w, [height, width], antialias=True)
    return found.clamp(0.0, 1.0)


def _randomly(image: Tensor, settings: Changes, key: Key) -> Tensor:
    """RandAugment (Cubuk et al. 2020): some of fourteen changes, all of one strength, either way."""
    random = generator(key, "randaugment")
    names = list(_CHANGES)
    for _ in range(settings.randaugment.ops):
        change = _CHANGES[names[int(random.integers(len(names)))]]
        sign = 1.0 if random.random() < 0.5 else -1.0
        image = change(image, settings.randaugment.magnitude / _BINS, sign).clamp(0.0, 1.0)
    return image


def _affine(
    image: Tensor, *, turn: float = 0.0, shift: tuple[float, float] = (0.0, 0.0), shear: tuple[float, float] = (0, 0)
) -> Tensor:
    pixels = [round(shift[0] * image.shape[-1]), round(shift[1] * image.shape[-2])]
    angles = [math.degrees(math.atan(value)) for value in shear]
    found: Tensor = F.affine(
        image, turn, pixels, 1.0, angles, interpolation=F.InterpolationMode.BILINEAR, fill=[0.5, 0.5, 0.5]
    )
    return found


_CHANGES: Mapping[str, Callable[[Tensor, float, float], Tensor]] = {
    "identity": lambda image, m, sign: image,
    "shear_x": lambda image, m, sign: _affine(image, shear=(sign * m * _SHEAR, 0.0)),
    "shear_y": lambda image, m, sign: _affine(image, shear=(0.0, sign * m * _SHEAR)),
    "translate_x": lambda image, m, sign: _affine(image, shift=(sign * m * _SHIFT, 0.0)),
    "translate_y": lambda image, m, sign: _affine(image, shift=(0.0, sign * m * _SHIFT)),
    "rotate": lambda image, m, sign: _affine(image, turn=sign * m * _TURN),
    "brightness": lambda image, m, sign: F.adjust_brightness(image, 1.0 + sign * m * _FACTOR),
    "colour": lambda image, m, sign: F.adjust_saturation(image, 1.0 + sign * m * _FACTOR),
    "contrast": lambda image, m, sign: F.adjust_contrast(image, 1.0 + sign * m * _FACTOR),
    "sharpness": lambda image, m, sign: F.adjust_sharpness(image, 1.0 + sign * m * _FACTOR),
    "posterize": lambda image, m, sign: F.posterize(image, 8 - round(4 * m)),
    "solarize": lambda image, m, sign: F.solarize(image, 1.0 - m),
    "autocontrast": lambda image, m, sign: F.autocontrast(image),
    "equalize": lambda image, m, sign: F.equalize(image),
}
