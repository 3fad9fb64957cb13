"""From an image's size to the network's and exactly back: resized, padded, or both."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode  # type: ignore[import-untyped]
from torchvision.transforms.v2 import functional as F  # type: ignore[import-untyped]

from hsengine.base.errors import UserError
from hstasks.images.settings import Fit

Size = tuple[int, int]
"""(height, width) in pixels."""


def fit(image: Tensor, how: Fit) -> Tensor:
    """An image (..., H, W) at the network's size, (..., h, w).

    Floating point is resized bilinearly; anything else, such as masks and validity, takes the nearest pixel.
    Padding repeats masks as it repeats the image; see `inside` for which pixels are the image's own.

    Raises:
        UserError: the image is larger than what it is padded to.
    """
    size = _size(image)
    top, left, bottom, right = _margins(size, how)
    resized = _resized(image, _middle(size, how), antialias=True)
    return _padded(resized, (top, left, bottom, right), how.border)


def undo(fitted: Tensor, size: Size, how: Fit) -> Tensor:
    """What a network made of a fitted image, (..., h, w), at the image's own size, (..., *size).

    Padding is undone exactly; resizing interpolates as `fit` does.

    Raises:
        UserError: `fitted` has not the size that `fit` gives an image of `size`.
    """
    top, left, _, _ = _margins(size, how)
    height, width = _middle(size, how)
    if _size(fitted) != fitted_size(size, how):
        raise UserError(
            f"An image of {size[0]} x {size[1]} pixels is fitted to {fitted_size(size, how)}, but {_size(fitted)} "
            "came back: predictions must have the size of the network's input."
        )
    return _resized(fitted[..., top : top + height, left : left + width], size, antialias=False)


def fitted_size(size: Size, how: Fit) -> Size:
    """The size that `fit` gives an image of `size`.

    Raises:
        UserError: see `fit`.
    """
    top, left, bottom, right = _margins(size, how)
    height, width = _middle(size, how)
    return top + height + bottom, left + width + right


def inside(size: Size, how: Fit) -> Tensor:
    """Which pixels of a fitted image of `size` are no padding, (h, w), bool."""
    top, left, bottom, right = _margins(size, how)
    return _padded(torch.ones(_middle(size, how), dtype=torch.bool), (top, left, bottom, right), "zero")


def _middle(size: Size, how: Fit) -> Size:
    """The size between resizing and padding."""
    return size if how.resize is None else (how.resize, how.resize)


def _margins(size: Size, how: Fit) -> tuple[int, int, int, int]:
    """Rows and columns of padding: top, left, bottom, right."""
    height, width = _middle(size, how)
    if how.pad is None:
        return 0, 0, 0, 0
    down, across = how.pad - height, how.pad - width
    if down < 0 or across < 0:
        raise UserError(
            f"An image of {height} x {width} pixels cannot be padded to {how.pad}: raise 'pad' or set 'resize'."
        )
    return down // 2, across // 2, down - down // 2, across - across // 2


def _resized(image: Tensor, size: Size, *, antialias: bool) -> Tensor:
    if _size(image) == size:
        return image
    # torchvision wants a channel.
    layer = image[None]
    if image.is_floating_point():
        resized: Tensor = F.resize(layer, list(size), InterpolationMode.BILINEAR, antialias=antialias)
        return resized[0]
    kind = torch.uint8 if image.dtype == torch.bool else image.dtype
    plain: Tensor = F.resize(layer.to(kind), list(size), InterpolationMode.NEAREST_EXACT)
    return plain[0].to(image.dtype)


def _padded(image: Tensor, margins: tuple[int, int, int, int], border: str) -> Tensor:
    top, left, bottom, right = margins
    if not any(margins):
        return image
    rows = _lines(image.shape[-2], top, bottom, border).to(image.device)
    columns = _lines(image.shape[-1], left, right, border).to(image.device)
    padded = image[..., rows[:, None], columns]
    if border == "zero":
        outside = torch.ones(padded.shape[-2:], dtype=torch.bool, device=image.device)
        outside[top : top + image.shape[-2], left : left + image.shape[-1]] = False
        padded[..., outside] = 0
    return padded


def _lines(count: int, before: int, after: int, border: str) -> Tensor:
    """Which line of `count` each line of the padded image shows; reflections go to and fro as often as needed."""
    places = torch.arange(-before, count + after)
    if border == "reflect" and count > 1:
        period = 2 * (count - 1)
        places = places % period
        return torch.minimum(places, period - places)
    return places.clamp(0, count - 1)


def _size(image: Tensor) -> Size:
    return int(image.shape[-2]), int(image.shape[-1])
