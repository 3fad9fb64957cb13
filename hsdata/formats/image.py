"""RGB pictures: 8-bit PNG and JPEG."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hsdata.formats.access import access_error, fetched, is_url
from hsengine.base import png, reading
from hsengine.base.errors import UserError
from hsengine.base.files import replacing

_REMEDIES = {
    "1": "is black and white",
    "L": "is grey",
    "LA": "is grey with transparency",
    "I": "has 16 or 32 bits a pixel in one channel",
    "F": "has floating-point values in one channel",
    "CMYK": "is in CMYK",
}


def read(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Read a picture as float32 (3, height, width) in [0, 1]; `path` can be a URL that fsspec knows.

    Palettes are resolved, and an alpha channel that is opaque throughout is left out.

    Raises:
        UserError: the file is missing, truncated or no 8-bit RGB picture.
    """
    with _opened(path) as picture:
        # Decoding closes the file.
        bits = _png_bits(picture)
        picture.load()
        pixels = np.asarray(_as_rgb(picture, bits, path))
    return np.moveaxis(pixels, 2, 0).astype(np.float32, order="C") / np.float32(255.0)


def size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) in pixels, from the file's header alone.

    Raises:
        UserError: the file is missing or no picture.
    """
    with _opened(path) as picture:
        width, height = picture.size
    return int(height), int(width)


def write(path: str | os.PathLike[str], rgb: NDArray[Any]) -> None:
    """Write a picture as an 8-bit PNG; equal pixels give equal bytes on every machine.

    Args:
        path: the file; what stood there before is replaced, whole or not at all.
        rgb: (3, height, width); uint8, or floating point in [0, 1] (values outside are clipped).

    Raises:
        UserError: the disk is full or the place cannot be written.
        ValueError: `rgb` has another shape or holds NaN.
    """
    if rgb.ndim != 3 or rgb.shape[0] != 3 or rgb.dtype.kind not in "fu":
        raise ValueError(f"a picture is (3, height, width), not {rgb.dtype} of shape {rgb.shape}")
    content = encoded(rgb)
    with replacing(path) as scratch:
        scratch.write_bytes(content)


def encoded(rgb: NDArray[Any]) -> bytes:
    """The bytes of the PNG that `write` writes."""
    pixels = rgb if rgb.dtype == np.uint8 else quantised(rgb)
    return png.encoded(pixels)


def quantised(rgb: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The 8-bit levels of values in [0, 1], of any shape; values outside are clipped.

    Raises:
        ValueError: a value is NaN.
    """
    if np.isnan(rgb).any():
        raise ValueError("a picture must not hold NaN")
    levels: NDArray[np.uint8] = np.rint(np.clip(rgb, 0.0, 1.0) * 255.0).astype(np.uint8)
    return levels


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    if not is_url(path):
        reading.check_kind(path)
    try:
        with Image.open(fetched(str(path)) if is_url(path) else path) as picture:
            yield picture
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"There is no picture at {path}: check the path.") from None
    # Pillow's decoders share no base class for damaged files.
    except Exception as error:
        raise access_error(str(path), error) or UserError(
            f"{path} is truncated, damaged or no PNG or JPEG ({error}); get the file again ('dvc pull' or download)."
        ) from error


def _as_rgb(picture: Image.Image, bits: int, path: str | os.PathLike[str]) -> Image.Image:
    if picture.mode in ("RGB", "RGBA") and bits > 8:
        raise UserError(f"{path} has 16 bits a channel (mode {picture.mode}): save it as RGB with 8 bits a channel.")
    if picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    if picture.mode == "RGBA":
        least = int(np.asarray(picture)[..., 3].min())
        if least < 255:
            raise UserError(f"{path} is partly transparent (mode RGBA): save it as RGB without an alpha channel.")
        picture = picture.convert("RGB")
    if picture.mode != "RGB":
        known = next((text for mode, text in _REMEDIES.items() if picture.mode.split(";")[0] == mode), "is not RGB")
        raise UserError(f"{path} {known} (mode {picture.mode}): save it as RGB with 8 bits a channel.")
    return picture


def _png_bits(picture: Image.Image) -> int:
    """Bits a sample of a PNG, which Pillow reduces to 8 without a word; 8 of any other picture."""
    stream = getattr(picture, "fp", None)
    if picture.format != "PNG" or stream is None:
        return 8
    place = stream.tell()
    stream.seek(24)
    [bits] = stream.read(1)
    stream.seek(place)
    return int(bits)
