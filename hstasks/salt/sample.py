"""Sample tiles in the competition's layout: made up, the same bytes on every machine.

The shares of empty masks and of the labels' defects are the competition's, and tiles are cut from larger sections,
so that there are mosaics to find. A tile that is salt throughout is labelled empty, as there; below a tile whose
last row is salt all the way the labels end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.base.files import replacing
from hsengine.base.filling import filling
from hsengine.base.png import encoded
from hstasks.salt import layout
from hstasks.salt.rle import TILE, rle_encode
from hstasks.salt.sections import section

# Shares of the competition's 4000 training tiles.
EMPTY: Final = 1562 / 4000
BLACK: Final = 80 / 4000
VERTICAL: Final = 113 / 4000
HALF_VERTICAL: Final = 22 / 4000
TINY: Final = 70 / 4000

# Rows and columns of tiles of a section; about half of the competition's tiles have no known neighbour.
_SIZES: Final = ((1, 1), (1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3))
_SMALLEST: Final = 20
# First numbers of the seeds of independent streams of random numbers.
_SECTION, _CHOICES = range(2)


@dataclass(frozen=True)
class Made:
    """A made-up tile.

    Attributes:
        id: ten hexadecimal digits.
        split: `train` or `test`.
        image: grey levels, (101, 101), uint8.
        mask: where it is labelled salt, (101, 101), bool.
        depth: in feet.
        section: number of the section that it is cut from.
        row: row of tiles in the section.
        column: column of tiles in the section.
    """

    id: str
    split: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    depth: int
    section: int
    row: int
    column: int


@dataclass(frozen=True)
class Summary:
    """What `run` made.

    Attributes:
        root: the folder.
        train: training tiles.
        test: test tiles.
        empty: training tiles without salt.
        sections: how many sections the tiles are cut from.
        bytes: size of all files.
        seconds: how long it took.
    """

    root: Path
    train: int
    test: int
    empty: int
    sections: int
    bytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.train} training tiles ({self.empty} without salt) and {self.test} test tiles, cut from "
            f"{self.sections} made-up sections, {self.bytes / 1e6:.0f} MB, in {self.root} ({self.seconds:.1f} s)"
        )


def run(
    root: str | os.PathLike[str], *, train: int = 240, test: int = 60, seed: int = 0, force: bool = False
) -> Summary:
    """Write sample tiles, `train.csv`, `depths.csv` and `sample_submission.csv`.

    Args:
        root: the folder to make.
        train: training tiles, at least 20.
        test: test tiles, whose masks are not written.
        seed: another one gives other sections.
        force: write into a folder that is not empty; only files of the same names are replaced.

    Raises:
        UserError: an argument is out of range, the folder is not empty, or it cannot be written.
    """
    start = time.perf_counter()
    folder = Path(root)
    _check(train, test, seed)
    with filling(folder, f"{train} training and {test} test tiles, seed {seed}", force=force):
        made = tiles(train, test, seed)
        written = sum(_write(path, content) for path, content in _files(folder, made))
    empty = sum(tile.split == layout.TRAIN and not tile.mask.any() for tile in made)
    sections = len({tile.section for tile in made})
    return Summary(folder, train, test, empty, sections, written, time.perf_counter() - start)


def tiles(train: int, test: int, seed: int) -> list[Made]:
    """The tiles that `run` writes, in the order of its tables, with the masks of test tiles too."""
    count = train + test
    random = _random(_CHOICES, seed)
    cut = _cut(count, round(EMPTY * count), seed)
    cut = [cut[place] for place in random.permutation(count)]
    # The defects are shared out among training and test tiles alike.
    cut = _with_defects(cut[:train], random) + _with_defects(cut[train:], random)
    splits = [layout.TRAIN] * train + [layout.TEST] * test
    names: dict[str, None] = {}
    while len(names) < count:
        names[f"{int(random.integers(0, 16**10)):010x}"] = None
    return [replace(tile, id=name, split=split) for tile, name, split in zip(cut, names, splits, strict=True)]


def _cut(count: int, empty: int, seed: int) -> list[Made]:
    """So many tiles, so many of them without salt, from as many sections as it takes."""
    found: dict[bool, list[Made]] = {True: [], False: []}
    number = 0
    while len(found[True]) < empty or len(found[False]) < count - empty:
        random = _random(_SECTION, seed, number)
        rows, columns = _SIZES[int(random.integers(len(_SIZES)))]
        depth = int(random.integers(50, 900))
        image, salt = section(random, rows * TILE[0], columns * TILE[1])
        labels = _labelled(salt)
        for row in range(rows):
            for column in range(columns):
                place = np.s_[row * TILE[0] : (row + 1) * TILE[0], column * TILE[1] : (column + 1) * TILE[1]]
                mask = labels[place]
                tile = Made("", "", image[place], mask, min(depth + 20 * row, 959), number, row, column)
                found[not mask.any()].append(tile)
        number += 1
    return found[True][:empty] + found[False][: count - empty]


def _labelled(salt: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Salt of a section as it is labelled: a tile that is salt throughout counts as empty."""
    height, width = TILE
    labels = salt.copy()
    for top in range(0, salt.shape[0], height):
        for left in range(0, salt.shape[1], width):
            tile = labels[top : top + height, left : left + width]
            if tile.all():
                tile[:] = False
    return labels


def _with_defects(cut: list[Made], random: np.random.Generator) -> list[Made]:
    """The tiles with the competition's shares of defects, each on tiles that can have it."""
    count, tiles_of = len(cut), list(cut)
    middle = TILE[0] // 2 + 1
    partial = [place for place, tile in enumerate(cut) if _partial(tile.mask[-1])]
    crossed = [place for place, tile in enumerate(cut) if _partial(tile.mask[middle]) and not _partial(tile.mask[0])]
    empty = [place for place, tile in enumerate(cut) if not tile.mask.any()]
    used: set[int] = set()

    def chosen(candidates: list[int], share: float) -> Iterator[int]:
        free = [place for place in candidates if place not in used]
        # At least one, where there are enough tiles that it could be seen.
        wanted = min(max(round(share * count), 1 if count >= _SMALLEST else 0), len(free))
        for place in random.permutation(len(free))[:wanted]:
            used.add(free[place])
            yield free[place]

    for place in chosen(crossed, HALF_VERTICAL):
        mask = cut[place].mask.copy()
        mask[middle:] = mask[middle]
        tiles_of[place] = replace(cut[place], mask=mask)
    for place in chosen(partial, VERTICAL):
        tiles_of[place] = replace(cut[place], mask=np.repeat(cut[place].mask[-1:], TILE[0], axis=0))
    for place in chosen(empty, BLACK):
        tiles_of[place] = replace(cut[place], image=np.zeros_like(cut[place].image))
    for place in chosen([place for place, tile in enumerate(cut) if tile.mask.any()], TINY):
        tiles_of[place] = replace(cut[place], mask=_corner(int(random.integers(1, 6))))
    return tiles_of


def _partial(row: NDArray[np.bool_]) -> bool:
    return bool(row.any() and not row.all())


def _corner(side: int) -> NDArray[np.bool_]:
    """A mask with a triangle of salt in its lower right corner, of `side` pixels a side."""
    rows, columns = np.ogrid[: TILE[0], : TILE[1]]
    mask: NDArray[np.bool_] = rows + columns > sum(TILE) - 2 - side
    return mask


def _files(folder: Path, made: list[Made]) -> Iterator[tuple[Path, bytes]]:
    """Every file and its content."""
    for tile in made:
        name = f"{tile.id}{layout.SUFFIX}"
        yield folder / tile.split / layout.IMAGES / name, encoded(np.stack([tile.image] * 3))
        if tile.split == layout.TRAIN:
            # The competition's two formats of masks.
            kind, white = (np.uint16, 65535) if tile.mask.any() else (np.uint8, 255)
            yield folder / tile.split / layout.MASKS / name, encoded((tile.mask[np.newaxis] * white).astype(kind))
    train = [tile for tile in made if tile.split == layout.TRAIN]
    test = [tile for tile in made if tile.split == layout.TEST]
    yield folder / layout.TRAIN_TABLE, _table("id,rle_mask", [f"{tile.id},{rle_encode(tile.mask)}" for tile in train])
    yield folder / layout.DEPTHS_TABLE, _table("id,z", [f"{tile.id},{tile.depth}" for tile in made])
    yield folder / layout.SUBMISSION_TABLE, _table("id,rle_mask", [f"{tile.id},1 1" for tile in test])


def _table(header: str, rows: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in [header, *rows]).encode()


def _write(path: Path, content: bytes) -> int:
    with replacing(path) as scratch:
        scratch.write_bytes(content)
    return len(content)


def _check(train: int, test: int, seed: int) -> None:
    if train < _SMALLEST or test < 0:
        raise UserError(f"{train} training and {test} test tiles are asked for: give at least {_SMALLEST} and 0.")
    if seed < 0:
        raise UserError(f"seed is {seed}: give a whole number from 0 on.")


def _random(*seeds: int) -> np.random.Generator:
    # Named, because NumPy may choose another default.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seeds)))
