"""Made-up seismic sections: layers that are folded and faulted, and salt that pierces them.

Only sums, products, quotients and comparisons in double precision are used, element by element: the grey levels
are the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
"""A quantity by row and column of a section, or by column or depth alone."""

# Grey level and contrast of the competition's tiles.
_MEAN, _CONTRAST = 0.47, 0.16
# Samples a pixel of the layers' reflectivity.
_FINE = 4
# How strong layers and chaotic reflections are inside salt.
_LAYERS_IN_SALT, _CHAOS = 0.12, 0.75
_TOP_REFLECTION = 3.2
_NOISE = 0.18


def section(random: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A section in grey levels and where it is salt, both (height, width)."""
    rows = np.arange(height, dtype=np.float64)[:, np.newaxis]
    columns = np.arange(width, dtype=np.float64)[np.newaxis]
    layers = _layers(random, rows, columns)
    top, bottom = _salt(random, height, columns)
    salt = (rows >= top) & (rows < bottom)
    chaos = _smooth_2d(random, height, width, 3.0) + 0.6 * _smooth_2d(random, height, width, 7.0)
    inside = _LAYERS_IN_SALT * layers + _CHAOS * chaos - 0.35
    signal = np.where(salt, inside, layers)
    signal = signal + _TOP_REFLECTION * _wavelet(rows - top) - 0.6 * _TOP_REFLECTION * _wavelet(rows - bottom)
    signal = signal + _NOISE * (random.random((height, width)) + random.random((height, width)) - 1.0)
    levels = np.rint(255.0 * np.clip(_MEAN + _CONTRAST * signal, 0.0, 1.0))
    return levels.astype(np.uint8), salt


def _layers(random: np.random.Generator, rows: Field, columns: Field) -> Field:
    """Reflections of the layers, about -2 to 2: the same series of layers at every column, folded and faulted."""
    height, width = rows.size, columns.size
    folds = 30.0 * _smooth(random, columns, 70.0) + (random.random() - 0.5) * columns
    place = rows + folds + 6.0 * _smooth_2d(random, height, width, 60.0)
    for _ in range(int(random.integers(0, 3))):
        fault, slope = random.random() * width, random.random() - 0.5
        throw = 24.0 * (random.random() - 0.5)
        place = place + throw * (columns > fault + slope * rows)
    depth = np.arange(-200 * _FINE - width * _FINE, (height + width + 200) * _FINE, dtype=np.float64) / _FINE
    series = 1.5 * _smooth(random, depth, 5.0) + 1.2 * _smooth(random, depth, 11.0) + 0.7 * _smooth(random, depth, 31.0)
    at = np.clip((place - depth[0]) * _FINE, 0.0, len(depth) - 2.0)
    lower = at.astype(np.int64)
    part = at - lower
    strength = 1.0 + 0.5 * _smooth_2d(random, height, width, 50.0)
    reflections: Field = strength * (series[lower] * (1.0 - part) + series[lower + 1] * part)
    return reflections


def _salt(random: np.random.Generator, height: int, columns: Field) -> tuple[Field, Field]:
    """The rows at which salt begins and ends in each column, (1, width); a section without has them out of sight."""
    width = columns.size
    kind = random.random()
    rough = 5.0 * _smooth(random, columns, 25.0) + 1.5 * _smooth(random, columns, 6.0)
    level = height * (1.1 * random.random())
    middle, breadth = width * random.random(), width * (0.25 + 0.6 * random.random())
    steep, thickness = 3.0 * random.random() - 1.5, 45.0 + 120.0 * random.random()
    if kind < 0.2:
        top = np.full_like(columns, 4.0 * height)
    elif kind < 0.65:
        distance = (columns - middle) / breadth
        bump = np.clip(1.0 - distance * distance, 0.0, 1.0)
        # A dome is gone where it would be deeper than its foot.
        top = np.where(bump > 0.0, level + 110.0 * (1.0 - bump), 4.0 * height) + rough
    else:
        top = level + steep * (columns - middle) + rough
    bottom = np.where(random.random() < 0.35, top + thickness + 8.0 * _smooth(random, columns, 30.0), 9.0 * height)
    return top, bottom


def _wavelet(distance: Field) -> Field:
    """A peak at 0 with a trough on either side: what a boundary sends back, 7 rows wide."""
    near = np.abs(distance)
    shape: Field = np.clip(1.0 - near / 1.8, 0.0, 1.0) - 0.6 * np.clip(1.0 - np.abs(near - 2.6) / 1.6, 0.0, 1.0)
    return shape


def _smooth(random: np.random.Generator, places: Field, spacing: float) -> Field:
    """Values between -1 and 1 that change smoothly over `spacing`."""
    first, last = float(places.min()), float(places.max())
    knots = 2.0 * random.random(int((last - first) / spacing) + 2) - 1.0
    lower, weight = _between((places - first) / spacing)
    return knots[lower] * (1.0 - weight) + knots[lower + 1] * weight


def _smooth_2d(random: np.random.Generator, height: int, width: int, spacing: float) -> Field:
    """As `_smooth`, over rows and columns, (height, width)."""
    knots = 2.0 * random.random((int(height / spacing) + 2, int(width / spacing) + 2)) - 1.0
    row, down = _between(np.arange(height) / spacing)
    column, across = _between(np.arange(width) / spacing)
    along = knots[:, column] * (1.0 - across) + knots[:, column + 1] * across
    return along[row] * (1.0 - down[:, np.newaxis]) + along[row + 1] * down[:, np.newaxis]


def _between(places: Field) -> tuple[NDArray[np.int64], Field]:
    """The knot before each place, and how far it is on the smooth way to the next, 0 to 1."""
    lower = places.astype(np.int64)
    part = places - lower
    return lower, part * part * (3.0 - 2.0 * part)
