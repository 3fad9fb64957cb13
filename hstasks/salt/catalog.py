"""The stage `catalog`: which tiles exist, are they sound, and what is odd about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base import paths, workers
from hsengine.base.errors import UserError
from hsengine.base.wording import listed, some
from hstasks.images import catalog as catalogs
from hstasks.images import readers
from hstasks.salt import layout
from hstasks.salt.layout import TRAIN, Tile
from hstasks.salt.params import DataParams
from hstasks.salt.rle import TILE, rle_decode

OWN: dict[str, str] = {
    "depth": "float64",
    "salt_pixels": "int64",
    "coverage_class": "int64",
    "mask_content": "str",
}
"""Columns of this catalog beside the common ones: depth in feet; pixels of salt, their class and the hash of the
mask, which are -1, -1 and empty where there is no mask."""

# Rows of a mask whose lower half repeats one row.
_REPEATED_ROWS = 50
# Tiles that a process reads at a time, and so many that starting processes pays.
_CHUNK, _WORTH_PROCESSES = 250, 4000


def run(params: DataParams) -> catalogs.Summary:
    """List all tiles, check every file and table, and write `derived/catalog.csv`.

    Raises:
        UserError: anything is unsound (with `catalog.unsound` refuse), or no training tile is left.
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
        One row a tile with the columns of `catalogs.COLUMNS` and `OWN`. `attrs["problems"]` lists what was left
        out and why, `attrs["notes"]` what else is odd.
    """
    found = layout.find(params.data.root)
    sound = [tile for tile in found.tiles if not tile.problems]
    chunks = [(sound[start : start + _CHUNK], params.catalog.tiny) for start in range(0, len(sound), _CHUNK)]
    count = 1 if not params.machine.workers and len(sound) < _WORTH_PROCESSES else params.machine.workers
    results = [result for part in workers.run(_read, chunks, workers=count, label="catalog") for result in part]
    problems = [problem for tile in found.tiles for problem in tile.problems]
    problems += [problem for _, found_in in results for problem in found_in]
    if problems and params.catalog.unsound == "refuse":
        raise UserError(
            f"{found.root} is unsound:\n{listed(problems)}\n"
            "Mend or remove these files and rows, or set catalog.unsound to 'drop' to leave the tiles out."
        )
    frame = catalogs.framed([row for row, _ in results if row], OWN)
    if not (frame["split"] == TRAIN).any():
        raise UserError(f"No sound training tile is left in {found.root}:\n{listed(problems)}")
    frame = _with_doubles(frame, found.notes)
    frame.attrs.update(problems=problems, notes=found.notes)
    return frame


def coverage_class(pixels: int, size: int) -> int:
    """The class of coverage of a mask, 0 to 10: ceil(10 · pixels / size), as the competition's entrants count."""
    return -(-10 * pixels // size)


def _read(work: tuple[Sequence[Tile], int]) -> list[tuple[dict[str, Any], list[str]]]:
    """A row, or what is wrong, for each tile."""
    tiles, tiny = work
    found: list[tuple[dict[str, Any], list[str]]] = []
    for tile in tiles:
        try:
            found.append((_row(tile, tiny), []))
        except UserError as error:
            found.append(({}, [f"{tile.id}: {error}"]))
    return found


def _row(tile: Tile, tiny: int) -> dict[str, Any]:
    pixels = readers.read(tile.image)
    levels = layout.one_channel(pixels, tile.image)
    _check_size(levels, tile.image)
    defects = ["black"] if not levels.any() else ["constant"] if (levels == levels.flat[0]).all() else []
    row: dict[str, Any] = {
        "id": tile.id,
        "split": tile.split,
        "image": tile.image.as_posix(),
        "channels": len(pixels),
        "height": levels.shape[0],
        "width": levels.shape[1],
        "content": catalogs.content_hash(levels[None]),
        "depth": tile.depth,
        "salt_pixels": -1,
        "coverage_class": -1,
    }
    if tile.mask is not None:
        mask = _mask(tile, tile.mask)
        salt = int(np.count_nonzero(mask))
        coverage = coverage_class(salt, mask.size)
        defects += mask_defects(mask, tiny)
        row |= {
            "mask": tile.mask.as_posix(),
            "salt_pixels": salt,
            "coverage_class": coverage,
            # Black tiles are all empty and say nothing of the others that are.
            "stratum": "black" if "black" in defects else str(coverage),
            "mask_content": catalogs.content_hash(mask[None]),
        }
    return row | {"defects": " ".join(defects)}


def mask_defects(mask: NDArray[np.bool_], tiny: int) -> list[str]:
    """What is odd about a mask (H, W): `vertical` (all rows alike), `half-vertical` (the last 50 rows), `cap` (the
    last row all salt), `tiny` (at most so many pixels of salt). An empty mask has none."""
    if not mask.any():
        return []
    found = []
    lower = mask[-min(_REPEATED_ROWS, len(mask)) :]
    if (mask == mask[-1]).all():
        found.append("vertical")
    elif mask[-1].any() and not mask[-1].all() and (lower == mask[-1]).all():
        found.append("half-vertical")
    if mask[-1].all():
        found.append("cap")
    if np.count_nonzero(mask) <= tiny:
        found.append("tiny")
    return found


def _mask(tile: Tile, path: Path) -> NDArray[np.bool_]:
    values = readers.read_labels(path)
    _check_size(values, path)
    mask: NDArray[np.bool_] = values > 0
    if mask.any() and (values[mask] != values.max()).any():
        raise UserError(f"{path} holds more than two values: a mask is 0 and one other (255 or 65535).")
    if tile.rle is None:
        return mask
    try:
        twin = rle_decode(tile.rle)
    except UserError as error:
        raise UserError(f"its rle_mask in {layout.TRAIN_TABLE} is wrong. {error}") from None
    differing = int(np.count_nonzero(twin != mask))
    if differing:
        raise UserError(f"its rle_mask in {layout.TRAIN_TABLE} differs from {path} in {differing} pixels")
    return mask


def _check_size(values: NDArray[Any], path: Path) -> None:
    if values.shape != TILE:
        raise UserError(f"{path} has {values.shape[0]} x {values.shape[1]} pixels, not {TILE[0]} x {TILE[1]}")


def _with_doubles(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The catalog with the defects that several tiles make: `duplicate` images, `repeated` masks."""
    notes += [f"the same image is {some(ids)}" for ids in catalogs.duplicates(frame).values()]
    masks = frame["mask_content"]
    flags = {
        "duplicate": (frame["content"] != "") & frame["content"].duplicated(keep=False),
        "repeated": (masks != "") & masks.duplicated(keep=False),
    }
    defects = frame["defects"]
    for name, flagged in flags.items():
        defects = defects.where(~flagged, (defects + " " + name).str.strip())
    return frame.assign(defects=defects)
