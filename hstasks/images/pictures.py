"""PNG and JPEG, by Pillow; `hstasks.images.readers` says whose file it was when this fails."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hsengine.base.png import SIGNATURE

# Pixels of the largest image that is decoded: Pillow's own limit for what is no attack.
_LARGEST = 89_478_485
# Deflate packs at most 1032 bytes into one.
_DENSEST = 1032
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_SPREAD = {"CMYK": "RGB", "YCbCr": "RGB", "PA": "RGBA"}


@dataclass(frozen=True)
class _Header:
    """What the first chunk of a PNG declares."""

    width: int
    height: int
    bits: int
    channels: int


def decode(path: Path) -> NDArray[Any]:
    """The pixels, (channels, H, W): bool, uint8 or uint16; palettes resolved."""
    return _pixels(path, resolve=True)


def labels(path: Path) -> NDArray[Any]:
    """The values of a label image, (H, W); of a palette, the numbers of its entries."""
    pixels = _pixels(path, resolve=False)
    if (pixels != pixels[:1]).any():
        raise ValueError(f"it has {len(pixels)} channels that differ, and labels are one number a pixel")
    plane: NDArray[Any] = pixels[0]
    return plane


def _pixels(path: Path, *, resolve: bool) -> NDArray[Any]:
    content = path.read_bytes()
    if not content:
        raise ValueError("the file is empty")
    png = content.startswith(SIGNATURE)
    header = _checked(content) if png else None
    if header is not None and header.bits == 16 and header.channels > 1:
        return _deep(content)
    with Image.open(io.BytesIO(content), formats=["PNG" if png else "JPEG"]) as picture:
        _check_size(*picture.size)
        picture.load()
        array = np.asarray(_plain(picture, resolve))
    if header is not None and header.bits == 16:
        array = array.astype(np.uint16)
    return np.ascontiguousarray(np.moveaxis(array, 2, 0)) if array.ndim == 3 else array[np.newaxis]


def _plain(picture: Image.Image, resolve: bool) -> Image.Image:
    if picture.mode == "P":
        if not resolve:
            return picture
        return picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    return picture.convert(_SPREAD[picture.mode]) if picture.mode in _SPREAD else picture


def _deep(content: bytes) -> NDArray[np.uint16]:
    # Pillow reduces 16 bits of several channels to 8 without a word.
    from rasterio.errors import NotGeoreferencedWarning  # type: ignore[import-untyped]
    from rasterio.io import MemoryFile  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(content, ext=".png") as memory, memory.open(driver="PNG") as dataset:
            pixels: NDArray[np.uint16] = dataset.read()
    return pixels


def _checked(content: bytes) -> _Header:
    """The header of a PNG that is complete, undamaged and no larger than its bytes can hold."""
    place, kind, packed = len(SIGNATURE), b"", 0
    header: _Header | None = None
    while kind != b"IEND":
        if place + 12 > len(content):
            raise ValueError("it is truncated")
        [length] = struct.unpack_from(">I", content, place)
        kind = content[place + 4 : place + 8]
        if place + 12 + length > len(content):
            raise ValueError("it is truncated")
        end = place + 8 + length
        if struct.unpack_from(">I", content, end)[0] != zlib.crc32(content[place + 4 : end]):
            raise ValueError(f"its part {kind!r} is damaged")
        if header is None:
            if kind != b"IHDR" or length != 13:
                raise ValueError("it does not begin with a header")
            width, height, bits, colour = struct.unpack_from(">IIBB", content, place + 8)
            if colour not in _CHANNELS:
                raise ValueError(f"it is of the unknown colour type {colour}")
            header = _Header(width, height, bits, _CHANNELS[colour])
            _check_size(width, height)
        packed += length if kind == b"IDAT" else 0
        place = end + 4
    if header is None:
        raise ValueError("it does not begin with a header")
    if header.width * header.height * header.bits * header.channels // 8 > packed * _DENSEST:
        raise ValueError(
            f"it declares {header.width} x {header.height} pixels, more than its {packed} bytes of data can hold"
        )
    return header


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"it declares {width} x {height} pixels")
    if width * height > _LARGEST:
        raise ValueError(f"it declares {width} x {height} pixels, and at most {_LARGEST} are read")
