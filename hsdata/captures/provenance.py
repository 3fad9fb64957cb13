"""Where imported samples came from: `imports.csv` and `groups.csv` of a data folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hsdata.catalog import GROUPS_FILE
from hsengine.base.errors import UserError
from hsengine.base.files import write_text

RECORD_FILE = "imports.csv"


@dataclass(frozen=True)
class ImportedSample:
    """One imported sample, a line of `imports.csv`.

    Attributes:
        id: the sample.
        split: its split.
        source: the capture's file.
        top: first line of the capture that it shows.
        left: first column of the capture that it shows.
        height: lines, in pixels.
        width: columns, in pixels.
        scale: what reflectance 1 is in the capture, and how that was found.
        negative: numbers under 0 in the bands of the capture that were used, in masked pixels too.
        below: values under 0 on the band grid, which were set to 0.
        above: values over 1, which stay.
        invalid: pixels without data, which are 0 and masked.
        notes: what else was done, parts separated by semicolons.
        key: hash of the capture, the options and the window.
    """

    id: str
    split: str
    source: str
    top: int
    left: int
    height: int
    width: int
    scale: str
    negative: int
    below: int
    above: int
    invalid: int
    notes: str
    key: str


def read(root: Path) -> list[ImportedSample]:
    """What the folder's record holds; nothing where there is none.

    Raises:
        UserError: the record is damaged.
    """
    samples = []
    try:
        for row in _read_table(root / RECORD_FILE):
            values: dict[str, Any] = {
                item.name: int(row[item.name]) if item.type == "int" else row[item.name]
                for item in fields(ImportedSample)
            }
            samples.append(ImportedSample(**values))
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{root / RECORD_FILE} is damaged ({error}): restore it, or remove it to start anew.") from None
    return samples


def write(root: Path, samples: Iterable[ImportedSample]) -> None:
    """Write the record, whole or not at all."""
    columns = [item.name for item in fields(ImportedSample)]
    _write_table(root / RECORD_FILE, columns, [asdict(sample) for sample in samples])


def write_group(root: Path, sample: str, group: str) -> None:
    """Put a sample into a group; the other lines of `groups.csv` stay."""
    rows = _read_table(root / GROUPS_FILE)
    columns = list(rows[0]) if rows else ["id", "group"]
    rows = [row for row in rows if row.get("id") != sample] + [{"id": sample, "group": group}]
    _write_table(root / GROUPS_FILE, columns, rows)


def _read_table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def _write_table(path: Path, columns: list[str], rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
