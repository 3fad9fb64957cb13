"""The stage `catalog`: which images exist, are they sound, what the tables and the pictures say."""

from __future__ import annotations

from typing import Any

import pandas as pd

from hsengine.base import paths, workers
from hsengine.base.errors import UserError
from hsengine.base.wording import listed, some
from hstasks.biomass import layout, pictures
from hstasks.biomass.layout import TARGETS, TEST, TRAIN, Entry
from hstasks.biomass.params import DataParams
from hstasks.images import catalog as catalogs
from hstasks.images import readers

OWN: dict[str, str] = {
    "date": "str",
    "state": "str",
    "species": "str",
    "ndvi": "float64",
    "height_cm": "float64",
    **dict.fromkeys(TARGETS, "float64"),
    "dates": "float64",
    "look": "str",
    "near": "str",
    **dict.fromkeys(pictures.COMPLEXITY, "float64"),
    **dict.fromkeys(pictures.STATISTICS, "float64"),
}
"""Columns of this catalog beside the common ones: metadata, empty or NaN where they are not known; grams; the share of
pixels of a burnt-in date; what the picture looks like, and the first id of those that look the same; its complexity
and its colours."""


def run(params: DataParams) -> catalogs.Summary:
    """List all images, check every table and picture, and write `derived/catalog.csv`.

    Raises:
        UserError: anything is unsound (with `catalog.unsound` refuse), or no training image is left.
    """
    return catalogs.kept(make(params))


def load() -> pd.DataFrame:
    """The catalog that `run` wrote.

    Raises:
        UserError: there is none, or it is another one.
    """
    return catalogs.load(paths.CATALOG, OWN)


def make(params: DataParams) -> pd.DataFrame:
    """The catalog of a data folder; see `run`.

    Returns:
        One row an image with the columns of `catalogs.COLUMNS` and `OWN`. `attrs["problems"]` lists what was left
        out and why, `attrs["notes"]` what else is odd.
    """
    found = layout.find(params.data.root, params.catalog.tolerance)
    sound = [entry for entry in found.entries if not entry.problems]
    count = 1 if not params.machine.workers and len(sound) < 100 else params.machine.workers
    results = list(workers.run(_read, sound, workers=count, label="catalog"))
    problems = [problem for entry in found.entries for problem in entry.problems]
    problems += [problem for _, problem in results if problem]
    if problems and params.catalog.unsound == "refuse":
        raise UserError(
            f"{found.root} is unsound:\n{listed(problems)}\n"
            "Mend or remove these files and rows, or set catalog.unsound to 'drop' to leave the images out."
        )
    frame = catalogs.framed([row for row, problem in results if not problem], OWN)
    if not (frame["split"] == TRAIN).any():
        raise UserError(f"No sound training image is left in {found.root}:\n{listed(problems)}")
    frame["near"] = near_duplicates(frame, params.catalog.near)
    notes = found.notes + _doubles(frame)
    frame.attrs.update(problems=problems, notes=notes)
    return frame


def table_rows(entries: list[Entry]) -> pd.DataFrame:
    """The catalog's columns that follow from the tables alone, for work without pictures."""
    return catalogs.framed([_described(entry) for entry in entries], OWN)


def read(entries: list[Entry]) -> pd.DataFrame:
    """The rows of pictures that no catalog has, for prediction.

    Raises:
        UserError: one cannot be read; names it.
    """
    results = [_read(entry) for entry in entries]
    problems = [problem for _, problem in results if problem]
    if problems:
        raise UserError(listed(problems))
    return catalogs.framed([row for row, _ in results], OWN)


def near_duplicates(frame: pd.DataFrame, bits: int) -> list[str]:
    """For each image, the first id of those that look like it within so many bits of 128, or show the same pixels."""
    ids, looks, contents = list(frame["id"]), list(frame["look"]), list(frame["content"])
    numbers = [int(text, 16) if text else None for text in looks]
    parent = list(range(len(ids)))

    def root(place: int) -> int:
        while parent[place] != place:
            place = parent[place]
        return place

    for i, first in enumerate(numbers):
        for j in range(i):
            second = numbers[j]
            same = bool(contents[i]) and contents[i] == contents[j]
            close = first is not None and second is not None and (first ^ second).bit_count() <= bits
            if same or close:
                low, high = sorted((root(i), root(j)))
                parent[high] = low
    return [ids[root(place)] for place in range(len(ids))]


def _read(entry: Entry) -> tuple[dict[str, Any], str]:
    """An image's row, or what is wrong with it."""
    try:
        pixels = readers.read(entry.image)
    except UserError as error:
        return {}, f"{entry.id}: {error}"
    if len(pixels) < 3:
        return {}, f"{entry.id}: {entry.image} is grey: pictures have three channels"
    image = readers.to_float(pixels[:3])
    marked = float(pictures.date_mask(image).mean())
    row = _described(entry) | {
        "channels": len(pixels),
        "height": image.shape[1],
        "width": image.shape[2],
        "content": catalogs.content_hash(pixels),
        "defects": "date" if marked > 5e-4 else "",
        "dates": marked,
        "look": pictures.look(image),
        **pictures.complexity(image),
        **pictures.statistics(image),
    }
    return row, ""


def _described(entry: Entry) -> dict[str, Any]:
    day = entry.date
    return {
        "id": entry.id,
        "split": entry.split,
        "image": entry.image.as_posix(),
        # The date as the table writes it: folds over groups follow the order of their names.
        "group": f"{entry.state} {day.year}/{day.month}/{day.day}" if entry.state and day else "",
        "stratum": entry.state,
        "date": day.isoformat() if day else "",
        "state": entry.state,
        "species": entry.species,
        "ndvi": entry.ndvi,
        "height_cm": entry.height,
        **entry.grams,
    }


def _doubles(frame: pd.DataFrame) -> list[str]:
    """What is to be known of images that look the same."""
    notes = []
    for _, part in frame.groupby("near", sort=True):
        if len(part) < 2:
            continue
        kind = "the same image" if part["content"].nunique() == 1 else "near-duplicates"
        where = " (training and test)" if {TRAIN, TEST} <= set(part["split"]) else ""
        notes.append(f"warning: {kind}{where}: {some(list(part['id']))}")
    return notes
