import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsdata import BAND_GRID
from hsdata.captures.reflectance import converted, scaling, used_bands
from hsdata.formats.capture import Capture
from hsengine.base.errors import UserError

CENTRES = np.arange(380.0, 1021.0, 5.0)


def scene(height: int = 6, width: int = 8, centres: np.ndarray = CENTRES) -> np.ndarray:
    """(bands, height, width) smooth spectra: a straight line over the wavelength, different in each pixel."""
    slopes = np.random.default_rng(0).uniform(0.1, 0.7, (height, width))
    return (0.05 + slopes * (centres[:, None, None] - 300.0) / 1000.0).astype(np.float32)


def take(values: np.ndarray, centres: np.ndarray = CENTRES, **options: object) -> Capture:
    return Capture(values, centres, "capture", **options)  # type: ignore[arg-type]


def whole(capture: Capture) -> tuple[int, int, int, int]:
    return (0, 0, *capture.shape[1:])


def on_grid(height: int = 6, width: int = 8) -> np.ndarray:
    return scene(height, width, BAND_GRID)


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_smooth_spectra_survive_the_resampling(method: str) -> None:
    capture = take(scene())
    found = converted(capture, scaling(capture), whole(capture), resample=method)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.cube.values, on_grid(), atol=2e-3)
    assert found.cube.on_grid()
    assert (found.below, found.above, found.negative, found.invalid) == (0, 0, 0, 0)
    assert found.cube.mask is None


@given(st.permutations(range(len(CENTRES))))
def test_the_order_of_the_bands_does_not_matter(order: list[int]) -> None:
    capture = take(scene(2, 2)[order], CENTRES[order])
    straight = take(scene(2, 2))
    found = converted(capture, scaling(capture), whole(capture))
    expected = converted(straight, scaling(straight), whole(straight)).cube.values
    np.testing.assert_allclose(found.cube.values, expected, atol=1e-6)


def test_bands_of_one_wavelength_are_averaged() -> None:
    values = np.concatenate([scene() - 0.02, scene() + 0.02])
    capture = take(values, np.concatenate([CENTRES, CENTRES]))
    np.testing.assert_allclose(converted(capture, scaling(capture), whole(capture)).cube.values, on_grid(), atol=1e-5)


def test_a_window_is_a_part_of_the_whole() -> None:
    capture = take(scene(100, 8))
    all_of_it = converted(capture, scaling(capture), whole(capture)).cube.values
    part = converted(capture, scaling(capture), (30, 2, 68, 4)).cube.values
    np.testing.assert_allclose(part, all_of_it[:, 30:98, 2:6], atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "factor", "divisor"),
    [("float32", 1.0, 1.0), ("float64", 100.0, 100.0), ("int16", 1e4, 1e4), ("uint8", 255.0, 255.0)],
)
def test_numbers_of_the_usual_types_and_sizes_are_understood(dtype: str, factor: float, divisor: float) -> None:
    capture = take((scene() * factor).astype(dtype))
    scale = scaling(capture)
    assert scale.divisor == divisor
    np.testing.assert_allclose(converted(capture, scale, whole(capture)).cube.values, on_grid(), atol=5e-3)


def test_raw_counts_are_scaled_by_a_percentile_and_it_is_said() -> None:
    capture = take((scene() * 3000).astype(np.uint16))
    scale = scaling(capture)
    assert "99.5th percentile" in scale.text
    assert "raw counts" in scale.text
    assert 0.9 < converted(capture, scale, whole(capture)).cube.values.max() < 1.2
    assert scaling(capture, percentile=50.0).divisor == pytest.approx(np.median(capture.values), rel=1e-6)


def test_what_is_given_goes_before_what_the_file_declares() -> None:
    capture = take((scene() * 5000).astype(np.uint16), scale=5000.0)
    assert scaling(capture).divisor == 5000.0
    assert "declares" in scaling(capture).text
    assert scaling(capture, scale=2.0).divisor == 2.0
    assert "percentile" in scaling(capture, percentile=99.0).text


def test_white_and_dark_references_calibrate_each_column() -> None:
    gain = np.random.default_rng(1).uniform(1000, 3000, (len(CENTRES), 1, 8))
    offset = np.random.default_rng(2).uniform(50, 90, (len(CENTRES), 1, 8))
    capture = take((scene() * gain + offset).astype(np.float32))
    white = take((np.ones((len(CENTRES), 4, 8)) * gain + offset).astype(np.float32))
    dark = take((np.zeros((len(CENTRES), 3, 8)) + offset).astype(np.float32))
    scale = scaling(capture, white=white, dark=dark)
    np.testing.assert_allclose(converted(capture, scale, whole(capture)).cube.values, on_grid(), atol=1e-4)
    right = converted(capture, scale, (0, 2, 6, 4)).cube.values
    np.testing.assert_allclose(right, on_grid()[:, :, 2:6], atol=1e-4)


def test_a_reference_of_another_width_is_taken_as_a_whole() -> None:
    capture = take((scene() * 2000).astype(np.uint16))
    scale = scaling(capture, white=take(np.full((len(CENTRES), 2, 3), 2000, np.uint16)))
    np.testing.assert_allclose(converted(capture, scale, whole(capture)).cube.values, on_grid(), atol=1e-3)


def test_columns_without_light_on_the_reference_are_masked() -> None:
    white = np.ones((len(CENTRES), 2, 8), np.float32)
    white[:, :, 3] = 0
    capture = take(scene())
    found = converted(capture, scaling(capture, white=take(white)), whole(capture))
    assert found.cube.mask is not None
    assert np.flatnonzero(~found.cube.mask.all(axis=0)).tolist() == [3]


def test_references_that_do_not_fit_are_refused() -> None:
    capture = take(scene())
    with pytest.raises(UserError, match=r"has 5 bands"):
        scaling(capture, white=take(np.ones((5, 2, 8), np.float32), CENTRES[:5]))
    with pytest.raises(UserError, match="differ by up to 3 nm"):
        scaling(capture, white=take(scene(), CENTRES + 3))
    with pytest.raises(UserError, match="nowhere brighter"):
        scaling(capture, white=take(scene()), dark=take(scene()))
    with pytest.raises(UserError, match="scale and percentile are given"):
        scaling(capture, scale=1.0, percentile=99.0)
    for wrong in ({"scale": -1.0}, {"percentile": 101.0}):
        with pytest.raises(UserError, match="must be above 0"):
            scaling(capture, **wrong)  # type: ignore[arg-type]


def test_negative_values_are_counted_and_clipped_and_high_ones_kept() -> None:
    values = scene()
    values[:, 0, 0] = -0.25
    values[:, 1, 1] = 1.5
    capture = take(values)
    found = converted(capture, scaling(capture), whole(capture))
    assert (found.below, found.above) == (61, 61)
    assert found.negative == len(used_bands(capture, scaling(capture)))
    assert found.cube.values[:, 0, 0].max() == 0.0
    assert found.cube.values[:, 1, 1].min() == pytest.approx(1.5)


def test_pixels_without_data_are_masked_and_0() -> None:
    values = scene()
    values[10, 0, 0] = np.nan
    values[:, 2, 2] = -9999.0
    mask = np.ones(values.shape[1:], dtype=bool)
    mask[5, 7] = False
    capture = take(values, mask=mask, ignore=-9999.0)
    found = converted(capture, scaling(capture), whole(capture))
    assert found.cube.mask is not None
    assert np.argwhere(~found.cube.mask).tolist() == [[0, 0], [2, 2], [5, 7]]
    assert found.invalid == 3
    assert found.below == 0
    assert (found.cube.values[:, ~found.cube.mask] == 0).all()
    shifted = converted(capture, scaling(capture), (2, 2, 4, 6)).cube.mask
    assert shifted is not None
    assert np.argwhere(~shifted).tolist() == [[0, 0], [3, 5]]


def test_bad_empty_and_unneeded_bands_are_left_out() -> None:
    values = scene()
    values[20] = 0
    values[21] = np.nan
    values[22] = -5
    good = np.ones(len(CENTRES), dtype=bool)
    good[23] = False
    values[23] = 9
    capture = take(values, good=good, ignore=-5.0)
    bands = used_bands(capture, scaling(capture))
    assert not {20, 21, 22, 23} & set(bands.tolist())
    assert CENTRES[bands].min() == 400
    assert CENTRES[bands].max() == 1000
    np.testing.assert_allclose(converted(capture, scaling(capture), whole(capture)).cube.values, on_grid(), atol=1e-4)


def test_the_grid_must_be_measured_unless_extrapolation_is_allowed() -> None:
    keep = (CENTRES >= 420) & (CENTRES <= 950)
    capture = take(scene()[keep], CENTRES[keep])
    with pytest.raises(UserError, match=r"420 to 950 nm were measured"):
        converted(capture, scaling(capture), whole(capture))
    found = converted(capture, scaling(capture), whole(capture), extrapolate=True).cube.values
    np.testing.assert_array_equal(found[0], capture.values[0])
    np.testing.assert_array_equal(found[-1], capture.values[-1])


def test_nothing_above_0_is_refused() -> None:
    with pytest.raises(UserError, match="no number above 0"):
        scaling(take(np.zeros_like(scene())))
