"""Made-up landscapes: parcels with hedges, roads with farms, water, and what they look like from above.

Only sums, products, quotients and comparisons in double precision are used, element by element: the pixels are the
same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Labels = NDArray[np.uint8]

WOOD, GRASS, SEMI, BARE, CROP, ROAD, YARD, ROOF, WATER = range(1, 10)
"""What a pixel is part of."""

TARGET_CLASS = np.array([0, 1, 2, 5, 3, 3, 4, 4, 4, 0], dtype=np.uint8)
"""The target's class of each part."""

OEM_CLASS = np.array([0, 5, 2, 2, 7, 7, 4, 3, 8, 6], dtype=np.uint8)
"""OpenEarthMap's class of each part."""

REFLECTANCE: dict[int, tuple[float, ...]] = {
    WOOD: (0.035, 0.050, 0.030, 0.38),
    GRASS: (0.060, 0.095, 0.045, 0.42),
    SEMI: (0.072, 0.092, 0.050, 0.35),
    BARE: (0.16, 0.13, 0.10, 0.24),
    CROP: (0.050, 0.085, 0.040, 0.46),
    ROAD: (0.18, 0.18, 0.17, 0.22),
    YARD: (0.15, 0.145, 0.13, 0.22),
    ROOF: (0.22, 0.12, 0.09, 0.26),
    WATER: (0.02, 0.03, 0.04, 0.02),
}
"""Red, green, blue and near infrared of the target's country, in [0, 1]."""

DRY: dict[int, tuple[float, ...]] = REFLECTANCE | {
    WOOD: (0.05, 0.075, 0.04, 0.30),
    GRASS: (0.17, 0.165, 0.11, 0.30),
    SEMI: (0.18, 0.165, 0.115, 0.28),
    BARE: (0.30, 0.24, 0.18, 0.34),
    CROP: (0.11, 0.14, 0.07, 0.36),
}
"""The same of drier countries."""

# Texture: spacing in pixels and amplitude.
_TEXTURE = {WOOD: (4.5, 0.45), GRASS: (2.5, 0.10), SEMI: (5.5, 0.22), BARE: (3.0, 0.05), CROP: (3.0, 0.05)}
# Cosine and sine of angles between 0.2 and 0.65 rad, as exact fractions.
_TURNS = ((24 / 25, 7 / 25), (15 / 17, 8 / 17), (12 / 13, 5 / 13), (4 / 5, 3 / 5), (40 / 41, 9 / 41))
_ROOFS = ((0.09, 0.09, 0.09, 0.12), (0.22, 0.12, 0.09, 0.26), (0.45, 0.45, 0.45, 0.45))
_HEDGED = 0.62


@dataclass(frozen=True)
class Country:
    """How a landscape is built.

    Attributes:
        cell: mean side of a parcel, in pixels.
        crops: share of the parcels that are tilled.
        semi: share that is seminatural.
        woods: share that is wooded.
        yards: share that is built over.
        farms: groups of buildings beside the roads.
        means: what parts look like.
    """

    cell: float = 64.0
    crops: float = 0.09
    semi: float = 0.07
    woods: float = 0.09
    yards: float = 0.0
    farms: int = 24
    means: dict[int, tuple[float, ...]] | None = None


@dataclass(frozen=True)
class Scene:
    """A landscape: parts (H, W), and reflectance (4, H, W) in [0, 1]."""

    parts: Labels
    pixels: Field


def scene(random: np.random.Generator, height: int, width: int, country: Country) -> Scene:
    """Make a landscape."""
    rows = np.arange(height, dtype=np.float64)[:, None] + np.zeros((1, width))
    columns = np.arange(width, dtype=np.float64)[None] + np.zeros((height, 1))
    x = columns + 22.0 * smooth(random, height, width, 40.0) + 5.0 * smooth(random, height, width, 9.0)
    y = rows + 22.0 * smooth(random, height, width, 40.0) + 5.0 * smooth(random, height, width, 9.0)
    cos, sin = _TURNS[int(random.integers(len(_TURNS)))]
    u, v = cos * x - sin * y, sin * x + cos * y
    parcel, hedge, seeds = _parcels(random, u, v, country.cell)
    kinds = _kinds(random, seeds, cos, sin, height, width, country)
    parts = kinds[parcel]
    parts[hedge] = WOOD
    gain = 1.0 + 0.3 * (random.random(len(seeds)) - 0.5)
    tint = 1.0 + 0.1 * (random.random((4, len(seeds))) - 0.5)
    roofs = _roads(random, parts, country)
    _water(random, parts)
    pixels = _seen(random, parts, roofs, u, v, country.means or REFLECTANCE)
    natural = np.isin(parts, (GRASS, SEMI, BARE, CROP))
    pixels = np.where(natural, pixels * gain[parcel] * tint[:, parcel], pixels)
    pixels = pixels * (1.0 + 0.1 * smooth(random, height, width, 300.0))
    return Scene(parts, np.clip(_shaded(pixels, parts), 0.001, 1.0))


def smooth(random: np.random.Generator, height: int, width: int, spacing: float) -> Field:
    """Values between -1 and 1 that change smoothly over `spacing` pixels, (height, width)."""
    knots = 2.0 * random.random((int(height / spacing) + 2, int(width / spacing) + 2)) - 1.0
    row, down = _between(np.arange(height) / spacing)
    column, across = _between(np.arange(width) / spacing)
    along = knots[:, column] * (1.0 - across) + knots[:, column + 1] * across
    return along[row] * (1.0 - down[:, None]) + along[row + 1] * down[:, None]


def _between(places: Field) -> tuple[NDArray[np.int64], Field]:
    """The knot before each place, and how far it is on the smooth way to the next, 0 to 1."""
    lower = places.astype(np.int64)
    part = places - lower
    return lower, part * part * (3.0 - 2.0 * part)


def _parcels(
    random: np.random.Generator, u: Field, v: Field, cell: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_], Field]:
    """The parcel of each pixel, where a hedge runs, and the parcels' seeds (n, 2): the nearest of a jittered grid."""
    across, down = (np.floor(values / cell).astype(np.int64) for values in (u, v))
    first = int(across.min()) - 1, int(down.min()) - 1
    shape = int(across.max()) - first[0] + 2, int(down.max()) - first[1] + 2
    jitter = 0.7 * (random.random((2, *shape)) - 0.5)
    grid_u = (np.arange(shape[0])[:, None] + first[0] + 0.5 + jitter[0]) * cell
    grid_v = (np.arange(shape[1])[None] + first[1] + 0.5 + jitter[1]) * cell
    best, second = np.full(u.shape, 1e9), np.full(u.shape, 1e9)
    parcel, beside = np.zeros(u.shape, dtype=np.int64), np.zeros(u.shape, dtype=np.int64)
    for step_u in (-1, 0, 1):
        for step_v in (-1, 0, 1):
            i, j = across - first[0] + step_u, down - first[1] + step_v
            distance = np.maximum(np.abs(u - grid_u[i, j]), np.abs(v - grid_v[i, j]))
            number = i * shape[1] + j
            nearest, next_one = distance < best, distance < second
            beside = np.where(nearest, parcel, np.where(next_one, number, beside))
            second = np.where(nearest, best, np.where(next_one, distance, second))
            parcel = np.where(nearest, number, parcel)
            best = np.where(nearest, distance, best)
    low, high = np.minimum(parcel, beside), np.maximum(parcel, beside)
    chance = ((low * 2654435761 + high * 40503) % 1000003) / 1000003
    return parcel, (second - best < 5.0) & (chance < _HEDGED), np.stack([grid_u.ravel(), grid_v.ravel()], axis=1)


def _kinds(
    random: np.random.Generator, seeds: Field, cos: float, sin: float, height: int, width: int, country: Country
) -> Labels:
    """What each parcel is: rare kinds lie together, where a smooth field is high."""
    x = np.clip(cos * seeds[:, 0] + sin * seeds[:, 1], 0, width - 1).astype(np.int64)
    y = np.clip(cos * seeds[:, 1] - sin * seeds[:, 0], 0, height - 1).astype(np.int64)
    kinds = np.full(len(seeds), GRASS, dtype=np.uint8)
    shares = ((country.yards, 60.0, YARD), (country.crops, 150.0, CROP), (country.semi, 120.0, SEMI))
    for share, spacing, kind in (*shares, (country.woods, 80.0, WOOD)):
        free = np.flatnonzero(kinds == GRASS)
        field = smooth(random, height, width, spacing)[y[free], x[free]]
        kinds[free[np.argsort(-field, kind="stable")[: round(share * len(seeds))]]] = kind
    tilled = np.flatnonzero(kinds == CROP)
    kinds[tilled[random.random(len(tilled)) < 0.4]] = BARE
    return kinds


def _roads(random: np.random.Generator, parts: Labels, country: Country) -> NDArray[np.int64]:
    """Draw roads with farms beside them; gives the kind of roof of each pixel."""
    height, width = parts.shape
    roofs = np.zeros(parts.shape, dtype=np.int64)
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    places = []
    for number in range(3):
        across = number != 1
        length, beyond = (width, height) if across else (height, width)
        level = beyond * (0.15 + 0.7 * random.random()) + 60.0 * smooth(random, 1, length, 200.0)[0]
        near = np.abs(rows - level[None] if across else columns - level[:, None]) < 2.6
        parts[near] = ROAD
        places += [(level, across)]
    for _ in range(country.farms):
        level, across = places[int(random.integers(len(places)))]
        along = int(random.integers(len(level)))
        off = (12.0 + 6.0 * random.random()) * (1.0 if random.random() < 0.5 else -1.0)
        y, x = (level[along] + off, float(along)) if across else (float(along), level[along] + off)
        radius = 9.0 + 6.0 * random.random()
        yard = (rows - y) * (rows - y) + (columns - x) * (columns - x) < radius * radius
        parts[yard] = YARD
        for _ in range(int(random.integers(2, 5))):
            top, left = y + 16.0 * (random.random() - 0.5), x + 16.0 * (random.random() - 0.5)
            tall, wide = (6.0 + 6.0 * random.random(), 10.0 + 10.0 * random.random())
            if random.random() < 0.5:
                tall, wide = wide, tall
            roof = (np.abs(rows - top) < tall / 2) & (np.abs(columns - left) < wide / 2)
            parts[roof] = ROOF
            roofs[roof] = int(random.integers(len(_ROOFS)))
    _town(random, parts, roofs)
    return roofs


def _town(random: np.random.Generator, parts: Labels, roofs: NDArray[np.int64]) -> None:
    """Roofs on the parcels that are built over, in rows."""
    rows, columns = np.indices(parts.shape)
    row, column = rows // 18, columns // 22
    kinds = random.integers(0, len(_ROOFS) + 1, (int(row.max()) + 1, int(column.max()) + 1))[row, column]
    on = (parts == YARD) & (rows % 18 < 11) & (columns % 22 < 15) & (kinds < len(_ROOFS))
    # Farms are too small for a street of houses.
    parts[on] = ROOF
    roofs[on] = kinds[on]


def _water(random: np.random.Generator, parts: Labels) -> None:
    """A stream and two ponds."""
    height, width = parts.shape
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    level = width * (0.2 + 0.6 * random.random()) + 50.0 * smooth(random, 1, height, 120.0)[0]
    parts[np.abs(columns - level[:, None]) < 2.6] = WATER
    for _ in range(2):
        y, x, radius = height * random.random(), width * random.random(), 6.0 + 8.0 * random.random()
        parts[(rows - y) * (rows - y) + 0.6 * (columns - x) * (columns - x) < radius * radius] = WATER


def _seen(
    random: np.random.Generator,
    parts: Labels,
    roofs: NDArray[np.int64],
    u: Field,
    v: Field,
    means: dict[int, tuple[float, ...]],
) -> Field:
    """Reflectance (4, H, W): the mean of each part, with its texture."""
    height, width = parts.shape
    table = np.zeros((10, 4))
    for part, mean in means.items():
        table[part] = mean
    pixels = np.moveaxis(table[parts], 2, 0)
    built = parts == ROOF
    pixels = np.where(built, np.moveaxis(np.array(_ROOFS)[roofs], 2, 0), pixels)
    texture = np.ones((height, width))
    for part, (spacing, amplitude) in _TEXTURE.items():
        grain = 1.0 + amplitude * smooth(random, height, width, spacing)
        if part == SEMI:
            grain = np.where(smooth(random, height, width, 6.0) > 0.55, 0.6 * grain, grain)
        if part in (BARE, CROP):
            # Rows every 4 pixels, wheel tracks every 24.
            grain = grain + 0.09 * (np.abs(u / 4.0 - np.floor(u / 4.0) - 0.5) * 4.0 - 1.0)
            grain = np.where(u / 24.0 - np.floor(u / 24.0) < 0.07, 0.85 * grain, grain)
        texture = np.where(parts == part, grain, texture)
    noise = 0.01 * (random.random((4, height, width)) - 0.5)
    del v
    return pixels * texture + noise


def _shaded(pixels: Field, parts: Labels) -> Field:
    """With the shadows of woods and roofs, to the south-east, and a little blur."""
    tall = np.isin(parts, (WOOD, ROOF))
    shadow = np.zeros_like(tall)
    for step in (1, 2):
        shadow[step:, step:] |= tall[:-step, :-step]
    dark = np.where(shadow & ~tall, pixels * 0.55, pixels)
    blurred = dark.copy()
    blurred[:, 1:-1] = 0.2 * dark[:, :-2] + 0.6 * dark[:, 1:-1] + 0.2 * dark[:, 2:]
    final = blurred.copy()
    final[:, :, 1:-1] = 0.2 * blurred[:, :, :-2] + 0.6 * blurred[:, :, 1:-1] + 0.2 * blurred[:, :, 2:]
    return final
