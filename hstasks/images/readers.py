"""Images from files, one module a format, with the bit depth they have."""

from __future__ import annotations

import importlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsengine.base.errors import UserError


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: what people call it.
        module: where its `decode(path) -> (channels, H, W)` and `labels(path) -> (H, W)` are; imported when needed.
    """

    name: str
    module: str


_PNG = Format("PNG", "hstasks.images.pictures")
_JPEG = Format("JPEG", "hstasks.images.pictures")

_TIFF = Format("GeoTIFF", "hstasks.images.geotiff")

FORMATS: dict[str, Format] = {".png": _PNG, ".jpg": _JPEG, ".jpeg": _JPEG, ".tif": _TIFF, ".tiff": _TIFF}
"""The format of each suffix, in lower case."""

# Values of white by type of the pixels.
_WHITE = {"bool": 1.0, "uint8": 255.0, "uint16": 65535.0}

__loads__ = ("hstasks.images.geotiff", "hstasks.images.pictures")


def read(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The pixels of an image, (channels, H, W), of the type that the file has.

    Palettes are resolved to RGB (RGBA where they are transparent); black and white is boolean.

    Raises:
        UserError: the file is missing, no file, truncated, damaged, too large or of an unknown format.
    """
    return _decoded(path, "decode")


def read_labels(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The values of a label image, (H, W): grey levels, or the numbers of a palette's entries.

    Raises:
        UserError: as `read`, or the image has channels that differ.
    """
    return _decoded(path, "labels")


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """A binary mask, (H, W): true where the file's value is above 0, whatever its bit depth.

    Raises:
        UserError: see `read_labels`.
    """
    mask: NDArray[np.bool_] = read_labels(path) > 0
    return mask


def to_float(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels of any shape as float32, white as 1; floating point keeps its values.

    Raises:
        UserError: the type is none of bool, uint8, uint16 and floating point.
    """
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32, copy=False)
    white = _WHITE.get(pixels.dtype.name)
    if white is None:
        raise UserError(f"Pixels of type {pixels.dtype} have no known white: store uint8, uint16 or floating point.")
    return pixels.astype(np.float32) / np.float32(white)


def _decoded(path: str | os.PathLike[str], function: str) -> NDArray[Any]:
    file = Path(path)
    kind = FORMATS.get(file.suffix.lower())
    if kind is None:
        raise UserError(f"{file} is of no known image format: the suffixes are {', '.join(sorted(FORMATS))}.")
    try:
        mode = file.stat().st_mode
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(mode):
            raise UserError(f"{file} cannot be read as {kind.name}: it is {_nature(mode)}, not a file.")
        pixels: NDArray[Any] = getattr(importlib.import_module(kind.module), function)(file)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{file} cannot be read as {kind.name}: there is no such file.") from None
    # The libraries share no base class for damaged files.
    except Exception as error:
        cause = str(error) or type(error).__name__
        raise UserError(f"{file} cannot be read as {kind.name}: {cause}") from error
    return pixels


def _nature(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a named pipe" if stat.S_ISFIFO(mode) else "a device or socket"
