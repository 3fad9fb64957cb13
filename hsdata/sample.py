"""The sample data set: made-up scenes in the challenge's layout, the same bytes on every machine.

Reflectance is stored in steps of 1 / 8192 and at least one of them, so that the last bits in which processors
differ do not show, and the inputs are made from the stored values. Like the challenge's cubes these carry a
fixed pattern of stripes by column and band, the same in every image.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hsdata import layout
from hsdata.camera import camera
from hsdata.catalog import GROUPS_FILE
from hsdata.cube import BAND_GRID, Cube
from hsdata.formats import hdf5, image, mosaic
from hsdata.scenes import painting, scenes
from hsengine.base import files, locks, tables
from hsengine.base import workers as processes
from hsengine.base.errors import UserError
from hsengine.base.filling import filling
from hsengine.base.wording import some

# The challenge's training samples by category.
PROPORTIONS: Final = {1: 50, 2: 31, 3: 57, 4: 29}
# Categories that show few objects in many poses, and about how many poses each.
POSES: Final = {1: 4, 3: 4}

STEP: Final = 1.0 / 8192.0
STRIPES: Final = 0.003
# Standard deviation of the sensor's noise in the dark, and what light adds to its variance at reflectance 1.
NOISE_DARK: Final = 0.0003
NOISE_LIGHT: Final = 0.001
# A sensor of 12 bits.
_LEVELS: Final = 4095.0

# First numbers of the seeds of independent streams of random numbers.
_NUMBERS, _STRIPES, _OBJECT, _POSE, _NOISE = range(5)
_SMALLEST = 16


@dataclass(frozen=True)
class Sample:
    """One made-up photograph.

    Attributes:
        id: as the challenge names samples.
        split: the split it belongs to.
        category: number of the category.
        number: its number within the category.
        object: number of the object within the category, over all splits.
    """

    id: str
    split: str
    category: int
    number: int
    object: int

    @property
    def group(self) -> str:
        """Name of the object that it shows."""
        return f"Category-{self.category}_object-{self.object:03d}"


@dataclass(frozen=True)
class Summary:
    """What `make` made.

    Attributes:
        root: the folder.
        samples: how many of each split.
        size: pixels a side of a cube.
        bytes: size of all files written.
        others: files under the tracks' folders that are none of these samples.
        seconds: how long it took.
    """

    root: str
    samples: dict[str, int]
    size: int
    bytes: int
    others: int
    seconds: float

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {split}" for split, count in self.samples.items())
        text = (
            f"{counts} samples of {self.size} x {self.size} pixels, {self.bytes / 1e6:.0f} MB, "
            f"in {self.root} ({self.seconds:.1f} s)"
        )
        return text + (f"\nnote: {self.others} other files were there and stay" if self.others else "")


def make(
    root: str | os.PathLike[str],
    *,
    size: int = 64,
    train: int = 24,
    test_public: int = 6,
    test_private: int = 3,
    seed: int = 0,
    compress: bool = False,
    link: bool = True,
    force: bool = False,
    workers: int = 0,
) -> Summary:
    """Write a sample data set for both tracks, and `groups.csv` with the object that each sample shows.

    Equal arguments give equal bytes, as long as `compress` is false. No object is in two splits.

    Args:
        root: the folder to make.
        size: pixels a side of a cube, even; the challenge has 1024.
        train: training samples.
        test_public: public test samples, with cubes.
        test_private: private test samples, inputs only.
        seed: another one gives other scenes.
        compress: store cubes in gzip-compressed chunks, as the challenge does.
        link: let track 1 see the cubes through a symbolic link where the system allows it; without, only track 2
            has the folder, which the tracks share (see `hsdata.layout`).
        force: write into a folder that is not empty; only files of the same names are replaced.
        workers: processes, each with up to four times a cube of memory; 0 means one a core, or this process
            where the images are few and small.

    Raises:
        UserError: an argument is out of range, the folder is not empty, or it cannot be written.
    """
    start = time.perf_counter()
    folder = Path(root)
    counts = {"train": train, "test-public": test_public, "test-private": test_private}
    _check(size, counts, seed)
    wanted = plan(counts, seed)
    with files.explaining(folder):
        folder.mkdir(parents=True, exist_ok=True)
    what = f"samples {counts} of size {size}, seed {seed}, compressed: {compress}, linked: {link}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(locks.alone_in(folder))
        groups = _new_groups(folder, wanted)
        stack.enter_context(filling(folder, what, force=force))
        one = partial(_write, str(folder), size, seed, compress)
        count = processes.sensible(workers, 4.0 * len(BAND_GRID) * size * size * len(wanted))
        for _ in processes.stream(one, wanted, workers=count, label="making samples"):
            pass
        if link:
            for split in layout.LABELLED_SPLITS:
                if counts[split]:
                    _link(folder, split)
        if groups:
            tables.append(folder / GROUPS_FILE, groups)
    written = [path for sample in wanted for path in paths_of(folder, sample).values()]
    return Summary(
        root=str(folder),
        samples=counts,
        size=size,
        bytes=sum(path.stat().st_size for path in written),
        others=len(set(_files_under(folder)).difference(written)),
        seconds=time.perf_counter() - start,
    )


def plan(counts: dict[str, int], seed: int) -> list[Sample]:
    """The samples of each split: categories in the challenge's proportions, whole objects, numbers mixed.

    Args:
        counts: samples of each split.
        seed: of the numbering.
    """
    samples: list[Sample] = []
    shares = {split: _shares(count) for split, count in counts.items()}
    for category in PROPORTIONS:
        total = sum(share[category] for share in shares.values())
        numbers = iter(_random(_NUMBERS, seed, category).permutation(total))
        objects = 0
        for split, share in shares.items():
            count = share[category]
            groups = -(-count // POSES[category]) if category in POSES else count
            for position in range(count):
                number = int(next(numbers))
                name = f"Category-{category}_a_{number:04d}"
                samples.append(Sample(name, split, category, number, objects + position % groups))
            objects += groups
    return samples


def cube_of(sample: Sample, size: int, seed: int) -> Cube:
    """The cube of a sample, (61, size, size), in steps of `STEP` from `STEP` to 1."""
    own = _random(_OBJECT, seed, sample.category, sample.object)
    pose = _random(_POSE, seed, sample.category, sample.number)
    noise = _random(_NOISE, seed, sample.category, sample.number)
    pattern = stripes(size, seed)
    layers = scenes.scene(sample.category, sample.object, own, pose, size)
    values = np.empty((len(BAND_GRID), size, size), dtype=np.float32)
    for band, plane in enumerate(painting.planes(layers)):
        deviation = np.sqrt(NOISE_DARK**2 + NOISE_LIGHT**2 * plane)
        plane += deviation * noise.standard_normal(plane.shape, dtype=np.float32)
        plane += pattern[band]
        values[band] = np.clip(np.rint(plane / STEP), 1.0, 1.0 / STEP) * STEP
    return Cube(values, BAND_GRID, sample.id)


def stripes(size: int, seed: int) -> NDArray[np.float64]:
    """The fixed pattern of the sensor, (61, size) by band and column, between -`STRIPES` and `STRIPES`."""
    uniform = _random(_STRIPES, seed).random((len(BAND_GRID), size))
    pattern: NDArray[np.float64] = STRIPES * (2.0 * uniform - 1.0)
    return pattern


def paths_of(root: Path, sample: Sample) -> dict[str, Path]:
    """Where the files of a sample are, by modality; the private test has no cubes."""
    found = {
        modality: root / f"track{track}" / sample.split / modality / f"{sample.id}{layout.SUFFIXES[modality][0]}"
        for track, modality in layout.INPUT_MODALITY.items()
    }
    if sample.split in layout.LABELLED_SPLITS:
        suffix = layout.SUFFIXES[layout.CUBES][0]
        found[layout.CUBES] = root / "track2" / sample.split / layout.CUBES / f"{sample.id}{suffix}"
    return found


def _new_groups(folder: Path, wanted: list[Sample]) -> list[dict[str, str]]:
    """The lines that `groups.csv` lacks; those of other samples stay."""
    file = folder / GROUPS_FILE
    known = {row["id"]: row["group"] for row in tables.read(file, ("id", "group"))} if os.path.lexists(file) else {}
    groups = {sample.id: sample.group for sample in sorted(wanted, key=lambda sample: sample.id)}
    other = [name for name, group in groups.items() if known.get(name, group) != group]
    if other:
        raise UserError(f"{file} has other groups for {some(other)}: move it away, or name another folder.")
    return [{"id": name, "group": group} for name, group in groups.items() if name not in known]


def _write(root: str, size: int, seed: int, compress: bool, sample: Sample) -> None:
    """Write the files of one sample."""
    cube, places = cube_of(sample, size, seed), paths_of(Path(root), sample)
    if layout.CUBES in places:
        hdf5.write(places[layout.CUBES], cube, gzip=4 if compress else None)
    image.write(places["rgb_2"], camera.rgb_2(cube))
    mosaic.write(places["mosaic"], np.rint(camera.mosaic(cube) * _LEVELS) / np.float32(_LEVELS))


def _check(size: int, counts: dict[str, int], seed: int) -> None:
    if size < _SMALLEST or size % 2:
        raise UserError(f"size is {size}: give an even number of pixels, at least {_SMALLEST}.")
    if counts["train"] < 1 or min(counts.values()) < 0:
        raise UserError(f"Samples asked for are {counts}: at least one of train, and none below 0.")
    if seed < 0:
        raise UserError(f"seed is {seed}: give a whole number from 0 on.")


def _shares(count: int) -> dict[int, int]:
    """`count` samples by category in the challenge's proportions, by largest remainders."""
    total = sum(PROPORTIONS.values())
    shares = {category: count * weight // total for category, weight in PROPORTIONS.items()}
    by_remainder = sorted(PROPORTIONS, key=lambda category: -(count * PROPORTIONS[category] % total))
    for category in by_remainder[: count - sum(shares.values())]:
        shares[category] += 1
    return shares


def _random(*seeds: int) -> np.random.Generator:
    # Named, because NumPy may choose another default.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seeds)))


def _link(root: Path, split: str) -> None:
    place = root / "track1" / split / layout.CUBES
    if place.is_symlink() or place.exists():
        return
    target = Path("..", "..", "track2", split, layout.CUBES)
    # Systems without links do without: the tracks share the folder in any case.
    try:
        place.symlink_to(target, target_is_directory=True)
    except (OSError, NotImplementedError):
        return


def _files_under(root: Path) -> Iterator[Path]:
    """Files of the tracks' folders; linked folders are not entered."""
    for track in layout.INPUT_MODALITY:
        for place, _, names in os.walk(root / f"track{track}"):
            yield from (Path(place) / name for name in names)
