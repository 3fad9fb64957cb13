"""MATLAB's version 5 files: the arrays of numbers, also those inside structures.

SciPy's reader ends the whole process at some damaged files; this one checks every length against what is there.
Format: "MAT-File Format", The MathWorks.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsengine.base import reading

_HEADER = 128
_COMPRESSED, _MATRIX = 15, 14
# Types in which numbers are stored, and classes of the arrays that they make.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_STRUCTURE = 2
_COMPLEX = 0x0800
_DEEPEST = 20


def arrays(content: bytes, source: str) -> dict[str, NDArray[Any]]:
    """The arrays of real numbers by name; those in structures of one element as `structure.field`.

    Args:
        content: of the file.
        source: the file, for messages.

    Raises:
        ValueError: the content is not of that format or is damaged.
        UserError: an array is larger than so small a file can hold.
    """
    if len(content) < _HEADER or content[126:128] not in (b"IM", b"MI"):
        raise ValueError("its header is not that of a MATLAB file")
    order = "<" if content[126:128] == b"IM" else ">"
    found: dict[str, NDArray[Any]] = {}

    def keep(name: str, array: NDArray[Any]) -> None:
        found[name] = array

    for kind, body in _elements(memoryview(content)[_HEADER:], order):
        data = body
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            # The first eight bytes say how long the rest is.
            start = unpacker.decompress(bytes(body), 8)
            if len(start) < 8:
                raise ValueError("a compressed array is cut off")
            kind, length = struct.unpack(order + "II", start)
            reading.check_size(source, length, len(body))
            data = memoryview(unpacker.decompress(unpacker.unconsumed_tail, length) if length else b"")
        if kind == _MATRIX:
            _matrix(data, order, "", keep, 0)
    return found


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The type and content of each element; contents are padded to 8 bytes, but for compressed ones."""
    at = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from(order + "II", data, at)
        if kind >> 16:
            # Up to four bytes stand in the tag itself.
            kind, length, begin, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if length > 4:
                raise ValueError("a short element is longer than four bytes")
        else:
            begin = at + 8
            end = begin + (length if kind == _COMPRESSED else -(-length // 8) * 8)
        if begin + length > len(data):
            raise ValueError("it is cut off, or a length in it is damaged")
        yield kind, data[begin : begin + length]
        at = end


def _matrix(
    data: memoryview, order: str, prefix: str, keep: Callable[[str, NDArray[Any]], None], depth: int, own: str = ""
) -> None:
    """Keep the numbers of an array, or of the fields of a structure."""
    if depth > _DEEPEST:
        raise ValueError("its structures nest too deep")
    parts = _elements(data, order)
    flags = _next(parts, "u4", order)
    if len(flags) == 0:
        return
    kind, is_complex = int(flags[0]) & 0xFF, bool(int(flags[0]) & _COMPLEX)
    shape = tuple(int(length) for length in _next(parts, "i4", order))
    if min(shape, default=0) < 0:
        raise ValueError(f"an array has the shape {shape}")
    stated = bytes(next(parts, (0, memoryview(b"")))[1]).decode("utf-8", "replace")
    name = prefix + (own or stated)
    if kind in _CLASSES and not is_complex:
        stored, numbers = next(parts, (0, memoryview(b"")))
        if stored not in _STORED:
            raise ValueError(f"'{name}' is stored as type {stored}, which holds no numbers")
        dtype = np.dtype(order + _STORED[stored])
        if len(numbers) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"'{name}' has {len(numbers)} bytes for the shape {shape}")
        values = np.frombuffer(numbers, dtype).astype(_CLASSES[kind], copy=False)
        keep(name, values.reshape(shape, order="F"))
    elif kind == _STRUCTURE and math.prod(shape) == 1:
        width = int(np.append(_next(parts, "i4", order), 0)[0])
        fields = bytes(next(parts, (0, memoryview(b"")))[1])
        if width < 1:
            raise ValueError(f"the fields of '{name}' have no names")
        names = [fields[at : at + width].split(b"\0")[0] for at in range(0, len(fields), width)]
        for field, (inner, content) in zip(names, parts, strict=False):
            if inner == _MATRIX and len(content):
                _matrix(content, order, f"{name}.", keep, depth + 1, field.decode("utf-8", "replace"))


def _next(parts: Iterator[tuple[int, memoryview]], dtype: str, order: str) -> NDArray[Any]:
    """The next element as whole numbers."""
    _, content = next(parts, (0, memoryview(b"")))
    return np.frombuffer(content[: len(content) // 4 * 4], order + dtype)
