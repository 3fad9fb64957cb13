"""Sample pictures in the competition's layout: made up, the same bytes on every machine.

Pastures of four states, whose pictures and tables both tell of the grams, as the real ones do: blades, litter and
clover are painted by the gram, cover saturates, and each (state, date) group has light, soil and habits of its own.
"""

from __future__ import annotations

import datetime
import io
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hsengine.base.errors import UserError
from hsengine.base.files import replacing
from hsengine.base.filling import filling
from hstasks.biomass import layout, painting

STATES: Final = {
    # Mean log total; mean shares of green, dead, clover; chance of no clover (image), of no dead matter (group).
    "NSW": (4.15, (0.80, 0.19, 0.01), 0.95, 0.05),
    "Tas": (3.45, (0.45, 0.42, 0.13), 0.35, 0.02),
    "Vic": (3.65, (0.61, 0.25, 0.14), 0.25, 0.05),
    "WA": (3.20, (0.30, 0.00, 0.70), 0.05, 1.00),
}
SPECIES: Final = {
    "NSW": ("Fescue", "Lucerne"),
    "Tas": ("Ryegrass", "Ryegrass_Clover"),
    "Vic": ("Phalaris", "Phalaris_Clover"),
    "WA": ("Ryegrass_Barleygrass", "Clover"),
}
_YEAR: Final = 2015
_GROUP, _IMAGE, _PICTURE = range(3)
# A label of the set that is off, as one of the competition's is.
_OFF: Final = 0.3


@dataclass(frozen=True)
class Group:
    """What the images of one (state, date) share; units of the pictures are white as 1."""

    state: str
    number: int
    date: datetime.date
    log_total: float
    ndvi: float
    log_height: float
    tall: bool
    fractions: tuple[float, float, float]
    look: painting.Look


@dataclass(frozen=True)
class Made:
    """A made-up image: its name, group, grams in the order of `layout.TARGETS`, and metadata."""

    id: str
    group: Group
    number: int
    grams: tuple[float, float, float, float, float]
    ndvi: float
    height: float
    species: str


@dataclass(frozen=True)
class Summary:
    """What `run` made."""

    root: Path
    train: int
    test: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.train} training and {self.test} test pictures in {self.root}, {self.seconds:.1f} s"


def run(
    root: str | os.PathLike[str] = "data",
    *,
    seed: int = 0,
    force: bool = False,
    groups: int = 8,
    images: int = 8,
    width: int = 256,
    faults: bool = False,
) -> Summary:
    """Make `train.csv`, `test.csv`, `sample_submission.csv`, `train/` and `test/`.

    The last two groups of each state are the test's (one where there are fewer than four). Larger sets keep the
    smaller ones' groups and images.

    Args:
        root: the folder to make.
        seed: another one makes other pictures.
        force: write into a folder that is not empty.
        groups: (state, date) groups of each state, 2 at least.
        images: of each group.
        width: of the pictures in pixels, twice their height.
        faults: plant faults for the checks: one picture under two ids, one near-duplicate in another group, a group
            cut between training and test, a picture without file, a height that is no number, a label off by 0.3 g.

    Raises:
        UserError: the folder holds something, or a number is too small.
    """
    place, start = Path(root), time.monotonic()
    if groups < 2 or images < 2 or width < 64:
        raise UserError(f"{groups} groups of {images} images, {width} pixels wide: give at least 2, 2 and 64.")
    what = f"{groups} groups of {images} images, {width} pixels wide, seed {seed}, faults: {faults}"
    with filling(place, what, force=force):
        held = 2 if groups >= 4 else 1
        everything = [image for state in STATES for n in range(groups) for image in members(seed, state, n, images)]
        test = [image for image in everything if image.group.number >= groups - held]
        train = [image for image in everything if image.group.number < groups - held]
        files = {
            **{f"train/{image.id}.jpg": picture(seed, image, width) for image in train},
            **{f"test/{image.id}.jpg": picture(seed, image, width) for image in test},
        }
        rows = {image.id: _row(image) for image in train}
        if faults:
            _plant(seed, width, train, test, files, rows)
        for folder in (layout.TRAIN, layout.TEST):
            (place / folder).mkdir(exist_ok=True)
        for name, content in files.items():
            with replacing(place / name) as scratch:
                scratch.write_bytes(content)
        _write(place / layout.TRAIN_TABLE, layout.TRAIN_COLUMNS, [line for lines in rows.values() for line in lines])
        samples = [(f"{image.id}__{target}", image.id, target) for image in test for target in sorted(layout.TARGETS)]
        _write(place / layout.TEST_TABLE, layout.TEST_COLUMNS, [f"{s},test/{i}.jpg,{t}" for s, i, t in samples])
        _write(place / layout.SUBMISSION_TABLE, ("sample_id", "target"), [f"{s},0.0" for s, _, _ in samples])
    return Summary(place, len(rows), len(test), time.monotonic() - start)


def group(seed: int, state: str, number: int) -> Group:
    """What the images of a group share."""
    random = np.random.default_rng([seed, list(STATES).index(state), number, _GROUP])
    level, shares, _, no_dead = STATES[state]
    day = int(random.integers(15, 331))
    log_total, ndvi, log_height = (float(random.normal(0.0, sd)) for sd in (0.4, 0.09, 0.25))
    look = painting.look(random)
    tall = bool(random.random() < 0.5) and state == "NSW"
    dead_free = bool(random.random() < no_dead)
    drawn = random.dirichlet([8.0 * share + 0.05 for share in shares])
    green, dead, clover = (round(float(value), 6) for value in drawn)
    date = datetime.date(_YEAR, 1, 1) + datetime.timedelta(days=day - 1)
    fractions = (green, 0.0 if dead_free else dead, clover)
    level, ndvi, log_height = (round(value, 6) for value in (level + log_total, ndvi, log_height))
    return Group(state, number, date, level, ndvi, log_height, tall, fractions, look)


def members(seed: int, state: str, number: int, count: int) -> list[Made]:
    """The first images of a group."""
    return [_made(seed, group(seed, state, number), place) for place in range(count)]


def picture(seed: int, image: Made, width: int, changed: float = 0.0) -> bytes:
    """The JPEG file of an image; `changed` makes it lighter by that much of white."""
    from PIL import Image

    random = np.random.default_rng([seed, *_place(image), _PICTURE])
    pixels = painting.paint(random, image.group.look, image.grams[:3], image.group.tall, width)
    levels = np.floor(np.clip(pixels + changed, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=90 if not changed else 80)
    return buffer.getvalue()


def _made(seed: int, of: Group, number: int) -> Made:
    state = list(STATES).index(of.state)
    random = np.random.default_rng([seed, state, of.number, number, _IMAGE])
    total = float(np.clip(round(float(np.exp(of.log_total + random.normal(0.0, 0.45))), 6), 1.0, 190.0))
    parts = np.round(random.dirichlet([9.0 * share + 0.1 for share in of.fractions]), 6)
    if random.random() < STATES[of.state][2]:
        parts[2] = 0.0
    if of.fractions[1] == 0.0:
        parts[1] = 0.0
    whole = float(parts[0] + parts[1] + parts[2])
    shares = parts / whole if whole > 0 else np.array([1.0, 0.0, 0.0])
    green, dead, clover = (round(float(share) * total, 4) for share in shares)
    gdm = round(green + clover, 4)
    grams = (green, dead, clover, gdm, round(gdm + dead, 4))
    ndvi = 0.42 + 0.36 * (1.0 - float(np.exp(-gdm / 16.0))) - 0.14 * dead / max(grams[4], 1e-9)
    ndvi = round(float(np.clip(ndvi + of.ndvi + random.normal(0.0, 0.07), 0.10, 0.92)), 2)
    log_height = 0.05 + 0.42 * float(np.log(gdm + 1.0)) + 1.8 * of.tall + of.log_height + random.normal(0.0, 0.3)
    height = max(1.0, round(2.0 * float(np.exp(log_height))) / 2.0)
    plain, other = SPECIES[of.state]
    species = other if (of.tall if of.state == "NSW" else of.fractions[2] > 0.15) else plain
    name = f"ID{1_000_000_000 + int(random.integers(0, 900_000)) * 1000 + state * 250 + of.number * 15 + number % 15}"
    return Made(name, of, number, grams, ndvi, height, species)


def _place(image: Made) -> tuple[int, int, int]:
    return list(STATES).index(image.group.state), image.group.number, image.number


def _row(image: Made, name: str | None = None) -> list[str]:
    """The five lines of an image in `train.csv`."""
    day, known = image.group.date, dict(zip(layout.TARGETS, image.grams, strict=True))
    own = name or image.id
    where = f"{image.group.state},{image.species},{image.ndvi},{image.height}"
    head = f"train/{own}.jpg,{day.year}/{day.month}/{day.day},{where}"
    return [f"{own}__{target},{head},{target},{known[target]:.4f}" for target in sorted(layout.TARGETS)]


def _write(file: Path, columns: tuple[str, ...], lines: list[str]) -> None:
    with replacing(file) as scratch:
        scratch.write_text("\n".join([",".join(columns), *lines, ""]), encoding="utf-8", newline="\n")


def _plant(
    seed: int, width: int, train: list[Made], test: list[Made], files: dict[str, bytes], rows: dict[str, list[str]]
) -> None:
    """Put the faults in; each is another image's."""
    first, other = train[0], next(image for image in train if image.group != train[0].group)
    for name, of, content in (
        ("ID7000000001", first, files[f"train/{first.id}.jpg"]),
        ("ID7000000002", other, picture(seed, train[1], width, 0.03)),
    ):
        rows[name] = _row(of, name)
        files[f"train/{name}.jpg"] = content
    cut = test[0]
    rows[f"{cut.id}9"] = _row(members(seed, cut.group.state, cut.group.number, cut.number + 9)[-1], f"{cut.id}9")
    files[f"train/{cut.id}9.jpg"] = picture(seed, members(seed, cut.group.state, cut.group.number, 9)[-1], width)
    del files[f"train/{train[2].id}.jpg"]
    rows[train[3].id] = [line.replace(f",{train[3].height},", ",nan,") for line in rows[train[3].id]]
    total = next(place for place, line in enumerate(rows[train[4].id]) if "__Dry_Total_g" in line)
    head, _, value = rows[train[4].id][total].rpartition(",")
    rows[train[4].id][total] = f"{head},{float(value) + _OFF:.4f}"
