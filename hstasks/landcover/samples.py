"""Tiles as the networks take them: scaled, cut to a window, with where the truth counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.base.memory import Cache
from hstasks.images import geotiff, readers
from hstasks.images.samples import ImageSamples, Picture
from hstasks.images.settings import Augment, Input
from hstasks.images.transforms import Key, generator
from hstasks.landcover.crops import around_class, choose
from hstasks.landcover.params import Crops, Data


def image_of(path: str, bands: int | None, white: float | None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """An image (bands, H, W), white as 1 and 0 where it has no data, and where it has some, (H, W).

    Raises:
        UserError: it cannot be read, or has fewer bands.
    """
    pixels = readers.read(path)
    valid = geotiff.validity(pixels, geotiff.place(Path(path)).nodata)
    return scaled(pixels, bands, white, path) * valid, valid


def scaled(pixels: NDArray, bands: int | None, white: float | None, name: str) -> NDArray[np.float32]:  # type: ignore[type-arg]
    """The first bands of pixels (bands, H, W), white as 1; what is no number is 0.

    Raises:
        UserError: there are fewer bands, or white is not known.
    """
    if bands is not None and len(pixels) < bands:
        raise UserError(f"{name} has {len(pixels)} bands, and data.bands asks for {bands}.")
    if white is None and pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 1:
        raise UserError(f"{name} is of {pixels.dtype}: set data.white to the value that counts as white.")
    chosen = pixels if bands is None else pixels[:bands]
    found = readers.to_float(chosen) if white is None else chosen.astype(np.float32) / np.float32(white)
    return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)


def samples(
    rows: pd.DataFrame,
    data: Data,
    settings: Input,
    *,
    augment: Augment | None = None,
    crops: Crops | None = None,
    seed: int = 0,
    mask: str = "mask",
    foreign: bool = False,
    cache: Cache = "none",
) -> ImageSamples:
    """Tiles with their masks.

    Args:
        rows: with `id`, `image` and the column `mask`.
        data: bands and white.
        settings: what the network sees.
        augment: how tiles are changed; None leaves them.
        crops: which window is learned from; only with `augment`.
        seed: of changes and windows.
        mask: the column of the masks' paths.
        foreign: whether the images are of another kind than `data.white` is for; white is then that of their type.
        cache: whether what was read stays in memory, for those that are read in every epoch.
    """
    images, masks, sites = list(rows["image"]), list(rows[mask]), _numbers(rows)

    def read(index: int) -> Picture:
        image, valid = image_of(images[index], data.bands, None if foreign else data.white)
        labels = readers.read_labels(masks[index]).astype(np.uint8) if masks[index] else None
        if labels is not None:
            if labels.shape != valid.shape:
                raise UserError(f"{masks[index]} has {labels.shape} pixels, its image {valid.shape}.")
            valid = valid & (labels != 0)
        return Picture(image, labels, valid)

    cut = cutter(crops) if crops is not None and augment is not None else None
    return ImageSamples(
        list(rows["id"]), read, settings, augment=augment, seed=seed, categories=sites, cut=cut, cache=cache
    )


def cutter(crops: Crops) -> Callable[[Picture, Key], Picture] | None:
    """What takes a window of a sample; None where it is seen whole."""
    size = crops.size
    if size is None:
        return None

    def cut(picture: Picture, key: Key) -> Picture:
        assert picture.mask is not None and picture.valid is not None
        random = generator(key, "crop")
        row, column = _corner(np.where(picture.valid, picture.mask, 0), size, crops, random, key[2])
        window = slice(row, row + size), slice(column, column + size)
        return Picture(picture.image[:, window[0], window[1]], picture.mask[window], picture.valid[window])

    return cut


def _corner(
    labels: NDArray[np.integer], size: int, crops: Crops, random: np.random.Generator, name: str
) -> tuple[int, int]:
    if min(labels.shape) < size:
        raise UserError(f"{name} has {labels.shape} pixels: set crops.size to {min(labels.shape)} at most.")
    if crops.rule in ("published", "meant"):
        return choose(labels, size, random, "meant" if crops.rule == "meant" else "published", crops.tries)
    present = np.unique(labels[labels > 0])
    if crops.rule == "around" and len(present):
        found = around_class(labels, size, random, int(present[random.integers(len(present))]))
        if found is not None:
            return found
    row, column = (int(random.integers(side - size + 1)) for side in labels.shape)
    return row, column


def _numbers(rows: pd.DataFrame) -> list[int]:
    """The number of each tile's site or region."""
    names = rows["site"] if "site" in rows else rows["region"]
    order = {name: number for number, name in enumerate(sorted(set(names)))}
    return [order[name] for name in names]
