"""The classes of the target set and of OpenEarthMap, and how the second are brought to the first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hsengine.base import tables
from hsengine.base.errors import UserError
from hstasks.images.geotiff import Palette

BACKGROUND = 0
NAMES = ("Background", "Forest", "Grassland", "Cropland", "Settlement", "Seminatural grassland")
CLASSES = len(NAMES)
MINORITIES = (4, 5)
PALETTE: Palette = {
    0: (0, 0, 0),
    1: (250, 62, 119),
    2: (168, 232, 84),
    3: (242, 180, 92),
    4: (59, 141, 247),
    5: (255, 214, 33),
}

OEM_NAMES = ("unknown", "bareland", "rangeland", "developed", "road", "tree", "water", "agriculture", "building")
OEM_CLASSES = len(OEM_NAMES)
OEM_PALETTE: Palette = {
    0: (0, 0, 0),
    1: (128, 0, 0),
    2: (0, 255, 36),
    3: (148, 148, 148),
    4: (255, 255, 255),
    5: (34, 97, 38),
    6: (0, 69, 255),
    7: (75, 181, 73),
    8: (222, 31, 7),
}
BUILT = (3, 4, 8)
"""Developed, road and building: what a rural tile has little of."""

TABLES = ("by_name", "measured", "possible")
"""The relabellings that come with the package."""

_FOLDER = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Relabelling:
    """From OpenEarthMap's labels to the target's classes.

    A relabelled mask holds codes: a code below 6 is that class, 0 none, and one from 6 on stands for several
    possible classes.

    Attributes:
        codes: the code of each of the nine labels.
        sets: the classes that each code may be; empty for 0.
    """

    codes: tuple[int, ...]
    sets: dict[int, tuple[int, ...]]


def relabelling(name: str) -> Relabelling:
    """A table by its name, or of a file with the columns `label` and `classes` (numbers with spaces between; 0: none).

    Raises:
        UserError: there is no such table, or it does not say of each label which classes it may be.
    """
    file = _FOLDER / f"{name}.csv" if name in TABLES else Path(name)
    if not os.path.lexists(file):
        raise UserError(f"oem.table: there is no table '{name}': {', '.join(TABLES)}, or the path of a file.")
    try:
        labels = [
            (int(row["label"]), tuple(sorted({int(number) for number in row["classes"].split()} - {BACKGROUND})))
            for row in tables.read(file, ("label", "classes"))
        ]
    except ValueError as error:
        raise UserError(f"{file} must hold whole numbers ({error}).") from None
    rows = dict(labels)
    if sorted(label for label, _ in labels) != list(range(OEM_CLASSES)):
        raise UserError(f"{file} must say of each label 0 to {OEM_CLASSES - 1}, once, which classes it may be.")
    wrong = [label for label, classes in rows.items() if any(not 0 < number < CLASSES for number in classes)]
    if wrong:
        raise UserError(f"{file}: label {wrong[0]} names a class outside 0 to {CLASSES - 1}.")
    several = sorted({classes for classes in rows.values() if len(classes) > 1})
    sets: dict[int, tuple[int, ...]] = {BACKGROUND: (), **{number: (number,) for number in range(1, CLASSES)}}
    sets |= {CLASSES + place: classes for place, classes in enumerate(several)}
    numbers = {classes: code for code, classes in sets.items()}
    return Relabelling(tuple(numbers[rows[label]] for label in range(OEM_CLASSES)), sets)
