"""Texts of variable length in HDF5 files, which the library reads without end where their heap is damaged.

A global heap is a block that starts with `GCOL`; its objects follow one another, each as long as it says. HDF5 2.0
goes from one to the next and stays for ever at one whose length comes to nothing, so the heaps are walked here before
the library walks them. The layout is that of the HDF5 File Format Specification 3.0, section III.E.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, Final

from hsengine.base.errors import UserError

_SIGNATURE: Final = b"GCOL\x01\x00\x00\x00"
# Signature, version and reserved bytes, then the size of the whole block.
_HEAD: Final = 16
# Number, references, reserved, size; the content follows, filled up to 8 bytes.
_OBJECT: Final = struct.Struct("<HHIQ")


def text_attribute(item: Any, name: str) -> str | None:
    """An attribute of an open HDF5 dataset that is a text.

    Args:
        item: the dataset.
        name: of the attribute.

    Returns:
        The text; None where there is no such attribute, or it is no text.

    Raises:
        UserError: the attribute is in a heap, and a heap of the file would be read without end.
    """
    if name not in item.attrs:
        return None
    if item.attrs.get_id(name).dtype.kind == "O":
        check(item.file.filename)
    value = item.attrs[name]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value if isinstance(value, str) else None


def check(path: str) -> None:
    """Refuse a file with a heap that HDF5 would read without end.

    Raises:
        UserError: it has one.
    """
    with Path(path).open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_SIGNATURE)
        while start >= 0:
            if _endless(content, start):
                raise UserError(f"{path} is damaged (a heap of its texts at byte {start} is broken); get it again.")
            start = content.find(_SIGNATURE, start + 1)


def _endless(content: mmap.mmap, start: int) -> bool:
    """Whether a walk over the objects of the heap at `start` would stay at one."""
    if start + _HEAD > len(content):
        return False
    (size,) = struct.unpack_from("<Q", content, start + 8)
    place, end = start + _HEAD, min(start + size, len(content))
    while place + _OBJECT.size <= end:
        number, _, _, length = _OBJECT.unpack_from(content, place)
        # Number 0 is what is free, its own head included. The library adds in 64 bits.
        step = length if number == 0 else (_OBJECT.size + (length + 7 & ~7)) % 2**64
        if step == 0:
            return True
        place += step
    return False
