import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsdata.cube import BAND_GRID, Cube
from hsengine.base.errors import UserError


def _cube(wavelengths, values=None):
    wavelengths = np.asarray(wavelengths, dtype=float)
    if values is None:
        values = np.broadcast_to(wavelengths[:, None, None] / 1000, (len(wavelengths), 2, 3))
    return Cube(np.array(values, dtype=np.float32), wavelengths)


def test_the_band_grid_is_61_bands_from_400_to_1000_nm():
    assert (len(BAND_GRID), BAND_GRID[0], BAND_GRID[-1]) == (61, 400.0, 1000.0)


def test_a_cube_with_more_bands_than_wavelengths_is_refused():
    with pytest.raises(UserError, match="4 bands but 3 wavelengths"):
        Cube(np.zeros((4, 2, 2), np.float32), np.arange(3.0))


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(UserError, match="mask"):
        Cube(np.zeros((2, 2, 2), np.float32), np.arange(2.0), mask=np.ones((3, 2), bool))


@given(st.permutations(list(np.arange(390.0, 1011.0, 4.0))))
def test_the_order_of_the_bands_does_not_change_what_is_resampled(order):
    assert np.allclose(_cube(order).resampled().values, _cube(sorted(order)).resampled().values)


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_a_straight_spectrum_stays_straight(method):
    resampled = _cube(np.arange(350.0, 1050.0, 2.5)).resampled(method=method)
    assert resampled.on_grid()
    assert np.allclose(resampled.values[:, 0, 0], BAND_GRID / 1000, atol=1e-4)


@given(st.floats(0, 1), st.sampled_from(["linear", "gaussian"]), st.floats(1, 40))
def test_a_constant_spectrum_stays_constant_on_unequal_bands(level, method, fwhm):
    wavelengths = np.concatenate([np.arange(380, 600, 3.0), np.arange(600, 1020, 25.0)])
    values = np.full((len(wavelengths), 1, 1), level)
    assert np.allclose(_cube(wavelengths, values).resampled(method=method, fwhm=fwhm).values, level, atol=1e-6)


def test_bands_measured_twice_are_averaged():
    cube = _cube([500, 500, 400], [[[0.2]], [[0.4]], [[0.1]]]).sorted()
    assert np.allclose(cube.wavelengths, [400, 500])
    assert np.allclose(cube.values.ravel(), [0.1, 0.3])


def test_extrapolation_is_refused_unless_asked_for():
    cube = _cube(np.arange(500.0, 901.0, 10))
    with pytest.raises(UserError, match="500 to 900 nm"):
        cube.resampled()
    assert np.allclose(cube.resampled(extrapolate=True).values[0], 0.5)
