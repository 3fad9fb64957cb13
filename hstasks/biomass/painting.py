"""Painted pastures: soil, litter, blades and clover by the gram; only sums, products and roundings reach the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SOIL: Final = (0.46, 0.39, 0.31)
_COLOURS: Final = {"green": (0.28, 0.46, 0.13), "dead": (0.66, 0.58, 0.36), "clover": (0.33, 0.60, 0.20)}
_PER_GRAM: Final = {"green": 14.0, "dead": 14.0, "clover": 7.0}
_DATE: Final = (0.95, 0.55, 0.10)
# Lengths below are pixels of a picture of this width.
_WIDTH: Final = 256
_SHORT, _TALL, _ROSETTE = 10.0, 24.0, 3.0
# Points of a blade for each pixel of its length, and of a rosette.
_DENSE, _CURVE = 1.5, 24


@dataclass(frozen=True)
class Look:
    """Light and ground of a group: tint and soil by channel, brightness, cover per gram, whether a date is burnt in."""

    tint: tuple[float, ...]
    soil: tuple[float, ...]
    brightness: float
    cover: float
    dated: bool


def look(random: np.random.Generator) -> Look:
    """Draw a group's light and ground."""
    tint = tuple(round(float(value), 6) for value in random.normal(0.0, 0.02, 3))
    brightness = round(float(random.normal(0.0, 0.07)), 6)
    shift = float(random.normal(0.0, 0.05))
    soil = tuple(
        round(base + shift + float(own), 6) for base, own in zip(_SOIL, random.normal(0.0, 0.012, 3), strict=True)
    )
    cover = round(float(np.exp(random.normal(0.0, 0.25))), 6)
    return Look(tint, soil, brightness, cover, bool(random.random() < 0.3))


def paint(
    random: np.random.Generator, light: Look, grams: tuple[float, ...], tall: bool, width: int = _WIDTH
) -> Floats:
    """A picture (width / 2, width, 3), white as 1, of grams of green, dead and clover."""
    height, scale = width // 2, width / _WIDTH
    rough = 1.0 + 0.12 * (0.5 * _smooth(random, height, width, 6) + 0.5 * random.uniform(-1.0, 1.0, (height, width)))
    canvas = np.ascontiguousarray(np.array(light.soil)[None, None, :] * rough[:, :, None])
    density = np.clip(0.5 + 0.5 * _smooth(random, height, width, 5), 0.05, 1.0)
    kinds, places, depths, lines, colours = [], [], [], [], []
    for kind, mass in zip(_COLOURS, grams, strict=True):
        count = round(_PER_GRAM[kind] * light.cover * mass)
        if not count:
            continue
        kinds.append(count)
        places.append(_positions(random, density, count))
        depth = random.random(count)
        depths.append(depth * depth if kind == "dead" else depth)
        lines += _shapes(random, kind, count, tall, scale)
        shade = random.uniform(0.65, 1.25, (count, 1))
        colours.append(np.array(_COLOURS[kind]) * shade + random.normal(0.0, 0.02, (count, 3)))
    if kinds:
        _draw(canvas, np.concatenate(places), np.concatenate(depths), lines, np.concatenate(colours), scale)
    shade = (1.0 + 0.06 * _smooth(random, height, width, 3)) * (1.0 + light.brightness)
    canvas = canvas * shade[:, :, None] + np.array(light.tint) + random.normal(0.0, 0.015, canvas.shape)
    if light.dated:
        _burn(canvas)
    painted: Floats = np.round(np.clip(canvas, 0.0, 1.0), 6)
    return painted


def _smooth(random: np.random.Generator, height: int, width: int, cells: int) -> Floats:
    """Noise in [-1, 1] between the corners of a coarse grid, (height, width)."""
    grid = random.uniform(-1.0, 1.0, (cells + 1, 2 * cells + 1))
    rows, columns = np.arange(height) * cells / height, np.arange(width) * (2 * cells) / width
    i, j = rows.astype(int), columns.astype(int)
    u, v = (rows - i)[:, None], (columns - j)[None, :]
    upper = grid[i][:, j] * (1.0 - v) + grid[i][:, j + 1] * v
    lower = grid[i + 1][:, j] * (1.0 - v) + grid[i + 1][:, j + 1] * v
    result: Floats = upper * (1.0 - u) + lower * u
    return result


def _positions(random: np.random.Generator, density: Floats, count: int) -> Floats:
    """(count, 2) rows and columns: of four uniform places one is taken, by the density there."""
    height, width = density.shape
    drawn = random.random((count, 4, 2)) * (height, width)
    weights = density[drawn[:, :, 0].astype(int), drawn[:, :, 1].astype(int)]
    steps = np.cumsum(weights, axis=1)
    chosen = (random.random((count, 1)) * steps[:, -1:] >= steps).sum(axis=1)
    result: Floats = drawn[np.arange(count), chosen.clip(max=3)]
    return result


def _shapes(random: np.random.Generator, kind: str, count: int, tall: bool, scale: float) -> list[Floats]:
    """The points of each element about its place, (points, 2) pixels."""
    if kind == "clover":
        radius = random.uniform(1.5, _ROSETTE, count) * scale
        angle = np.arange(_CURVE) * (2.0 * np.pi / _CURVE)
        curve = np.round(np.stack([np.sin(5.0 * angle), np.cos(3.0 * angle)], axis=1), 6)
        return [curve * size for size in radius]
    length = (_TALL if tall else _SHORT) * scale * np.round(np.exp(random.normal(0.0, 0.3, count)), 6)
    angle = random.uniform(0.0, np.pi, count) if kind == "green" else random.uniform(-0.9, 0.9, count)
    way = np.round(np.stack([np.sin(angle), np.cos(angle)], axis=1), 6)
    return [
        np.linspace(-0.5 * size, 0.5 * size, max(2, round(_DENSE * size)))[:, None] * step
        for size, step in zip(length.tolist(), way, strict=True)
    ]


def _draw(canvas: Floats, places: Floats, depths: Floats, lines: list[Floats], colours: Floats, scale: float) -> None:
    """Paint elements from the lowest up, lighter the higher they are; later ones cover earlier ones."""
    height, width, _ = canvas.shape
    order = np.argsort(depths, kind="stable")
    sizes = np.array([len(lines[number]) for number in order])
    points = np.concatenate([lines[number] for number in order]) + np.repeat(places[order], sizes, axis=0)
    light = 0.4 + 0.6 * np.arange(1, len(order) + 1) / len(order)
    paint = np.repeat(colours[order] * light[:, None], sizes, axis=0)
    thick = max(2, round(2 * scale))
    rows, columns = np.floor(points).astype(int).T
    # Every point is a square; squares of one element are painted together, before the next one's.
    down, right = (offset.ravel() for offset in np.mgrid[0:thick, 0:thick])
    rows, columns = (rows[:, None] + down).ravel(), (columns[:, None] + right).ravel()
    paint = np.repeat(paint, thick * thick, axis=0)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    flat = (rows * width + columns)[inside]
    last = np.full(height * width, -1)
    np.maximum.at(last, flat, np.flatnonzero(inside))
    seen = last >= 0
    canvas.reshape(-1, 3)[seen] = paint[last[seen]]


def _burn(canvas: Floats) -> None:
    height, width, _ = canvas.shape
    top, bottom = int(0.86 * height), int(0.92 * height)
    left, right = int(0.72 * width), int(0.95 * width)
    bar = canvas[top:bottom, left:right]
    dotted = (np.arange(bar.shape[0])[:, None] + np.arange(bar.shape[1])[None, :]) % 3 != 0
    bar[dotted] = _DATE
