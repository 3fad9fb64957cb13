"""One made-up object: what shines there, in which colours, and what a survey of one year sees of it.

Everything follows from the random numbers of (seed, domain, label, index). Magnitudes have zero point 27 counts;
depths and point-spread functions are LSST's after one year.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hstasks.lenses.layout import BANDS, DOMAINS, SIDE, ZERO_POINT
from hstasks.lenses.sky import light
from hstasks.lenses.sky.deflection import Deflector

Values = NDArray[np.float64]
Magnitudes = tuple[float, ...]

FWHM = (0.77, 0.73, 0.71, 0.69, 0.68)
"""Of the point-spread function in each band, in arcsec."""

NOISE = (0.079, 0.091, 0.149, 0.292, 0.745)
"""Standard deviation of the sky in each band, in counts."""

ELECTRONS = (795.0, 1529.0, 1118.0, 694.0, 326.0)
"""Electrons of one count in each band."""

# Magnitudes relative to band i.
_COLOURS: dict[str, Magnitudes] = {
    "elliptical": (2.20, 0.98, 0.0, -0.52, -0.82),
    "green": (1.5, 0.65, 0.0, -0.33, -0.55),
    "disc": (1.1, 0.45, 0.0, -0.25, -0.40),
    "blue": (0.48, 0.17, 0.0, -0.12, -0.22),
}
_SCATTER = (1.0, 0.5, 0.0, -0.3, -0.5)
_TRIES = 20
# Pixel values are stored in these steps of a count, so that the last bits in which machines differ do not show.
STEP = 1.0 / 1024.0


@dataclass
class Object:
    """A made-up object.

    Attributes:
        image: (5, 41, 41) float64 in counts, in whole `STEP`s.
        offset: of the central galaxy from the centre, in arcsec.
        values: what is known of it, by the names of `hstasks.lenses.layout.LENS_VALUES`.
    """

    image: Values
    offset: tuple[float, float]
    values: dict[str, float]


@dataclass
class _Scene:
    """What shines in a cut-out: fine images of unit flux and their magnitudes in each band."""

    rng: np.random.Generator
    parts: list[tuple[Values, Magnitudes]] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    offset: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.x, self.y = light.grid()

    def add(self, image: Values, i: float, colour: str) -> Magnitudes:
        """Add light of magnitude `i` in band i, with the colour's own scatter."""
        shift = 0.11 * float(self.rng.standard_normal())
        magnitudes = tuple(i + base + shift * slope for base, slope in zip(_COLOURS[colour], _SCATTER, strict=True))
        self.parts.append((image, magnitudes))
        return magnitudes

    def around(self, x: float, y: float) -> tuple[Values, Values]:
        """The grid as seen from (x, y)."""
        return self.x - x, self.y - y

    def normal(self, mean: float, spread: float) -> float:
        return mean + spread * float(self.rng.standard_normal())

    def lognormal(self, middle: float, spread: float) -> float:
        return middle * math.exp(spread * float(self.rng.standard_normal()))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.rng.random())

    def angle(self) -> float:
        return self.between(0.0, math.pi)

    def ring(self, low: float, high: float) -> tuple[float, float]:
        """A place between two distances, in any direction."""
        distance, direction = self.between(low, high), self.between(0.0, 2.0 * math.pi)
        return distance * math.cos(direction), distance * math.sin(direction)


def draw(seed: int, domain: str, label: int, index: int) -> Object:
    """The object of this number; see the module.

    Args:
        seed: of all objects.
        domain: `slsim` (white noise, one seeing) or `hsc` (wings, correlated noise, uneven depth).
        label: 1 lens, 0 non-lens.
        index: number of the object.
    """
    scene = _Scene(np.random.default_rng([seed, DOMAINS.index(domain), label, index]))
    _CLASSES[domain, label](scene)
    for _ in range(int(scene.rng.poisson(0.9 if domain == "slsim" else 0.7))):
        _neighbour(scene)
    image = _observed(scene, domain)
    return Object(np.rint(image / STEP) * STEP, scene.offset, scene.values)


def counts(magnitude: float) -> float:
    """Counts of a magnitude: 10^(0.4 (27 - m))."""
    return float(10.0 ** (0.4 * (ZERO_POINT - magnitude)))


def _central(scene: _Scene) -> tuple[float, float]:
    """A lens galaxy near the centre; returns axis ratio and angle of its light."""
    i = min(max(scene.normal(20.95, 0.9), 18.5), 23.0)
    re, n, q, angle = scene.lognormal(0.60, 0.3), scene.between(3.0, 5.0), scene.between(0.55, 1.0), scene.angle()
    scene.offset = scene.normal(0.0, 0.03), scene.normal(0.0, 0.03)
    magnitudes = scene.add(light.sersic(*scene.around(*scene.offset), re, n, q, angle), i, "elliptical")
    scene.values |= {f"mag_lens_{band}": value for band, value in zip(BANDS, magnitudes, strict=True)}
    scene.values |= {"Reff_l": re, "n_l_sers": n}
    return q, angle


@dataclass(frozen=True)
class _Source:
    i: float
    re: float
    n: float
    q: float
    angle: float


def _source(scene: _Scene) -> _Source:
    i = min(max(scene.normal(23.9, 0.7), 22.3), 25.4)
    return _Source(i, scene.lognormal(0.12, 0.45), scene.between(0.7, 2.0), scene.between(0.4, 1.0), scene.angle())


def _lens(scene: _Scene) -> None:
    q, angle = _central(scene)
    einstein = min(max(scene.lognormal(1.0, 0.33), 0.6), 2.2)
    q_mass = min(max(scene.normal(q, 0.08), 0.45), 0.99)
    shear = min(0.02 * float(scene.rng.exponential()), 0.1)
    deflector = Deflector(einstein, q_mass, scene.normal(angle, 0.1), shear, scene.angle())
    plane_x, plane_y = deflector.source_plane(*scene.around(*scene.offset))
    for _ in range(_TRIES):
        source = _source(scene)
        # Uniform in the area within 0.65 Einstein radii.
        distance, direction = 0.65 * einstein * math.sqrt(float(scene.rng.random())), scene.between(0.0, 2.0 * math.pi)
        x, y = distance * math.cos(direction), distance * math.sin(direction)
        arcs = light.sersic(plane_x - x, plane_y - y, source.re, source.n, source.q, source.angle)
        magnified = float(arcs.sum())
        if magnified >= 2.5 and source.i - 2.5 * math.log10(magnified) < 23.6:
            break
    magnitudes = scene.add(arcs, source.i, "blue")
    scene.values |= {f"mag_src_{band}": value for band, value in zip(BANDS, magnitudes, strict=True)}
    scene.values |= {
        "Rein": einstein, "sh": shear, "sh_PA": _degrees(deflector.shear_angle), "srcx": x, "srcy": y,
        "Reff_s": source.re, "n_s_sers": source.n, "ell_m": (1.0 - q_mass) / (1.0 + q_mass),
        "ell_m_PA": _degrees(deflector.angle), "ell_l": (1.0 - q) / (1.0 + q), "ell_l_PA": _degrees(angle),
        "ell_s": (1.0 - source.q) / (1.0 + source.q), "ell_s_PA": _degrees(source.angle),
    }  # fmt: skip


def _degrees(angle: float) -> float:
    return math.degrees(angle) % 180.0


def _with_companions(scene: _Scene, least: int, mean: float) -> None:
    """A lens galaxy with blue sources that are not lensed, as bright as arcs."""
    _central(scene)
    for _ in range(least + int(scene.rng.poisson(mean))):
        source = _source(scene)
        x, y = scene.ring(0.7, 2.6)
        place = scene.around(scene.offset[0] + x, scene.offset[1] + y)
        image = light.sersic(*place, scene.lognormal(0.28, 0.35), source.n, source.q, source.angle)
        scene.add(image, source.i - scene.between(0.3, 1.9), "blue")


def _single(scene: _Scene) -> None:
    colour = ("elliptical", "green", "disc", "blue")[int(scene.rng.integers(4))]
    _galaxy(scene, scene.normal(21.6, 1.0), (0.0, 0.0), scene.lognormal(0.45, 0.4), colour)


def _galaxy(scene: _Scene, i: float, place: tuple[float, float], re: float, colour: str) -> None:
    n = scene.between(2.5, 4.5) if colour == "elliptical" else scene.between(0.8, 2.0)
    scene.add(light.sersic(*scene.around(*place), re, n, scene.between(0.4, 1.0), scene.angle()), i, colour)


def _spiral(scene: _Scene) -> None:
    i, rd, q, angle = scene.normal(20.6, 0.9), scene.between(0.5, 1.1), scene.between(0.35, 1.0), scene.angle()
    bulge = scene.between(0.1, 0.45)
    scene.offset = scene.normal(0.0, 0.03), scene.normal(0.0, 0.03)
    place = scene.around(*scene.offset)
    arms = None
    if scene.rng.random() >= 0.15:
        count, amplitude = 2 + int(scene.rng.integers(2)), scene.between(0.6, 0.95)
        arms = count, amplitude, math.radians(scene.between(12.0, 30.0)), scene.between(0.0, 2.0 * math.pi)
    scene.add(light.disc(*place, rd, q, angle, arms, rd * scene.between(1.0, 2.0)), i - _mag(1.0 - bulge), "disc")
    scene.add(light.sersic(*place, 0.35 * rd, 2.5, math.sqrt(q), angle), i - _mag(bulge), "elliptical")
    for _ in range(int(scene.rng.poisson(3.0))):
        x, y = scene.ring(0.5 * rd, 2.0 * rd)
        knot = light.spot(*scene.around(scene.offset[0] + x, scene.offset[1] + y * q), 0.12)
        scene.add(knot, i - _mag(scene.between(0.01, 0.04)), "blue")


def _mag(share: float) -> float:
    return 2.5 * math.log10(share)


def _merger(scene: _Scene) -> None:
    i = scene.normal(20.8, 0.8)
    for fainter in (0.0, scene.between(0.2, 1.5)):
        place = scene.normal(0.0, 0.5), scene.normal(0.0, 0.5)
        colour = ("elliptical", "green", "disc")[int(scene.rng.integers(3))]
        _galaxy(scene, i + fainter, place, scene.lognormal(0.45, 0.3), colour)
    radius, width, start = scene.between(1.0, 2.2), scene.between(0.12, 0.25), scene.between(0.0, 2.0 * math.pi)
    scene.add(light.tidal_arm(scene.x, scene.y, radius, width, start), i + scene.between(1.5, 2.8), "disc")


def _neighbour(scene: _Scene) -> None:
    colour = ("elliptical", "green", "disc", "blue")[int(scene.rng.integers(4))]
    _galaxy(scene, scene.normal(23.3, 1.0), scene.ring(2.6, 5.5), scene.lognormal(0.35, 0.4), colour)


def _hsc_nonlens(scene: _Scene) -> None:
    kind = scene.rng.random()
    if kind < 0.35:
        _spiral(scene)
    elif kind < 0.65:
        _with_companions(scene, 0, 1.0)
    elif kind < 0.75:
        _merger(scene)
    else:
        _single(scene)


def _observed(scene: _Scene, domain: str) -> Values:
    """Counts (5, 41, 41): blurred, with the noise of photons and sky."""
    rng, hsc = scene.rng, domain == "hsc"
    seeing = scene.lognormal(1.0, 0.08 if hsc else 0.03)
    image = np.empty((len(BANDS), SIDE, SIDE))
    for place in range(len(BANDS)):
        fine = np.zeros((light.FINE, light.FINE))
        for part, magnitudes in scene.parts:
            fine += counts(magnitudes[place]) * part
        clean = light.seen(fine, FWHM[place] * seeing, 0.15 if hsc else 0.0)
        sigma = NOISE[place] * (scene.lognormal(1.0, 0.12) if hsc else 1.0)
        pedestal = scene.normal(0.0, 0.15) * sigma if hsc else 0.0
        photons = np.sqrt(np.maximum(clean, 0.0) / ELECTRONS[place]) * rng.standard_normal((SIDE, SIDE))
        image[place] = clean + photons + sigma * _sky(rng, hsc) + pedestal
    return image


def _sky(rng: np.random.Generator, correlated: bool) -> Values:
    """Noise of unit variance, half of it correlated between neighbours where pixels were resampled."""
    white = rng.standard_normal((SIDE, SIDE))
    if not correlated:
        return white
    wide = rng.standard_normal((SIDE + 2, SIDE + 2))
    rows = 0.5 * wide[:-2] + wide[1:-1] + 0.5 * wide[2:]
    smooth = (0.5 * rows[:, :-2] + rows[:, 1:-1] + 0.5 * rows[:, 2:]) / 1.5
    return math.sqrt(0.5) * (white + smooth)


_CLASSES: dict[tuple[str, int], Callable[[_Scene], None]] = {
    ("slsim", 1): _lens,
    ("slsim", 0): lambda scene: _with_companions(scene, 1, 0.7),
    ("hsc", 1): _lens,
    ("hsc", 0): _hsc_nonlens,
}
