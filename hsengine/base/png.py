"""PNG files whose bytes follow from the pixels alone, on every machine."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STORED_BLOCK = 65535
# Colour type of the file by number of channels.
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
_BITS = {"uint8": 8, "uint16": 16}


def encoded(pixels: NDArray[Any]) -> bytes:
    """The bytes of a PNG of grey, grey and alpha, RGB or RGBA.

    The deflate stream holds stored blocks only: what compression gives depends on the zlib build.

    Args:
        pixels: (channels, height, width), uint8 or uint16.

    Raises:
        ValueError: `pixels` has another shape or type.
    """
    if pixels.ndim != 3 or len(pixels) not in _COLOURS or pixels.dtype.name not in _BITS:
        raise ValueError(
            f"a PNG is (channels, height, width) with 1 to 4 channels of uint8 or uint16, not {pixels.dtype} of "
            f"shape {pixels.shape}"
        )
    channels, height, width = pixels.shape
    bits = _BITS[pixels.dtype.name]
    rows = np.ascontiguousarray(np.moveaxis(pixels, 0, 2)).astype(f">u{bits // 8}").view(np.uint8)
    # Each row begins with the number of its filter: 0, none.
    lines = np.zeros((height, 1 + channels * width * bits // 8), dtype=np.uint8)
    lines[:, 1:] = rows.reshape(height, -1)
    raw = lines.tobytes()
    stream = [b"\x78\x01"]
    for start in range(0, len(raw), _STORED_BLOCK):
        block = raw[start : start + _STORED_BLOCK]
        last = start + _STORED_BLOCK >= len(raw)
        stream += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    stream.append(struct.pack(">I", zlib.adler32(raw)))
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOURS[channels], 0, 0, 0)
    return b"".join([SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", b"".join(stream)), *_chunk(b"IEND", b"")])


def _chunk(kind: bytes, content: bytes) -> Iterator[bytes]:
    yield struct.pack(">I", len(content))
    yield kind
    yield content
    yield struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
