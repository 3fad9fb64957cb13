"""The stage `catalog`: one row an object, with what its five files hold and which objects belong together."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsengine.base import workers as processes
from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hsengine.base.paths import CATALOG
from hsengine.base.wording import listed
from hstasks.lenses import groups, layout, lens_table
from hstasks.lenses.cutout import open_cutout
from hstasks.lenses.layout import BANDS, Found
from hstasks.lenses.params import LensSections

UNREADABLE = CATALOG.parent / "unreadable.csv"
"""The table of what cannot be read: object, band, reason."""

COLUMNS: dict[str, str] = {
    "id": "str",
    "bucket": "str",
    "domain": "str",
    "label": "int64",
    "row": "int64",
    "inner_id": "str",
    "bands": "str",
    "folder": "str",
    "files": "str",
    "nonfinite": "int64",
    "sky": "int64",
    "host": "int64",
    "group": "int64",
    "ra": "float64",
    "dec": "float64",
    "rein": "float64",
    "mag_lens_i": "float64",
    "mag_src_i": "float64",
    "content": "str",
}
"""Column names of a catalog, in order, and their types."""

_TYPES: Any = {name: "object" if kind == "str" else kind for name, kind in COLUMNS.items()}
_OF_PARAMETERS = {"ra": "RA", "dec": "Dec", "rein": "Rein", "mag_lens_i": "mag_lens_i", "mag_src_i": "mag_src_i"}
# Objects that a worker reads at a time.
_LOT = 128


@dataclass(frozen=True)
class Summary:
    """What a catalog holds.

    Attributes:
        counts: objects of each bucket.
        unreadable: (object, band, reason) of what cannot be read or is missing.
        lost: objects of which no band can be read.
        notes: what else is odd.
        seconds: how long it took.
    """

    counts: dict[str, int]
    unreadable: list[tuple[str, str, str]]
    lost: list[str]
    notes: list[str]
    seconds: float

    def __str__(self) -> str:
        held = ", ".join(f"{count} in {bucket}" for bucket, count in self.counts.items())
        lines = [f"{sum(self.counts.values())} objects ({held}) in {self.seconds:.1f} s"]
        if self.unreadable:
            lines.append(f"{len(self.unreadable)} bands cannot be read (all of them: {UNREADABLE.name}):")
            lines.append(listed([_told(*problem) for problem in self.unreadable], 10))
        if self.lost:
            lines.append(f"no band at all of {len(self.lost)} objects:\n{listed(self.lost, 10)}")
        if self.notes:
            lines.append(f"note:\n{listed(self.notes, 10)}")
        return "\n".join(lines)


def _told(name: str, band: str, why: str) -> str:
    # A reader's message says itself whose file it is.
    return why if why.startswith(name) else f"{name} band {band or '?'}: {why}"


@dataclass(frozen=True)
class Reading:
    """What the files of one object hold.

    Attributes:
        bands: letters of those that can be read.
        digests: hash of each of these bands' pixels; "" for an image without variance.
        inner_id: as the files state it, to the digit; "" where they state none.
        nonfinite: pixels that are NaN or infinite.
        problems: band -> why it cannot be used.
        notes: what is odd.
    """

    bands: str
    digests: tuple[str, ...]
    inner_id: str
    nonfinite: int
    problems: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """A hash of all that was read."""
        return content_of(self.bands, self.digests)


def run(
    params: LensSections,
    *,
    out: str | os.PathLike[str] = CATALOG,
    unreadable: str | os.PathLike[str] | None = None,
    workers: int = 0,
) -> Summary:
    """Read every file once and write the catalog, and beside it what cannot be read and the parameters of lenses.

    A band that cannot be read is missing from its object's `bands`; the object stays.

    Args:
        params: `data` and `catalog` are used.
        out: the catalog.
        unreadable: the table of what cannot be read; None: `unreadable.csv` beside the catalog.
        workers: processes that read; 0 means one a core.

    Raises:
        UserError: no folder is there, one is empty or holds what belongs elsewhere, or nothing of a bucket can be read.
    """
    start = time.perf_counter()
    lenses: list[pd.DataFrame] = []
    frame, problems, notes = make(params, workers=workers, lenses=lenses)
    out = Path(out)
    lens_table.save(lenses, out.with_name(lens_table.TABLE.name))
    write_text(unreadable or out.with_name(UNREADABLE.name), _problem_table(problems))
    save(frame, out)
    return Summary(
        counts={str(name): int(count) for name, count in frame["bucket"].value_counts(sort=False).items()},
        unreadable=problems,
        lost=list(frame.loc[frame["bands"] == "", "id"]),
        notes=notes,
        seconds=time.perf_counter() - start,
    )


def make(
    params: LensSections, *, workers: int = 0, lenses: list[pd.DataFrame] | None = None
) -> tuple[pd.DataFrame, list[tuple[str, str, str]], list[str]]:
    """The catalog, (object, band, reason) of what cannot be read, and notes; see `run`.

    The parameters of each bucket of lenses are added to `lenses`.
    """
    parts = layout.folders(params.data.root, params.data.blind)
    objects: list[Found] = []
    notes: list[str] = []
    values: dict[str, list[float]] = {name: [] for name in _OF_PARAMETERS}
    known: list[Reading] = []
    announced: set[tuple[str, str]] = set()
    unnamed: list[tuple[str, str, str]] = []
    for part in parts:
        found = layout.objects(part)
        readings = _read(found, workers)
        if not any(reading.bands for reading in readings):
            why = next(why for reading in readings for why in reading.problems.values())
            raise UserError(f"None of the {len(found)} objects in {part.files} can be read. The first: {why}.")
        table, index = _parameters(part, [reading.inner_id for reading in readings], notes)
        _add_parameters(values, table, index)
        if lenses is not None and part.label == 1:
            lenses.append(lens_table.of_bucket([one.id for one in found], table, index))
        announced |= layout.announced(part)
        why = f"the name of this file in {part.files} is none of {part.stem}_<number>_<band>.fits"
        unnamed += [(name, "", why) for name in layout.unnamed(part)]
        objects += found
        known += readings
    frame = _framed(objects, known, values, params.catalog.sky_arcsec)
    problems = _problems(objects, known, announced) + unnamed
    notes += [note for reading in known for note in reading.notes]
    return frame, problems, notes


def save(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a catalog as CSV; equal catalogs give equal bytes."""
    write_text(path, frame[list(COLUMNS)].to_csv(index=False, lineterminator="\n"))


def load(path: str | os.PathLike[str] = CATALOG) -> pd.DataFrame:
    """Read a catalog that `save` wrote; ids are texts.

    Raises:
        UserError: there is none, or it is no catalog.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"There is no catalog at {file}: make it with the stage 'catalog'.")
    floats = [name for name, kind in COLUMNS.items() if kind == "float64"]
    # Python's own float parser gives back exactly what was written.
    types: Any = {**_TYPES, **dict.fromkeys(floats, "str")}
    try:
        frame = pd.read_csv(StringIO(file.read_text(encoding="utf-8")), dtype=types, keep_default_na=False)
        for name in floats:
            frame[name] = [float(text) if text else float("nan") for text in frame[name]]
        return frame[list(COLUMNS)].astype(_TYPES)
    except (ValueError, KeyError) as error:
        raise UserError(f"{file} is not a catalog of lenses ({error}): make it anew with 'catalog'.") from None


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a label and at least one band."""
    return frame[(frame["label"] >= 0) & (frame["bands"] != "")]


def read(found: Found) -> tuple[Reading, np.ndarray[Any, np.dtype[np.float32]]]:
    """Read an object's files.

    Returns:
        What they hold, and the image (5, 41, 41) float32 in counts, NaN throughout bands that cannot be read.
    """
    image = np.full((len(BANDS), layout.SIDE, layout.SIDE), np.nan, np.float32)
    problems: dict[str, str] = {}
    ids: dict[str, str] = {}
    digests: dict[str, str] = {}
    nonfinite = 0
    for band, name in found.files.items():
        path = Path(found.folder, name)
        try:
            values, header = open_cutout(path)
        except UserError as error:
            problems[band] = str(error)
            continue
        if len(values) != 1 or header["band"] != band:
            problems[band] = f"{path} holds band {header['band'] or '?'}, its name says {band}"
            continue
        image[BANDS.index(band)] = values[0]
        digests[band] = _digest(values)
        nonfinite += header["nonfinite"]
        # Blind files have no inner id; the header's is then the file's own.
        if header["id"] and header["id"] != found.id:
            ids[band] = header["id"]
    bands = "".join(band for band in BANDS if band in digests)
    notes: tuple[str, ...] = ()
    if len(set(ids.values())) > 1:
        notes = (f"the bands of {found.id} state several ids: {', '.join(sorted(set(ids.values())))}",)
    inner = next((ids[band] for band in BANDS if band in ids), "")
    return Reading(bands, tuple(digests[band] for band in bands), inner, nonfinite, problems, notes), image


def content_of(bands: str, digests: Sequence[str]) -> str:
    """A hash of the bands of an object and their pixels."""
    return hashlib.blake2b("|".join([bands, *digests]).encode(), digest_size=8).hexdigest()


def files_of(row: Any) -> dict[str, Path]:
    """band -> file, of a catalog's row."""
    return {token[0]: Path(row.folder, f"{row.id}_{token}") for token in str(row.files).split()}


def _digest(values: np.ndarray[Any, Any]) -> str:
    raw = values.tobytes()
    digest = hashlib.blake2b(raw, digest_size=8).hexdigest()
    return digest if raw[4:] != raw[:-4] else f"constant {digest}"


def _read(found: Sequence[Found], workers: int) -> list[Reading]:
    lots = [_Lot(found[start].id, found[start : start + _LOT]) for start in range(0, len(found), _LOT)]
    # Below a few thousand objects the start of processes takes longer than reading.
    count = 1 if not workers and len(found) < 40 * _LOT else workers
    label = f"reading {found[0].bucket}"
    return [reading for lot in processes.run(_read_lot, lots, workers=count, label=label) for reading in lot]


@dataclass(frozen=True)
class _Lot:
    """Objects that a worker reads at a time, called by the first of them."""

    name: str
    objects: Sequence[Found]


def _read_lot(lot: _Lot) -> list[Reading]:
    return [read(found)[0] for found in lot.objects]


def _parameters(part: layout.Folder, inner: Sequence[str], notes: list[str]) -> tuple[dict[str, Any], list[int]]:
    """`parameters.fits` of a bucket and the row of each object; -1: none, as of an id that several objects share."""
    table = layout.read_parameters(part.parameters) if part.parameters else {"id": []}
    counts, rows = Counter(inner), {name: row for row, name in enumerate(table["id"])}
    double = {name for name, times in Counter(table["id"]).items() if times > 1}
    index = [rows.get(name, -1) if name and counts[name] == 1 and name not in double else -1 for name in inner]
    if part.label >= 0 and part.parameters is None:
        notes.append(f"{part.files} has no {layout.PARAMETERS}: places in the sky are not known there")
    elif part.label >= 0 and -1 in index:
        notes.append(f"{index.count(-1)} of {len(index)} objects in {part.bucket} are not in {layout.PARAMETERS}")
    return table, index


def _add_parameters(values: dict[str, list[float]], table: dict[str, Any], index: Sequence[int]) -> None:
    for column, name in _OF_PARAMETERS.items():
        source = table.get(name)
        values[column] += [float(source[row]) if source is not None and row >= 0 else np.nan for row in index]


def _framed(
    objects: Sequence[Found], known: Sequence[Reading], values: dict[str, list[float]], arcsec: float
) -> pd.DataFrame:
    count = len(objects)
    near = groups.sky_pairs(np.asarray(values["ra"]), np.asarray(values["dec"]), arcsec)
    keys = ((index, f"id {reading.inner_id}" if reading.inner_id else "") for index, reading in enumerate(known))
    images = (
        (index, "" if digest.startswith("constant") else f"{band} {digest}")
        for index, reading in enumerate(known)
        for band, digest in zip(reading.bands, reading.digests, strict=True)
    )
    same = groups.equal_pairs([*keys, *images])
    content: dict[str, Any] = {
        "id": [found.id for found in objects],
        "bucket": [found.bucket for found in objects],
        "domain": [found.domain for found in objects],
        "label": [found.label for found in objects],
        "row": [found.number for found in objects],
        "inner_id": [reading.inner_id for reading in known],
        "bands": [reading.bands for reading in known],
        "folder": [Path(found.folder).as_posix() for found in objects],
        "files": [
            " ".join(found.files[band].removeprefix(f"{found.id}_") for band in reading.bands)
            for found, reading in zip(objects, known, strict=True)
        ],
        "nonfinite": [reading.nonfinite for reading in known],
        "sky": groups.components(count, [near]),
        "host": groups.components(count, [same]),
        "group": groups.components(count, [near, same]),
        "content": [reading.content for reading in known],
        **values,
    }
    return pd.DataFrame(content)[list(COLUMNS)].astype(_TYPES)


def _problems(
    objects: Sequence[Found], known: Sequence[Reading], announced: set[tuple[str, str]]
) -> list[tuple[str, str, str]]:
    """What cannot be read, what a complete object lacks, and what a manifest names but is not there."""
    found_ids = {found.id for found in objects}
    problems = []
    for found, reading in zip(objects, known, strict=True):
        for band in BANDS:
            if band in reading.problems:
                problems.append((found.id, band, reading.problems[band]))
            elif band not in found.files:
                problems.append((found.id, band, f"there is no file of this band in {found.folder}"))
    gone = sorted(pair for pair in announced if pair[0] not in found_ids)
    return problems + [(name, band, "the manifest names it, but there is no file") for name, band in gone]


def _problem_table(problems: Sequence[tuple[str, str, str]]) -> str:
    frame = pd.DataFrame(problems, columns=["object", "band", "reason"])
    return frame.to_csv(index=False, lineterminator="\n")
