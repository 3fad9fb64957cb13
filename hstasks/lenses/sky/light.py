"""Surface brightness on a grid three times finer than the pixels, and its blur.

Every profile has unit total flux; positions and lengths are in arcsec, angles in radians.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hstasks.lenses.layout import PIXEL_ARCSEC, SIDE
from hstasks.lenses.sky import exact

Values = NDArray[np.float64]

FINER = 3
FINE = SIDE * FINER
FINE_ARCSEC = PIXEL_ARCSEC / FINER

_FLOOR_ARCSEC = 0.02
_FWHM = 2.3548
# Half-light radii up to which profiles with n below 2 are drawn: all but 0.1 % of their light.
_FAR = 12.0


def grid() -> tuple[Values, Values]:
    """x and y (123, 123) of the fine pixels from the centre, in arcsec."""
    axis = (np.arange(FINE) - (FINE - 1) / 2.0) * FINE_ARCSEC
    return np.tile(axis, (FINE, 1)), np.tile(axis[:, None], (1, FINE))


def rotated(x: Values, y: Values, angle: float) -> tuple[Values, Values]:
    """Coordinates along the axes of an ellipse whose major axis is at `angle` from the x axis."""
    c, s = math.cos(angle), math.sin(angle)
    return c * x + s * y, c * y - s * x


def sersic(x: Values, y: Values, re: float, n: float, q: float, angle: float) -> Values:
    """Share of the total flux in each fine pixel of a Sersic profile (Ciotti and Bertin 1999, A&A 352, 447).

    Args:
        x: distance from the centre along the x axis; a deflected grid gives a lensed image.
        y: distance from the centre along the y axis.
        re: half-light radius.
        n: Sersic index.
        q: axis ratio.
        angle: of the major axis.
    """
    u, v = rotated(x, y, angle)
    radius = np.maximum(np.sqrt(q * u * u + v * v / q), _FLOOR_ARCSEC)
    b = 2.0 * n - 1.0 / 3.0 + 4.0 / (405.0 * n) + 46.0 / (25515.0 * n * n)
    total = 2.0 * math.pi * n * re * re * math.exp(b) * b ** (-2.0 * n) * math.gamma(2.0 * n)
    scaled = radius / re
    # Steep profiles end long before the grid does: there is nothing to compute beyond.
    near = scaled < (_FAR if n <= 2.0 else math.inf)
    light = np.zeros(scaled.shape)
    light[near] = exact.exp(-b * (exact.power(scaled[near], 1.0 / n) - 1.0)) * (FINE_ARCSEC**2 / total)
    return light


def spot(x: Values, y: Values, sigma: float) -> Values:
    """Share of the total flux in each fine pixel of a round Gaussian."""
    return exact.exp(-0.5 * (x * x + y * y) / sigma**2) * (FINE_ARCSEC**2 / (2.0 * math.pi * sigma**2))


def disc(
    x: Values, y: Values, rd: float, q: float, angle: float, arms: tuple[int, float, float, float] | None, ring: float
) -> Values:
    """An exponential disc with logarithmic spiral arms, or with a ring; the sum over the grid is 1.

    Args:
        x: distance from the centre.
        y: distance from the centre.
        rd: scale length.
        q: axis ratio.
        angle: of the major axis.
        arms: number, amplitude, pitch and phase; None: a ring.
        ring: its radius, where there are no arms.
    """
    u, v = rotated(x, y, angle)
    v = v / q
    radius = np.maximum(np.sqrt(u * u + v * v), _FLOOR_ARCSEC)
    light = exact.exp(-radius / rd)
    if arms is None:
        light = light * (1.0 + 2.5 * exact.exp(-0.5 * ((radius - ring) / (0.18 * ring)) ** 2))
    else:
        count, amplitude, pitch, phase = arms
        wave = exact.cos(count * (exact.angle(v, u) - exact.log(radius / rd) / math.tan(pitch) - phase))
        light = light * (1.0 + amplitude * wave * np.minimum(radius / (0.6 * rd), 1.0))
    return np.asarray(light / light.sum())


def tidal_arm(x: Values, y: Values, radius: float, width: float, place: float) -> Values:
    """A curved arm that is not concentric, around the angle `place`; the sum over the grid is 1."""
    distance = np.sqrt(x * x + y * y)
    turn = 2.0 * math.pi
    along = exact.angle(y, x) - place
    along = along - turn * np.rint(along / turn)
    away = (distance - radius * (1.0 + 0.35 * along)) / width
    light = exact.exp(-0.5 * away * away - 0.5 * (along / 0.7) ** 2)
    return np.asarray(light / light.sum())


def seen(light: Values, fwhm: float, wings: float) -> Values:
    """Blur a fine image and sum it into pixels (41, 41).

    Args:
        light: (123, 123); its edges continue on the other side.
        fwhm: of the Gaussian core of the point-spread function.
        wings: share of the light in a Gaussian twice as wide.
    """
    sigma = fwhm / _FWHM / FINE_ARCSEC
    core = _blurred(light, sigma, FINER)
    if wings == 0.0:
        return core
    # Wide against a pixel, so that pixels are fine enough to blur.
    binned = light.reshape(SIDE, FINER, SIDE, FINER)
    pixels = sum(binned[:, row, :, column] for row in range(FINER) for column in range(FINER))
    return (1.0 - wings) * core + wings * _blurred(np.asarray(pixels), 2.0 * sigma / FINER, 1)


def _blurred(light: Values, sigma: float, step: int) -> Values:
    """Convolve with a Gaussian and sum `step` x `step` pixels in one go, one axis after the other."""
    radius = math.ceil(4.0 * sigma)
    weights = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(-radius, radius + 1)]
    total = sum(weights)
    kernel = [0.0] * (len(weights) + step - 1)
    for shift in range(step):
        for place, weight in enumerate(weights):
            kernel[place + shift] += weight / total
    scratch = np.empty((SIDE, light.shape[1]))
    for _ in range(2):
        wrapped = np.concatenate([light[-radius:], light, light[:radius]])
        found = np.zeros((SIDE, light.shape[1]))
        for place, weight in enumerate(kernel):
            rows = wrapped[place : place + step * (SIDE - 1) + 1 : step]
            found += np.multiply(rows, weight, out=scratch[:, : light.shape[1]])
        light = np.ascontiguousarray(found.T)
    return light
