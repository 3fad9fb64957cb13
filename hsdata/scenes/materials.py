"""Made-up but plausible materials on the band grid: what reflects, and what absorbs in it.

A material is a base reflectance and pigments in it; light that passes a pigment of concentration c and
absorbance k keeps exp(-c k) of itself. Shapes follow what field and laboratory spectra show: the chlorophyll
bands and the red edge, dyes that are clear in the near infrared where carbon is not, water at 970 nm,
aluminium's dip at 830 nm, the edges of copper and gold.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hsdata.cube import BAND_GRID

Spectrum = NDArray[np.float64]


def _bump(centre: float, width: float) -> Spectrum:
    """A Gaussian of height 1; `width` is its standard deviation in nm."""
    bump: Spectrum = np.exp(-0.5 * ((BAND_GRID - centre) / width) ** 2)
    return bump


def _rise(centre: float, width: float) -> Spectrum:
    """From 0 below `centre` nm to 1 above it."""
    rise: Spectrum = 1.0 / (1.0 + np.exp((centre - BAND_GRID) / width))
    return rise


_RED_TO_INFRARED: Final = (BAND_GRID - BAND_GRID[0]) / (BAND_GRID[-1] - BAND_GRID[0])
_FLAT: Final = np.ones(len(BAND_GRID))

BASES: Final[Mapping[str, Spectrum]] = MappingProxyType(
    {
        "sheet": 0.88 * _rise(404.0, 9.0) + 0.05 * _bump(445.0, 20.0),
        "rail": 0.002 * _FLAT,
        "wall": 0.46 + 0.02 * np.cos(BAND_GRID / 140.0),
        "mesophyll": 0.64 - 0.05 * _RED_TO_INFRARED,
        "petal": 0.70 + 0.10 * _RED_TO_INFRARED,
        "coated paper": 0.84 * _rise(398.0, 10.0),
        "book paper": 0.72 + 0.10 * _RED_TO_INFRARED,
        "plastic": 0.80 * _rise(402.0, 8.0) - 0.03 * _bump(930.0, 14.0),
        "ceramic": 0.70 + 0.10 * _rise(430.0, 40.0),
        "wood": 0.66 + 0.16 * _RED_TO_INFRARED - 0.03 * _bump(980.0, 30.0),
        "cloth": 0.74 + 0.08 * _RED_TO_INFRARED,
        "flesh": 0.62 + 0.10 * _rise(600.0, 60.0),
        "aluminium": 0.74 - 0.07 * _bump(830.0, 55.0),
        "copper": 0.34 + 0.48 * _rise(578.0, 14.0),
        "brass": 0.30 + 0.44 * _rise(512.0, 20.0),
        "steel": 0.44 + 0.12 * _RED_TO_INFRARED,
    }
)
"""Reflectance of materials without pigments, (61,) each."""

PIGMENTS: Final[Mapping[str, Spectrum]] = MappingProxyType(
    {
        "chlorophyll": 1.6 * _bump(430.0, 30.0)
        + 1.2 * _bump(470.0, 28.0)
        + 0.45 * _bump(550.0, 55.0)
        + 0.8 * _bump(630.0, 32.0)
        + 1.7 * _bump(676.0, 18.0),
        "carotenoid": 1.2 * _bump(450.0, 32.0) + 0.8 * _bump(486.0, 22.0),
        "anthocyanin": 1.3 * _bump(535.0, 42.0) + 0.3 * _bump(430.0, 40.0),
        "melanin": (BAND_GRID / 400.0) ** -3.2,
        "haemoglobin": 1.4 * _bump(418.0, 18.0) + 0.55 * _bump(542.0, 15.0) + 0.6 * _bump(577.0, 11.0),
        "water": 0.8 * _bump(972.0, 28.0) + 0.1 * _bump(840.0, 25.0),
        "lignin": np.exp((BAND_GRID[0] - BAND_GRID) / 130.0),
        "cyan ink": 1.2 * _bump(618.0, 45.0) + 0.9 * _bump(680.0, 30.0),
        "magenta ink": 1.2 * _bump(532.0, 30.0) + 0.7 * _bump(570.0, 20.0),
        "yellow ink": 1.5 * _bump(430.0, 38.0),
        "carbon": _FLAT,
        "iron oxide": 1.3 * (1.0 - _rise(565.0, 20.0)) + 0.25 * _bump(880.0, 60.0),
        "cobalt blue": 0.7 * _bump(545.0, 22.0) + 1.2 * _bump(592.0, 25.0) + 1.2 * _bump(634.0, 25.0),
        "phthalo green": 1.3 * _bump(645.0, 42.0) + 1.0 * _bump(712.0, 32.0) + 0.9 * _bump(425.0, 35.0),
        "cadmium red": 1.6 * (1.0 - _rise(598.0, 9.0)),
        "indigo": 1.2 * _bump(660.0, 48.0) + 0.5 * _bump(600.0, 50.0),
    }
)
"""Absorbance for unit concentration, (61,) each."""

for _spectrum in (*BASES.values(), *PIGMENTS.values()):
    _spectrum.flags.writeable = False
