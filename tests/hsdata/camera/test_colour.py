from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hsdata.camera import colour
from hsdata.cube import BAND_GRID
from hsengine.base.errors import UserError

VISIBLE_BANDS = np.arange(400.0, 701.0, 10.0)


def test_the_render_is_the_references(shared: Path) -> None:
    truth = np.load(shared / "reference" / "ssc" / "cases.npz")["noise_truth"]
    expected = np.load(shared / "reference" / "ssc" / "srgb_of_noise_truth.npz")["srgb"]
    np.testing.assert_allclose(colour.to_srgb(truth, BAND_GRID), expected, atol=1e-6)


def test_a_table_has_the_standards_values() -> None:
    table = colour.tables()
    assert table.wavelengths[[0, -1]].tolist() == [380.0, 780.0]
    at_555, at_560 = 555 - 380, 560 - 380
    np.testing.assert_allclose(table.cmf[:, at_555], [0.51205, 1.0, 0.00575], atol=1e-5)
    assert table.d65[at_560] == pytest.approx(100.0)


def test_a_perfect_white_is_d65() -> None:
    xyz = colour.to_xyz(np.ones((len(BAND_GRID), 2, 2), np.float32), BAND_GRID)
    np.testing.assert_allclose(xyz[:, 0, 0], colour.WHITE_D65, atol=2e-3)
    assert colour.to_srgb(np.ones((61, 1, 1), np.float32), BAND_GRID).min() > 0.995


@pytest.mark.parametrize("bands", [BAND_GRID, VISIBLE_BANDS, np.arange(400.0, 701.0, 2.5), np.array([450.0, 620.0])])
def test_any_number_of_bands_renders_without_nan(bands: np.ndarray) -> None:
    rgb = colour.to_srgb(np.full((len(bands), 3, 2), 0.5, np.float32), bands)
    assert rgb.shape == (3, 3, 2)
    assert np.isfinite(rgb).all()


def test_only_visible_bands_count_whatever_their_order() -> None:
    weights = colour.srgb_weights(BAND_GRID)
    assert not weights[:, BAND_GRID > 700.0].any()
    np.testing.assert_allclose(colour.srgb_weights(VISIBLE_BANDS), weights[:, :31])
    np.testing.assert_allclose(colour.srgb_weights(BAND_GRID[::-1]), weights[:, ::-1])


@pytest.mark.parametrize("bands", [[800.0, 900.0], [500.0], [550.0, 550.0], [0.4, 0.5, 0.6]])
def test_bands_without_colour_are_refused(bands: list[float]) -> None:
    with pytest.raises(UserError, match="at least two bands"):
        colour.srgb_weights(bands)


@given(hnp.arrays(np.float32, (61, 2, 2), elements=st.floats(0.0, 1e6, width=32)))
def test_no_spectrum_renders_to_nan(values: np.ndarray) -> None:
    rgb = colour.to_srgb(values, BAND_GRID)
    assert np.isfinite(rgb).all()
    assert rgb.min() >= 0.0
    assert rgb.max() <= 1.0


@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(0.0, 1.0, width=32)))
def test_decoding_undoes_encoding(linear: np.ndarray) -> None:
    np.testing.assert_allclose(colour.decode(colour.encode(linear)), linear, atol=2e-6)


def test_a_zero_spectrum_is_black() -> None:
    assert not colour.to_srgb(np.zeros((61, 2, 2), np.float32), BAND_GRID).any()


def test_a_cube_is_not_changed_by_rendering_it() -> None:
    values = np.linspace(0.0, 1.0, 61 * 4, dtype=np.float32).reshape(61, 2, 2)
    before = values.copy()
    colour.to_srgb(values, BAND_GRID)
    np.testing.assert_array_equal(values, before)


def test_lab_knows_white_black_and_the_primaries() -> None:
    rgb = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    lab = colour.srgb_to_lab(rgb)
    np.testing.assert_allclose(lab[:, 0], [100.0, 0.0, 0.0], atol=0.02)
    np.testing.assert_allclose(lab[:, 1], [0.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(lab[:, 2], [53.24, 80.09, 67.20], atol=0.05)
