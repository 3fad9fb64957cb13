"""Cut-outs and tables as the release stores them, byte by byte: five files an object are too many for a slow writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hstasks.lenses.layout import SIDE

_Cards = dict[str, bool | int | str]

_BLOCK = 2880
_EMPTY_PRIMARY: _Cards = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}


def training_file(key: str, inner_id: str, band: str, image: NDArray[Any]) -> bytes:
    """A table of one row with the id and an image (41, 41), as in the labelled folders.

    Args:
        key: name of the column of ids: `Lens ID` or `Object ID`.
        inner_id: the id.
        band: letter.
        image: in counts.
    """
    cards: _Cards = {
        "TFIELDS": 2, "TTYPE1": key, "TFORM1": f"{len(inner_id)}A", "TTYPE2": f"band_{band}",
        "TFORM2": f"{SIDE * SIDE}D", "TDIM2": f"({SIDE},{SIDE})",
    }  # fmt: skip
    return _table(inner_id.encode("ascii") + image.astype(">f8").tobytes(), 1, cards)


def blind_file(image: NDArray[Any]) -> bytes:
    """A primary image (41, 41) float32, as in the folder without labels."""
    shape: _Cards = {"NAXIS": 2, "NAXIS1": SIDE, "NAXIS2": SIDE}
    return _header({"SIMPLE": True, "BITPIX": -32, **shape, "EXTEND": True}) + _filled(image.astype(">f4").tobytes())


def parameter_file(key: str, ids: Sequence[str], values: Mapping[str, Sequence[float]]) -> bytes:
    """A bucket's table of parameters: a column of ids and columns of doubles."""
    width = max((len(name) for name in ids), default=1)
    cards: _Cards = {"TFIELDS": 1 + len(values), "TTYPE1": key, "TFORM1": f"{width}A"}
    for number, name in enumerate(values, start=2):
        cards |= {f"TTYPE{number}": name, f"TFORM{number}": "D"}
    rows = zip(ids, *values.values(), strict=True)
    content = b"".join(
        name.encode("ascii").ljust(width, b"\0") + np.asarray(numbers, ">f8").tobytes() for name, *numbers in rows
    )
    return _table(content, len(ids), cards)


def _table(content: bytes, rows: int, columns: Mapping[str, bool | int | str]) -> bytes:
    shape = {"BITPIX": 8, "NAXIS": 2, "NAXIS1": len(content) // max(rows, 1), "NAXIS2": rows, "PCOUNT": 0, "GCOUNT": 1}
    return _header(_EMPTY_PRIMARY) + _header({"XTENSION": "BINTABLE", **shape, **columns}) + _filled(content)


def _header(cards: Mapping[str, bool | int | str]) -> bytes:
    lines = [_card(keyword, value) for keyword, value in cards.items()]
    return _filled("".join([*lines, "END".ljust(80)]).encode("ascii"), b" ")


def _card(keyword: str, value: bool | int | str) -> str:
    if isinstance(value, str):
        text = f"'{value:<8}'"
    else:
        text = f"{('F', 'T')[value] if isinstance(value, bool) else value:>20}"
    return f"{keyword:<8}= {text}".ljust(80)


def _filled(content: bytes, filler: bytes = b"\0") -> bytes:
    return content + filler * (-len(content) % _BLOCK)
