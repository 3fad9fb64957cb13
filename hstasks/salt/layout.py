"""The competition's folders and tables: which tiles there are, and what the names and tables alone show wrong.

`train/images`, `train/masks` and `test/images` hold `<id>.png`; beside them stand `train.csv` (id, rle_mask),
`depths.csv` (id, z in feet) and `sample_submission.csv` (id, rle_mask).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hsengine.base import tables
from hsengine.base.errors import UserError
from hsengine.base.filling import check_filled
from hsengine.base.wording import close_matches
from hstasks.images import readers

SUFFIX = ".png"
TRAIN, TEST = "train", "test"
IMAGES, MASKS = "images", "masks"
TRAIN_TABLE, DEPTHS_TABLE, SUBMISSION_TABLE = "train.csv", "depths.csv", "sample_submission.csv"

# The folder that the competition's whole bundle unpacks to.
_BUNDLE = "competition_data"


@dataclass
class Tile:
    """The files and table entries of one id, before they are read.

    Attributes:
        id: ten hexadecimal digits in the competition.
        split: `train` or `test`.
        image: path of the image, or where it should be.
        mask: path of the mask of a training tile.
        depth: in feet; NaN where no table says.
        rle: the entry of `train.csv`, if there is one.
        problems: what is wrong with it.
    """

    id: str
    split: str
    image: Path
    mask: Path | None = None
    depth: float = math.nan
    rle: str | None = None
    problems: list[str] = field(default_factory=list)


@dataclass
class Found:
    """What a data folder holds.

    Attributes:
        root: the folder that holds `train`.
        tiles: by split and id; those of no file too, with that as their problem.
        notes: what is odd, but no tile's fault.
    """

    root: Path
    tiles: list[Tile]
    notes: list[str]


def root_of(folder: str | os.PathLike[str]) -> Path:
    """The folder that holds `train`: the data folder, or the unpacked bundle in it.

    Raises:
        UserError: there is none, says what to unzip where; or a run that was to fill it did not end.
    """
    place = Path(folder)
    check_filled(place)
    for root in (place, place / _BUNDLE):
        if (root / TRAIN / IMAGES).is_dir():
            return root
    if not place.is_dir():
        raise UserError(f"There is no data folder {place}: make sample tiles or place the competition's files there.")
    zips = sorted(path.name for path in place.glob("*.zip"))
    if zips:
        raise UserError(
            f"{place} holds {', '.join(zips)}: unzip train.zip into {place / TRAIN} and test.zip into {place / TEST} "
            "(they have no folder of that name in them)."
        )
    if (place / IMAGES).is_dir():
        raise UserError(f"{place / IMAGES} should be {place / TRAIN / IMAGES}: unzip train.zip into {place / TRAIN}.")
    raise UserError(f"There is no {place / TRAIN / IMAGES}: place the competition's files in {place}.")


def find(folder: str | os.PathLike[str]) -> Found:
    """List the tiles of a data folder with what the tables say of them.

    Raises:
        UserError: there is no training tile, or a table cannot be read.
    """
    root = root_of(folder)
    found = Found(root, [], [])
    tiles = _tiles(found)
    _read_train(found, tiles)
    _read_depths(found, tiles)
    _read_submission(found, tiles)
    found.tiles = sorted(tiles.values(), key=lambda tile: (tile.split != TRAIN, tile.id))
    return found


def grey(path: str | os.PathLike[str]) -> NDArray[Any]:
    """A tile's grey levels, (H, W), uint8 or uint16: the one channel that all of its channels are.

    Raises:
        UserError: the file cannot be read, or its channels differ.
    """
    return one_channel(readers.read(path), path)


def one_channel(pixels: NDArray[Any], path: str | os.PathLike[str]) -> NDArray[Any]:
    """The levels (H, W) of pixels (channels, H, W) read from `path`; see `grey`."""
    # Transparency is none of the picture's levels.
    levels = pixels[: len(pixels) - 1] if len(pixels) in (2, 4) else pixels
    if (levels != levels[:1]).any():
        raise UserError(f"{path} is coloured: tiles are grey, their channels equal.")
    plane: NDArray[Any] = levels[0]
    return plane


def _tiles(found: Found) -> dict[str, Tile]:
    root = found.root
    images, masks = _files(root / TRAIN / IMAGES, found), _files(root / TRAIN / MASKS, found)
    if not images:
        raise UserError(f"{root / TRAIN / IMAGES} has no {SUFFIX} file: unzip train.zip into {root / TRAIN}.")
    tiles: dict[str, Tile] = {}
    for name in sorted(images.keys() | masks.keys()):
        image = root / TRAIN / IMAGES / f"{name}{SUFFIX}"
        mask = root / TRAIN / MASKS / f"{name}{SUFFIX}"
        tile = tiles[name] = Tile(name, TRAIN, image, mask)
        if name not in masks:
            tile.problems.append(f"{name}: the image has no mask ({mask} is missing)")
        if name not in images:
            tile.problems.append(f"{name}: the mask has no image ({image} is missing)")
    if not (root / TEST / IMAGES).is_dir():
        found.notes.append(f"there are no test tiles ({root / TEST / IMAGES}): nothing can be submitted")
        return tiles
    for name, image in _files(root / TEST / IMAGES, found).items():
        if name in tiles:
            tiles[name].problems.append(f"{name}: the id is both a training and a test tile ({image})")
        else:
            tiles[name] = Tile(name, TEST, image)
    return tiles


def _files(folder: Path, found: Found) -> dict[str, Path]:
    """The PNGs of a folder by id; hidden files are no one's."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: place the competition's files in {found.root}.")
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    others = [path.name for path in entries if path.suffix != SUFFIX]
    if others:
        found.notes.append(f"{folder}: {len(others)} entries are no {SUFFIX} and are left alone, such as {others[0]}")
    return {path.stem: path for path in entries if path.suffix == SUFFIX}


def _read_train(found: Found, tiles: dict[str, Tile]) -> None:
    rows = _rows(found, TRAIN_TABLE, "rle_mask")
    if rows is None:
        return
    for name, text in _single(rows, TRAIN_TABLE, tiles):
        tile = _known(found, tiles, name, TRAIN_TABLE)
        tile.rle = text
        if tile.split == TEST:
            tile.problems.append(f"{name}: stands in {TRAIN_TABLE}, but is a test tile ({tile.image})")
    named = {name for name, _ in rows}
    for tile in tiles.values():
        if tile.split == TRAIN and tile.id not in named:
            tile.problems.append(f"{tile.id}: has no row in {found.root / TRAIN_TABLE}")


def _read_depths(found: Found, tiles: dict[str, Tile]) -> None:
    rows = _rows(found, DEPTHS_TABLE, "z")
    if rows is None:
        return
    for name, text in _single(rows, DEPTHS_TABLE, tiles):
        # The table is of all tiles: where no test tiles are, their rows are no one's fault.
        if name not in tiles and not (found.root / TEST / IMAGES).is_dir():
            continue
        tile = _known(found, tiles, name, DEPTHS_TABLE)
        try:
            tile.depth = float(text)
        except ValueError:
            tile.depth = math.nan
        if not (math.isfinite(tile.depth) and tile.depth >= 0):
            tile.problems.append(f"{name}: its depth in {found.root / DEPTHS_TABLE} is '{text}', not a number of feet")
    named = {name for name, _ in rows}
    for tile in tiles.values():
        if tile.id not in named:
            tile.problems.append(f"{tile.id}: has no row in {found.root / DEPTHS_TABLE}")


def _read_submission(found: Found, tiles: dict[str, Tile]) -> None:
    if not any(tile.split == TEST for tile in tiles.values()):
        return
    rows = _rows(found, SUBMISSION_TABLE, "rle_mask")
    if rows is None:
        return
    for name, _ in _single(rows, SUBMISSION_TABLE, tiles):
        tile = _known(found, tiles, name, SUBMISSION_TABLE, TEST)
        if tile.split == TRAIN:
            tile.problems.append(f"{name}: stands in {SUBMISSION_TABLE}, but is a training tile ({tile.image})")
    named = {name for name, _ in rows}
    for tile in tiles.values():
        if tile.split == TEST and tile.id not in named:
            tile.problems.append(f"{tile.id}: has no row in {found.root / SUBMISSION_TABLE}")


def _rows(found: Found, name: str, column: str) -> list[tuple[str, str]] | None:
    """(id, value) of each row of a table; none where there is no such file."""
    file = found.root / name
    if not os.path.lexists(file):
        found.notes.append(f"there is no {file}")
        return None
    return [(row["id"], row[column]) for row in tables.read(file, ("id", column))]


def _single(rows: Iterable[tuple[str, str]], name: str, tiles: dict[str, Tile]) -> list[tuple[str, str]]:
    """The first row of each id; a second one is its tile's problem."""
    seen: dict[str, str] = {}
    for one, value in rows:
        if one in seen and one in tiles:
            tiles[one].problems.append(f"{one}: stands in {name} twice")
        seen.setdefault(one, value)
    return list(seen.items())


def _known(found: Found, tiles: dict[str, Tile], name: str, source: str, split: str = TRAIN) -> Tile:
    """The tile of an id that a table names; where no file has it, one with that problem."""
    if name not in tiles:
        image = found.root / split / IMAGES / f"{name}{SUFFIX}"
        tile = tiles[name] = Tile(name, split, image)
        hint = close_matches(name, [known for known in tiles if known != name]) if len(tiles) < 5000 else ""
        tile.problems.append(f"{name}: stands in {source}, but has no image ({image} is missing){hint}")
    return tiles[name]
