import numpy as np
import pytest

from hsdata.cube import BAND_GRID
from hsdata.scenes.materials import BASES, PIGMENTS


def of(base: str, **pigments: float) -> np.ndarray:
    return BASES[base] * np.exp(-sum(content * PIGMENTS[name.replace("_", " ")] for name, content in pigments.items()))


def at(spectrum: np.ndarray, wavelength: float) -> float:
    return float(spectrum[int(np.argmin(np.abs(BAND_GRID - wavelength)))])


@pytest.mark.parametrize("name", sorted(BASES))
def test_reflectance_is_physical_and_smooth(name: str) -> None:
    assert BASES[name].min() > 0.0
    assert BASES[name].max() < 1.0
    assert np.abs(np.diff(BASES[name], 2)).max() < 0.2


@pytest.mark.parametrize("name", sorted(PIGMENTS))
def test_pigments_only_absorb(name: str) -> None:
    assert PIGMENTS[name].min() >= 0.0
    assert 0.5 < PIGMENTS[name].max() < 3.0


def test_a_leaf_is_green_with_a_red_edge() -> None:
    leaf = of("mesophyll", chlorophyll=1.3, water=0.2)
    assert at(leaf, 550) > 1.5 * max(at(leaf, 450), at(leaf, 670))
    assert at(leaf, 760) > 4.0 * at(leaf, 670)
    assert at(leaf, 970) < at(leaf, 900)


def test_inks_are_clear_in_the_infrared_and_carbon_is_not() -> None:
    ink, black = of("coated paper", cyan_ink=1.5, magenta_ink=1.5), of("coated paper", carbon=1.5)
    assert at(ink, 900) == pytest.approx(at(BASES["coated paper"], 900), rel=0.01)
    assert at(black, 900) < 0.3
