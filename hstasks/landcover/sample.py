"""The verb `sample`: two sets of made-up landscapes, the target's and one laid out as OpenEarthMap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hsengine.base.files import replacing, write_text
from hsengine.base.filling import filling
from hstasks.images import geotiff
from hstasks.landcover.classes import NAMES, OEM_PALETTE, PALETTE
from hstasks.landcover.layout import IMAGES, LABELS, MASKS, OEM, SCENES, TARGET
from hstasks.landcover.scenery import BARE, DRY, OEM_CLASS, TARGET_CLASS, Country, Scene, scene

SITES = {"ash-fell": (576, 1152), "moor-side": (384, 384), "vale": (384, 384)}
"""Height and width of the scene of each site; the first is the pool, the others are for the test."""

CHIP, STRIDE = 96, 48
TILE = 144
REGIONS = ("alder_bay", "dry-creek", "east-hill_2", "low_plain", "port-town", "mill_city")
URBAN = ("port-town", "mill_city")

_PIXEL, _EPSG = 0.5, "EPSG:32633"
_PIECES = 2


@dataclass(frozen=True)
class Summary:
    """What was made."""

    folder: Path
    chips: int
    tiles: int

    def __str__(self) -> str:
        tiles = f"{self.tiles} tiles of {len(REGIONS)} regions"
        return f"{self.chips} chips of {len(SITES)} sites and {tiles} in {self.folder}"


def run(root: str | Path = "data", *, seed: int = 0, force: bool = False) -> Summary:
    """Make `target` and `oem` in a data folder.

    Raises:
        UserError: they are there already (without `force`), or cannot be written.
    """
    folder = Path(root)
    with filling(folder, f"seed {seed}", (TARGET, OEM), force=force):
        return make(folder, seed=seed)


def make(folder: Path, *, seed: int = 0, sites: dict[str, tuple[int, int]] | None = None) -> Summary:
    """Make the sets; see `run`. `sites` are other ones than `SITES`."""
    with replacing(folder / TARGET) as scratch:
        chips = sum(_site(scratch, name, size, seed) for name, size in (sites or SITES).items())
    with replacing(folder / OEM) as scratch:
        tiles = [name for region in REGIONS for name in _region(scratch, region, seed)]
        # As the official lists: by name, whatever the region; the last label of the first region has no image.
        write_text(scratch / "train.txt", "".join(f"{name}.tif\n" for name in tiles if not name.endswith("_2")))
        write_text(scratch / "val.txt", "".join(f"{name}.tif\n" for name in tiles if name.endswith("_2")))
        (scratch / REGIONS[0] / IMAGES / f"{REGIONS[0]}_4.tif").unlink()
    return Summary(folder, chips, len(tiles))


def _site(folder: Path, name: str, size: tuple[int, int], seed: int) -> int:
    """The chips of a site, and for all but the pool the scene in one piece."""
    number = sum(ord(letter) * 31**place for place, letter in enumerate(name)) % 1_000_000
    made = scene(np.random.Generator(np.random.PCG64([seed, number])), *size, Country())
    labels = TARGET_CLASS[made.parts]
    values = _stored(made)
    for inner in (IMAGES, MASKS, SCENES):
        (folder / inner).mkdir(parents=True, exist_ok=True)
    count = 0
    for top in range(0, size[0] - CHIP + 1, STRIDE):
        for left in range(0, size[1] - CHIP + 1, STRIDE):
            count += 1
            window = slice(top, top + CHIP), slice(left, left + CHIP)
            stem = f"{name}_{count:04d}"
            place = _place(number, top, left, (CHIP, CHIP))
            geotiff.write(folder / IMAGES / f"{stem}.tif", values[:, window[0], window[1]], place)
            _save(folder / MASKS / f"{stem}.png", labels[window])
    if name != next(iter(SITES)):
        geotiff.write(folder / SCENES / f"{name}.tif", values, _place(number, 0, 0, size))
    return count


def _stored(made: Scene) -> np.ndarray:  # type: ignore[type-arg]
    """Reflectance in steps of 1/10000, float32."""
    return (np.rint(made.pixels * 10000.0) / 10000.0).astype(np.float32)


def _place(number: int, top: int, left: int, size: tuple[int, int]) -> geotiff.Place:
    east, north = 400_000.0 + 2000.0 * (number % 40), 5_500_000.0 + 2000.0 * (number // 40 % 40)
    transform = (_PIXEL, 0.0, east + left * _PIXEL, 0.0, -_PIXEL, north - top * _PIXEL)
    return geotiff.Place(*size, 4, _EPSG, transform)


def _region(folder: Path, name: str, seed: int) -> list[str]:
    """The tiles of a region; their names."""
    random = np.random.Generator(np.random.PCG64([seed, 77, REGIONS.index(name)]))
    urban = name in URBAN
    country = Country(
        cell=64.0, crops=0.25, semi=0.1, woods=0.12, yards=0.9 if urban else 0.0, farms=30 if urban else 10, means=DRY
    )
    side = _PIECES * TILE
    made = scene(random, side, side, country)
    labels = OEM_CLASS[made.parts]
    labels[(made.parts == BARE) & (made.pixels[2] > made.pixels[2, side // 2, side // 2])] = 1
    gains = 0.75 + 0.55 * random.random(3)
    # As a camera renders it: the brightest reflectance of land is about half of white.
    pixels = np.rint(np.clip(made.pixels[:3] * gains[:, None, None] * 2.2, 0.004, 1.0) * 255.0).astype(np.uint8)
    for inner in (IMAGES, LABELS):
        (folder / name / inner).mkdir(parents=True)
    names = []
    for number in range(_PIECES * _PIECES):
        top, left = number // _PIECES * TILE, number % _PIECES * TILE
        window = slice(top, top + TILE), slice(left, left + TILE)
        names.append(f"{name}_{number + 1}")
        place = geotiff.Place(TILE, TILE, 3, "", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        geotiff.write(folder / name / IMAGES / f"{names[-1]}.tif", pixels[:, window[0], window[1]], place)
        geotiff.write(folder / name / LABELS / f"{names[-1]}.tif", labels[window], place, palette=OEM_PALETTE)
    return names


def _save(path: Path, labels: np.ndarray) -> None:  # type: ignore[type-arg]
    picture = Image.fromarray(labels, mode="P")
    picture.putpalette([value for number in range(len(NAMES)) for value in PALETTE[number]])
    picture.save(path)
