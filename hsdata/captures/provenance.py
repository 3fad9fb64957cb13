"""Where imported samples came from: `imports.csv` and `groups.csv` of a data folder."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hsdata.catalog import GROUPS_FILE
from hsengine.base import tables
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
    if not os.path.lexists(root / RECORD_FILE):
        return []
    samples = []
    try:
        for row in tables.read(root / RECORD_FILE, [item.name for item in fields(ImportedSample)]):
            values: dict[str, Any] = {
                item.name: int(row[item.name]) if item.type == "int" else row[item.name]
                for item in fields(ImportedSample)
            }
            samples.append(ImportedSample(**values))
    except (ValueError, UserError) as error:
        raise UserError(f"{root / RECORD_FILE} is damaged ({error}): restore it, or remove it to start anew.") from None
    return samples


def write(root: Path, samples: Iterable[ImportedSample]) -> None:
    """Write the record, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [item.name for item in fields(ImportedSample)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(sample) for sample in samples)
    write_text(root / RECORD_FILE, text.getvalue())


def write_group(root: Path, sample: str, group: str) -> None:
    """Put a sample into a group; a line that `groups.csv` has for it already stays."""
    if all(row["id"] != sample for row in groups(root)):
        tables.append(root / GROUPS_FILE, [{"id": sample, "group": group}])


def groups(root: Path) -> list[dict[str, str]]:
    """The lines of `groups.csv`; none where it is missing.

    Raises:
        UserError: it is no sound table.
    """
    file = root / GROUPS_FILE
    return tables.read(file, ("id", "group")) if os.path.lexists(file) else []
