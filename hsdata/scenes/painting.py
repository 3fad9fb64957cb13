"""How a made-up scene is painted: layers of materials with maps of where they are, seen band by band.

A layer is one base material with maps, (height, width) each, of where it is, how much light it gets, how it glosses
and how much of each pigment it holds. Nothing here depends on the processor but the last bits of double-precision
functions; whoever stores a scene rounds them away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hsdata.cube import BAND_GRID
from hsdata.scenes.materials import BASES, PIGMENTS

Map = NDArray[np.float64]

# Pixels over which the lens spreads an edge.
_SHARPNESS = 2.5
# Cells of a texture in a pixel from which on the pixel shows none of it.
_FINEST = 0.75
# Cells a side of a lattice of random values; beyond them a texture repeats.
_LATTICE = 64


@dataclass(frozen=True)
class View:
    """The pixels of an image in an object's own coordinates, in which it is about 2 wide around (0, 0).

    Attributes:
        x: (height, width).
        y: (height, width).
        pixel: side of a pixel in these coordinates.
        light: (x, y, z) direction that light comes from, of length 1.
    """

    x: Map
    y: Map
    pixel: float
    light: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def at(self, x: float, y: float, angle: float = 0.0) -> View:
        """The view from a part's own place, turned by `angle` in radians."""
        cos, sin = np.cos(angle), np.sin(angle)
        dx, dy = self.x - x, self.y - y
        lx, ly, lz = self.light
        turned = (cos * lx + sin * ly, cos * ly - sin * lx, lz)
        return View(cos * dx + sin * dy, cos * dy - sin * dx, self.pixel, turned)

    def fill(self, distance: Map) -> Map:
        """How much of each pixel lies inside an outline: 1 where the signed distance from it is negative."""
        inside: Map = np.clip(0.5 - distance / (_SHARPNESS * self.pixel), 0.0, 1.0)
        return inside * inside * (3.0 - 2.0 * inside)

    def ellipse(self, a: float, b: float) -> Map:
        """Signed distance (roughly, away from the outline) from an ellipse with half axes a and b."""
        return (np.hypot(self.x / a, self.y / b) - 1.0) * min(a, b)

    def box(self, a: float, b: float) -> Map:
        """Signed distance from a rectangle with half sides a and b."""
        return np.maximum(np.abs(self.x) - a, np.abs(self.y) - b)

    def dome(self, a: float, b: float) -> Map:
        """Light on an ellipsoid, about 0.5 in shade to 1 where it faces the light."""
        nx, ny = self.x / a, self.y / b
        nz = np.sqrt(np.maximum(1.0 - nx**2 - ny**2, 0.0))
        lx, ly, lz = self.light
        facing: Map = np.clip(nx * lx + ny * ly + nz * lz, 0.0, 1.0)
        return 0.5 + 0.5 * facing

    def texture(self, rng: np.random.Generator, cells: float, stretch: float = 1.0) -> Map:
        """Noise of mean 0 and standard deviation near 1, from `cells` a unit down to the pixel.

        Args:
            rng: makes the pattern, which belongs to the object and moves with it.
            cells: coarsest cells along x for each unit.
            stretch: how many times longer than wide cells are along x.
        """
        # Finer images take more octaves, which must not move what `rng` gives next.
        own = rng.spawn(1)[0]
        total = np.zeros_like(self.x)
        power, amplitude = 0.0, 1.0
        while (fineness := cells * self.pixel) < _FINEST:
            noise = _lattice_noise(own.random((_LATTICE, _LATTICE)), self.x * cells / stretch, self.y * cells)
            # Cells that are hardly larger than a pixel average out in it.
            total += amplitude * min(1.0, 3.0 * (_FINEST - fineness)) * noise
            power += amplitude**2
            cells, amplitude = 2.0 * cells, 0.65 * amplitude
        deviation: float = 0.22 * np.sqrt(power) if power else 1.0
        total /= deviation
        return total


def _lattice_noise(lattice: Map, x: Map, y: Map) -> Map:
    """Random values at whole coordinates, smooth between them, of mean 0."""
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = x - column, y - row
    fx, fy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
    left, right, top, bottom = (index % _LATTICE for index in (column, column + 1, row, row + 1))
    upper = lattice[top, left] * (1.0 - fx) + lattice[top, right] * fx
    lower = lattice[bottom, left] * (1.0 - fx) + lattice[bottom, right] * fx
    return upper * (1.0 - fy) + lower * fy - 0.5


@dataclass
class Layer:
    """One base material; see the module.

    Attributes:
        base: name in `BASES`.
        cover: how much of each pixel it covers, 0 to 1.
        gain: light that it gets.
        gloss: light that it mirrors, without colour.
        pigments: concentration of each pigment, by name in `PIGMENTS`.
    """

    base: str
    cover: Map
    gain: Map
    gloss: Map
    pigments: dict[str, Map] = field(default_factory=dict)

    @classmethod
    def empty(cls, base: str, view: View) -> Layer:
        """A layer that nothing has been painted into."""
        return cls(base, np.zeros_like(view.x), np.zeros_like(view.x), np.zeros_like(view.x))

    def paint(self, cover: Map, gain: Map | float = 1.0, gloss: Map | float = 0.0, **pigments: Map | float) -> None:
        """Put a part over what is there; names of pigments have `_` for blanks."""
        named = {name.replace("_", " "): content for name, content in pigments.items()}
        self.cover += cover * (1.0 - self.cover)
        # Of what then covers a pixel, the part's share; a part on bare ground is all of it.
        share = cover / np.maximum(self.cover, 1e-9)
        self.gain += share * (gain - self.gain)
        self.gloss += share * (gloss - self.gloss)
        for name in {**self.pigments, **named}:
            before = self.pigments.setdefault(name, np.zeros_like(self.cover))
            before += share * (named.get(name, 0.0) - before)


def planes(layers: list[Layer]) -> Iterator[Map]:
    """Reflectance of each band of the grid, (height, width), of layers from back to front."""
    free = np.ones_like(layers[0].cover)
    seen: list[tuple[Layer, tuple[slice, slice], Map, Map, list[tuple[str, Map]]]] = []
    for layer in reversed(layers):
        visible = free * layer.cover
        free -= visible
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        if len(rows):
            part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            pigments = [(name, content[part]) for name, content in layer.pigments.items()]
            seen.append((layer, part, (visible * layer.gain)[part], (visible * layer.gloss)[part], pigments))
    for band in range(len(BAND_GRID)):
        plane = np.zeros_like(free)
        for layer, part, lit, gloss, pigments in seen:
            light = lit * BASES[layer.base][band]
            if pigments:
                light *= np.exp(-sum(content * PIGMENTS[name][band] for name, content in pigments))
            plane[part] += light
            plane[part] += gloss
        yield plane
