"""The sample data set: made-up lenses and non-lenses of both domains in the release's layout.

The same arguments give the same bytes on every machine. What is drawn is described in `hstasks.lenses.sky.objects`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsengine.base import workers as processes
from hsengine.base.errors import UserError
from hsengine.base.files import explaining, replacing, write_text
from hsengine.base.filling import filling
from hstasks.lenses.layout import BANDS, BLIND, BUCKETS, LENS_VALUES, NONLENS_VALUES, PARAMETERS, UNKNOWN, Bucket
from hstasks.lenses.sky import objects as sky
from hstasks.lenses.sky import released

TRUTH = "truth.csv"
"""The labels of the blind objects, beside the folders."""

# Numbers of blind objects begin here, so that none of them is a training object.
_BLIND_FROM = 10_000_000
_LOT = 16
# Fields in which the made-up objects lie: right ascension and declination in degrees.
_FIELDS = {"slsim": ((50.0, 75.0), (-44.0, -27.0)), "hsc": ((130.0, 225.0), (-1.0, 5.0))}


@dataclass(frozen=True)
class Summary:
    """What was made: the folder, objects of each bucket, blind objects, bytes of all files."""

    root: str
    objects: int
    blind: int
    bytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{len(BUCKETS)} x {self.objects} labelled and {self.blind} blind objects, {self.bytes / 1e6:.0f} MB, "
            f"in {self.root} ({self.seconds:.1f} s)"
        )


@dataclass(frozen=True)
class _Lot:
    """Objects to draw: where their files go, and (domain, label, index, id) of each."""

    name: str
    folder: str
    seed: int
    blind: bool
    objects: tuple[tuple[str, int, int, str], ...]


def run(
    root: str | os.PathLike[str],
    *,
    objects: int = 240,
    blind: int = 240,
    seed: int = 0,
    force: bool = False,
    workers: int = 0,
) -> Summary:
    """Write the four labelled folders with `parameters.fits` and manifest, a blind folder and its `truth.csv`.

    Args:
        root: the folder to make.
        objects: of each of the four buckets.
        blind: objects without labels; 0: no such folder.
        seed: another one gives other objects.
        force: replace the folders where they exist.
        workers: processes; 0 means one a core.

    Raises:
        UserError: a number is out of range, a folder exists already, or it cannot be written.
    """
    start = time.perf_counter()
    place = Path(root)
    if not 1 <= objects < 10_000_000 or not 0 <= blind <= 100_000 or seed < 0:
        raise UserError(
            f"{objects} objects a bucket, {blind} blind ones and seed {seed} are out of range: 1 to 9999999, 0 to "
            "100000, and 0 or more are possible."
        )
    names = [*(bucket.name for bucket in BUCKETS), *([BLIND] if blind else [])]
    what = f"{objects} objects a bucket, {blind} blind ones, seed {seed}"
    with filling(place, what, [*names, TRUTH], force=force), contextlib.ExitStack() as stack:
        scratch = {name: stack.enter_context(replacing(place / name)) for name in names}
        lots = [lot for bucket in BUCKETS for lot in _labelled(bucket, scratch[bucket.name], objects, seed)]
        if blind:
            lots += _blind(scratch[BLIND], blind, seed)
        for lot in lots:
            Path(lot.folder).mkdir(parents=True, exist_ok=True)
        count = 1 if not workers and len(lots) < 10 else workers
        rows = [row for found in processes.run(_draw, lots, workers=count, label="drawing") for row in found]
        for bucket in BUCKETS:
            _describe(bucket, scratch[bucket.name], [row for row in rows if row["stem"] == bucket.stem])
        total = sum(path.stat().st_size for folder in scratch.values() for path in folder.rglob("*.fits"))
        if blind:
            write_text(place / TRUTH, _truth([row for row in rows if row["stem"] == "object"]))
    return Summary(str(place), objects, blind, total, time.perf_counter() - start)


def _labelled(bucket: Bucket, folder: Path, count: int, seed: int) -> list[_Lot]:
    inner = str(folder / bucket.name)
    wanted = [(bucket.domain, bucket.label, index, f"{bucket.stem}_{index:08d}") for index in range(count)]
    return _lots(inner, seed, False, wanted)


def _blind(folder: Path, count: int, seed: int) -> list[_Lot]:
    """Objects of all four kinds in turn, under numbers that do not tell which."""
    numbers = np.random.default_rng([seed, 4]).permutation(count)
    wanted = []
    for place, number in enumerate(numbers):
        bucket = BUCKETS[place % len(BUCKETS)]
        wanted.append((bucket.domain, bucket.label, _BLIND_FROM + place, f"object_{number:05d}"))
    return _lots(str(folder), seed, True, sorted(wanted, key=lambda entry: entry[-1]))


def _lots(folder: str, seed: int, blind: bool, wanted: list[tuple[str, int, int, str]]) -> list[_Lot]:
    starts = range(0, len(wanted), _LOT)
    return [_Lot(wanted[at][-1], folder, seed, blind, tuple(wanted[at : at + _LOT])) for at in starts]


def _draw(lot: _Lot) -> list[dict[str, Any]]:
    """Write the files of some objects; returns what the tables say of them."""
    rows = []
    for domain, label, index, name in lot.objects:
        made = sky.draw(lot.seed, domain, label, index)
        rng = np.random.default_rng([lot.seed, len(_CLASS) + _CLASS.index((domain, label)), index])
        (west, east), (south, north) = _FIELDS[domain]
        ra, dec = (round(low + (high - low) * float(rng.random()), 8) for low, high in ((west, east), (south, north)))
        if domain == "slsim":
            inner = f"GG-LENS_{made.offset[0]:.4f}_{made.offset[1]:.4f}"
        else:
            inner = f"{round(ra * 1e8):011d}{round(abs(dec) * 1e5):06d}"
        for band, image in zip(BANDS, made.image, strict=True):
            _write(Path(lot.folder, f"{name}_{band}.fits"), _file(lot.blind, label, inner, band, image))
        stem = name.rpartition("_")[0]
        rows.append(
            {"stem": stem, "id": name, "inner": inner, "label": label, "domain": domain, "RA": ra, "Dec": dec}
            | made.values
        )
    return rows


_CLASS = [(bucket.domain, bucket.label) for bucket in BUCKETS]


def _file(blind: bool, label: int, inner: str, band: str, image: NDArray[np.float64]) -> bytes:
    return released.blind_file(image) if blind else released.training_file(_key(label), inner, band, image)


def _key(label: int) -> str:
    return "Lens ID" if label else "Object ID"


def _write(path: Path, content: bytes) -> None:
    with explaining(path):
        path.write_bytes(content)


def _describe(bucket: Bucket, folder: Path, rows: list[dict[str, Any]]) -> None:
    """The bucket's table of parameters, without objects whose id is not theirs alone, and its manifest."""
    times = Counter(row["inner"] for row in rows)
    known = [row for row in rows if times[row["inner"]] == 1]
    columns = [name.replace("vel disp", "vel_disp") for name in (LENS_VALUES if bucket.label else NONLENS_VALUES)]
    values = {name: [float(row.get(name, UNKNOWN)) for row in known] for name in columns}
    table = released.parameter_file(_key(bucket.label), [row["inner"] for row in known], values)
    _write(folder / PARAMETERS, table)
    lines = [f"{row['id']}_{band}.fits\n" for row in rows for band in BANDS]
    write_text(folder / "manifest.txt", "".join(lines))


def _truth(rows: list[dict[str, Any]]) -> str:
    return "id,label,domain\n" + "".join(f"{row['id']},{row['label']},{row['domain']}\n" for row in rows)
