"""Reading one file of a cut-out, in every form in which the challenge and surveys keep them."""

from __future__ import annotations

import gzip
import os
import re
import warnings
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hstasks.lenses.layout import BANDS, SIDE, parsed

Image = NDArray[np.float32]
Header = dict[str, Any]

_PIXELS = SIDE * SIDE
_BLOCK = 2880


def open_cutout(path: str | os.PathLike[str]) -> tuple[Image, Header]:
    """Read the cut-out in a FITS file (`.fits`, `.fits.gz`, `.fits.fz`).

    It is the first image or table column of 41 x 41 pixels: a primary image or extension (leading axes of one are
    dropped), or in a table of one row the columns `band_g` to `band_y`, else `image`, else the first of 1681
    values. BSCALE, BZERO, TSCAL and TZERO are applied; BLANK and TNULL become NaN. NaN and infinite pixels and
    constant corners stay as they are.

    Returns:
        The image (bands, 41, 41) float32 and its header: the cards of the part that it came from, with `id` (text, to
        the digit; of a table the inner id, else of the file's name), `band` (letters in the order of the channels),
        `hdu` and `nonfinite` (number of pixels that are NaN or infinite).

    Raises:
        UserError: names object and band: the file is missing, damaged or no FITS file, it has no or several objects,
            another shape, or no finite pixel.
    """
    place = Path(path)
    try:
        content = place.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except FileNotFoundError:
        _refuse(place, "the file does not exist", "fetch it again")
    except OSError as error:
        _refuse(place, f"cannot be read ({error.strerror or error})")
    except Exception as error:
        _refuse(place, f"its gzip is damaged ({error})")
    if not content:
        _refuse(place, "the file is empty")
    image, header = _released(content) or _any(place, content)
    name = parsed(place.name)
    header.setdefault("id", name.id if name else "")
    header.setdefault("band", name.band if name and len(image) == 1 else "")
    if not header["band"] and len(image) == len(BANDS):
        header["band"] = BANDS
    header["nonfinite"] = int(image.size - np.isfinite(image).sum())
    if header["nonfinite"] == image.size:
        _refuse(place, "it has no finite pixel")
    return image, header


def constant_corners(image: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Where an image (height, width) was filled with a constant, as in corners after a rotation.

    A corner counts when it and its two neighbours along the edges hold one value; then all pixels of that value in
    its quadrant do. Noise never repeats a value to the bit.
    """
    height, width = image.shape
    filled = np.zeros(image.shape, bool)
    for rows in (slice(0, height // 2 + 1), slice(height - 1, height // 2 - 1, -1)):
        for columns in (slice(0, width // 2 + 1), slice(width - 1, width // 2 - 1, -1)):
            corner = image[rows, columns]
            if corner[0, 0] == corner[0, 1] == corner[1, 0]:
                filled[rows, columns] |= corner == corner[0, 0]
    return filled


def describe(path: str | os.PathLike[str]) -> str:
    """Object, band and file for messages: `D1_L_00000003 band g (slsim_lenses/D1_L_00000003_g.fits)`."""
    name = parsed(Path(path).name)
    return f"{name.id} band {name.band} ({path})" if name else str(path)


def _refuse(path: Path, problem: str, remedy: str = "fetch it again or leave it out") -> NoReturn:
    raise UserError(f"{describe(path)}: {problem}; {remedy}.")


class _Form(NamedTuple):
    """What the header of a released file says: where the pixels start and how they are stored.

    `key` is the name of the column of ids, which are `width` bytes long; in a blind file there is none.
    """

    start: int
    dtype: str
    cards: Header
    key: str = ""
    width: int = 0
    band: str = ""


_PRIMARY = {"SIMPLE": "T", "BITPIX": "8", "NAXIS": "0"}
_IMAGE = {"SIMPLE": "T", "BITPIX": "", "NAXIS": "2", "NAXIS1": str(SIDE), "NAXIS2": str(SIDE)}
_DTYPES = {"-32": ">f4", "-64": ">f8"}
_TABLE = {
    "XTENSION": "'BINTABLE'", "BITPIX": "8", "NAXIS": "2", "NAXIS1": "", "NAXIS2": "1", "PCOUNT": "0", "GCOUNT": "1",
    "TFIELDS": "2", "TTYPE1": "", "TFORM1": "", "TTYPE2": "", "TFORM2": f"'{_PIXELS}D'",
    "TDIM2": f"'({SIDE},{SIDE})'",
}  # fmt: skip


@lru_cache(maxsize=256)
def _blind_form(head: bytes) -> _Form | None:
    """The form of a blind file by its header block; None for any other."""
    cards = _values(head)
    dtype = _DTYPES.get(cards.get("BITPIX", ""))
    if dtype is None or {**cards, "BITPIX": "", "EXTEND": "T"} != {**_IMAGE, "EXTEND": "T"}:
        return None
    return _Form(_BLOCK, dtype, _typed(cards))


@lru_cache(maxsize=256)
def _form(head: bytes) -> _Form | None:
    """The form of a training file by its two header blocks, of which a million files have few; None for any other."""
    primary, table = _values(head[:_BLOCK]), _values(head[_BLOCK:])
    # Any further card, such as TSCAL, is astropy's to understand.
    if {**primary, "EXTEND": "T"} != {**_PRIMARY, "EXTEND": "T"} or table.keys() != _TABLE.keys():
        return None
    if any(value and table[keyword] != value for keyword, value in _TABLE.items()):
        return None
    key, name = table["TTYPE1"].strip("'"), table["TTYPE2"].strip("'")
    found = re.fullmatch(r"'(\d{1,4})A'", table["TFORM1"])
    width = int(found[1]) if found else 0
    if table["NAXIS1"] != str(width + 8 * _PIXELS) or key not in ("Lens ID", "Object ID"):
        return None
    if not found or not re.fullmatch(f"band_[{BANDS}]", name):
        return None
    return _Form(2 * _BLOCK + width, ">f8", _typed(table), key, width, name[-1])


def _typed(cards: dict[str, str]) -> Header:
    known: Header = {"T": True, "F": False}
    return {word: text.strip("'") if "'" in text else known.get(text) or int(text) for word, text in cards.items()}


def _values(block: bytes) -> dict[str, str]:
    """Keywords and values of a header block up to END, as texts without trailing spaces in quotes; {} where odd."""
    found: dict[str, str] = {}
    for start in range(0, _BLOCK, 80):
        card = block[start : start + 80].decode("latin-1")
        if card.rstrip() == "END":
            return found
        match = re.fullmatch(r"([A-Z0-9]{1,8}) *= +('[^']*'|[TF]|[+-]?[0-9]+) *(?:/.*)?", card)
        if not match or card[8] != "=" or match[1] in found:
            break
        text = match[2]
        found[match[1]] = f"'{text[1:-1].rstrip()}'" if text.startswith("'") else text
    return {}


def _released(content: bytes) -> tuple[Image, Header] | None:
    """The image of a file in one of the release's two forms, read without astropy; None for any other form."""
    form = _blind_form(content[:_BLOCK]) or _form(content[: 2 * _BLOCK])
    if form is None or len(content) < form.start + _PIXELS * int(form.dtype[-1]):
        return None
    header = {**form.cards, "hdu": 1 if form.key else 0}
    if form.key:
        inner = content[form.start - form.width : form.start].split(b"\0")[0]
        if not inner.isascii():
            return None
        text = inner.decode().strip()
        header.update({form.key: text, "id": text, "band": form.band})
    return _float32(np.frombuffer(content, form.dtype, _PIXELS, form.start)).reshape(1, SIDE, SIDE), header


def _float32(values: NDArray[Any]) -> Image:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def _any(path: Path, content: bytes) -> tuple[Image, Header]:
    """The image of any FITS file, by astropy."""
    from astropy.io import fits

    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with fits.open(BytesIO(content), memmap=False, lazy_load_hdus=False) as parts:
                found = _first(path, parts)
        cut = next((str(note.message) for note in said if "truncated" in str(note.message)), None)
        if cut:
            _refuse(path, "the file is truncated: its header promises more data")
    except UserError:
        raise
    # Damaged headers and data end in errors of every kind.
    except Exception as error:
        _refuse(path, f"it is damaged or no FITS file ({type(error).__name__}: {_short(error)})")
    return found


def _first(path: Path, parts: Any) -> tuple[Image, Header]:
    seen: list[str] = []
    for number, part in enumerate(parts):
        if part.data is None:
            continue
        found = _of_table(path, part, seen) if getattr(part, "columns", None) is not None else _of_image(part, seen)
        if found is not None:
            image, header = found
            return image, {**_cards(part.header), **header, "hdu": number}
    held = f"it has {', '.join(seen)}" if seen else "it has no image in any part"
    _refuse(path, f"{held}, where {SIDE} x {SIDE} pixels are expected", "cut it to that size or leave it out")


def _of_image(part: Any, seen: list[str]) -> tuple[Image, Header] | None:
    values = np.asarray(part.data)
    shape = values.shape
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.dtype.kind in "fiu" and values.shape[-2:] == (SIDE, SIDE) and values.ndim == 2:
        return _float32(values)[None], {}
    if values.dtype.kind in "fiu" and values.shape == (len(BANDS), SIDE, SIDE):
        return _float32(values), {"band": BANDS}
    seen.append(f"an image of {' x '.join(str(length) for length in shape)}")
    return None


def _of_table(path: Path, part: Any, seen: list[str]) -> tuple[Image, Header] | None:
    """The image in a table, or None where no column has its size."""
    columns = {column.name: column for column in part.columns if _vector(part.data[column.name])}
    if not columns:
        seen.append(f"a table of {len(part.data)} rows without a column of {_PIXELS} values")
        return None
    if len(part.data) != 1:
        _refuse(path, f"it holds {len(part.data)} objects (rows), one is expected", "make one file for each object")
    bands = [band for band in BANDS if f"band_{band}" in columns]
    names = [f"band_{band}" for band in bands] or (["image"] if "image" in columns else list(columns)[:1])
    planes = []
    for name in names:
        values = np.asarray(part.data[name][0])
        plane = _float32(values)
        if columns[name].null is not None and values.dtype.kind in "iu":
            plane = np.where(values == columns[name].null, np.float32(np.nan), plane)
        planes.append(plane.reshape(SIDE, SIDE))
    header: Header = {"band": "".join(bands)} if bands else {}
    for column in part.columns:
        if part.data[column.name].dtype.kind in "US":
            header[column.name] = str(part.data[column.name][0]).strip()
            if column.name.lower().replace("_", " ") in ("lens id", "object id", "id"):
                header["id"] = header[column.name]
    return np.stack(planes), header


def _vector(values: Any) -> bool:
    """Whether each row holds an image of 41 x 41, or as many values without a shape."""
    shape = tuple(length for length in np.shape(values)[1:] if length != 1)
    return getattr(values, "dtype", np.dtype(object)).kind in "fiu" and shape in ((SIDE, SIDE), (_PIXELS,))


def _cards(header: Any) -> Header:
    return {key: header[key] for key in header if key and key not in ("COMMENT", "HISTORY")}


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:157] + "..."
