"""The challenge's folders, file names and tables."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hsengine.base.errors import UserError
from hsengine.base.filling import check_filled
from hsengine.base.wording import some

BANDS = "grizy"
"""The bands of an object, in the order of the channels."""

SIDE = 41
"""Height and width of a cut-out in pixels."""

PIXEL_ARCSEC = 0.2
ZERO_POINT = 27.0
UNKNOWN = -999.0
"""What `parameters.fits` holds where a value is not known."""

PARAMETERS = "parameters.fits"
BLIND = "test"
"""The name under which the objects without labels stand in catalogs and stores."""


class Bucket(NamedTuple):
    """One of the four labelled folders: its name, the stem of its files, its domain and label (1: lens)."""

    name: str
    stem: str
    domain: str
    label: int


BUCKETS = (
    Bucket("slsim_lenses", "D1_L", "slsim", 1),
    Bucket("slsim_nonlenses", "D1_N", "slsim", 0),
    Bucket("hsc_lenses", "D2_L", "hsc", 1),
    Bucket("hsc_nonlenses", "D2_N", "hsc", 0),
)
DOMAINS = ("slsim", "hsc")

LENS_VALUES = (
    "RA", "Dec", "zlens", "vel disp", "ell_m", "ell_m_PA", "sh", "sh_PA", "Rein", "ell_l", "ell_l_PA", "Reff_l",
    "n_l_sers", *(f"mag_lens_{band}" for band in BANDS), "zsrc", "srcx", "srcy",
    *(f"mag_src_{band}" for band in BANDS), "ell_s", "ell_s_PA", "Reff_s", "n_s_sers",
)  # fmt: skip
"""The columns of a lens in `parameters.fits` after its id, and of a submission after `id` and `preds`."""

NONLENS_VALUES = ("RA", "Dec", "z_central", *(f"mag_lens_{band}" for band in BANDS))

_NAME = re.compile(
    r"(?P<id>(?P<stem>D[12]_[LN]|object)_(?P<number>\d{1,9}))_(?P<band>[grizy])(?P<suffix>\.fits(?:\.gz|\.fz)?)"
)
_IN_MANIFEST = re.compile(rf"\b{_NAME.pattern}")


class FileName(NamedTuple):
    """What the name of a cut-out says: `D1_L_00000012_g.fits` is band g of the object D1_L_00000012."""

    id: str
    stem: str
    number: int
    band: str
    suffix: str


def parsed(name: str) -> FileName | None:
    """The parts of a cut-out's file name, or None where it is no such name."""
    found = _NAME.fullmatch(name)
    return _file_name(found) if found else None


def _file_name(found: re.Match[str]) -> FileName:
    return FileName(found["id"], found["stem"], int(found["number"]), found["band"], found["suffix"])


@dataclass
class Found:
    """The files of one object.

    Attributes:
        id: bucket's stem and number, such as `D1_L_00000012` or `object_00012`.
        bucket: name of the labelled folder, or `BLIND`.
        domain: `slsim`, `hsc`, or "" where it is not known.
        label: 1 lens, 0 non-lens, -1 not known.
        number: of the object in its bucket, which is its row in the store.
        folder: where its files are.
        files: band -> name of the file.
    """

    id: str
    bucket: str
    domain: str
    label: int
    number: int
    folder: str
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Folder:
    """A bucket on disk: where its cut-outs, its table of parameters and its manifests are."""

    bucket: str
    domain: str
    label: int
    stem: str
    files: Path
    parameters: Path | None
    manifests: tuple[Path, ...]


def folders(root: str | os.PathLike[str], blind: str | os.PathLike[str] | None = None) -> list[Folder]:
    """The buckets that are there: bare folders, or such with a folder of the same name inside.

    Args:
        root: holds the four labelled folders (those that are missing are left out).
        blind: the folder of objects without labels, relative to `root`; None or a missing one: there is none.

    Raises:
        UserError: none of them is there, or a run that was to fill the folder did not end.
    """
    place = Path(root)
    check_filled(place)
    found = [_folder(place / bucket.name, bucket) for bucket in BUCKETS if (place / bucket.name).is_dir()]
    if blind is not None and (place / blind).is_dir():
        found.append(_folder(place / blind, Bucket(BLIND, "object", "", -1)))
    if not found:
        raise UserError(
            f"{place} has none of the folders {', '.join(bucket.name for bucket in BUCKETS)}"
            f"{f' and no {blind}' if blind else ''}: set data.root to the folder that holds them, "
            "or make sample data."
        )
    return found


def _folder(place: Path, bucket: Bucket) -> Folder:
    inner = place / place.name
    files = inner if inner.is_dir() else place
    tables = [folder / PARAMETERS for folder in (place, files) if (folder / PARAMETERS).is_file()]
    manifests = {
        path
        for folder in (place, files)
        for path in folder.glob("*[mM][aA][nN][iI][fF][eE][sS][tT]*")
        if path.is_file() and parsed(path.name) is None
    }
    return Folder(
        bucket.name, bucket.domain, bucket.label, bucket.stem, files, next(iter(tables), None), tuple(sorted(manifests))
    )


def objects(folder: Folder) -> list[Found]:
    """The objects of a bucket by number, each with the files of its bands.

    Raises:
        UserError: the folder holds files of another bucket, two files of one band of an object, two objects of
            one number, or no cut-out at all.
    """
    by_id: dict[str, Found] = {}
    strange: list[str] = []
    for entry, name in _cutouts(folder):
        if name.stem != folder.stem:
            strange.append(entry)
            continue
        found = by_id.get(name.id)
        if found is None:
            found = by_id[name.id] = Found(
                name.id, folder.bucket, folder.domain, folder.label, name.number, str(folder.files)
            )
        if name.band in found.files:
            raise UserError(
                f"Object {name.id} has two files of band {name.band}: {found.files[name.band]} and {entry} in "
                f"{folder.files}; leave one."
            )
        found.files[name.band] = entry
    if strange:
        raise UserError(
            f"{folder.files} holds {len(strange)} files that belong elsewhere (expected {folder.stem}_*): "
            f"{some(sorted(strange), 3)}. A label comes from the folder: move them."
        )
    if not by_id:
        raise UserError(
            f"{folder.files} holds no cut-out such as {folder.stem}_00000000_g.fits: fill it or remove the folder."
        )
    ordered = sorted(by_id.values(), key=lambda found: (found.number, found.id))
    for one, other in itertools.pairwise(ordered):
        if one.number == other.number:
            raise UserError(f"{one.id} and {other.id} in {folder.files} have one number: rename one of them.")
    return ordered


def _cutouts(folder: Folder) -> Iterator[tuple[str, FileName]]:
    with os.scandir(folder.files) as entries:
        for entry in entries:
            name = parsed(entry.name)
            if name is not None:
                yield entry.name, name


def unnamed(folder: Folder) -> list[str]:
    """FITS files of a bucket whose names say no object and band, sorted."""
    with os.scandir(folder.files) as entries:
        names = [entry.name for entry in entries if ".fit" in entry.name.lower() and entry.is_file()]
    return sorted(name for name in names if parsed(name) is None and name != PARAMETERS)


def announced(folder: Folder) -> set[tuple[str, str]]:
    """(object, band) of every cut-out that the bucket's manifests name, whatever their format."""
    pairs: set[tuple[str, str]] = set()
    for path in folder.manifests:
        content = path.read_bytes()
        pairs.update(
            (found["id"], found["band"]) for found in _IN_MANIFEST.finditer(content.decode("utf-8", "replace"))
        )
    return pairs


def read_parameters(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A bucket's `parameters.fits`: `id` -> list of texts, and each other column -> float64, NaN where unknown.

    `vel_disp` is called `vel disp`, as in the submission.

    Raises:
        UserError: the table cannot be read, or has no column of ids as text.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as content:
            data = next(part.data for part in content if isinstance(part, fits.BinTableHDU))
            names = list(data.names)
            key = next((name for name in names if name.lower().replace("_", " ") in ("lens id", "object id")), None)
            if key is None or data[key].dtype.kind not in "US":
                raise UserError(
                    f"{path} has no column 'Lens ID' or 'Object ID' of texts (columns: {some(names)}): a number would "
                    "lose digits of an id. Take the table as released."
                )
            table: dict[str, Any] = {"id": [str(text).strip() for text in data[key]]}
            for name in names:
                if name != key and data[name].dtype.kind in "fiu" and data[name].ndim == 1:
                    values = np.asarray(data[name], np.float64)
                    table["vel disp" if name == "vel_disp" else name] = np.where(values == UNKNOWN, np.nan, values)
            return table
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be read as a table of parameters ({error}): fetch it again.") from None
