import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from hsdata.camera.resize import bilinear, taps

SIDE = st.integers(1, 9)


@given(SIDE, SIDE, SIDE, SIDE)
def test_it_agrees_with_interpolation_between_pixel_centres(height, width, new_height, new_width):
    values = np.random.default_rng(0).random((2, height, width), dtype=np.float32)
    rows = (np.arange(new_height) + 0.5) * height / new_height - 0.5
    columns = (np.arange(new_width) + 0.5) * width / new_width - 0.5
    places = np.meshgrid(rows, columns, indexing="ij")
    expected = np.stack([map_coordinates(plane, places, order=1, mode="nearest") for plane in values])
    np.testing.assert_allclose(bilinear(values, new_height, new_width), expected, atol=1e-5)


def test_the_same_size_is_the_same_image():
    values = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    assert np.array_equal(bilinear(values, 4, 5), values)


def test_rows_can_be_made_from_the_rows_under_them_alone():
    values = np.random.default_rng(0).random((2, 9, 3), dtype=np.float32)
    part = taps(9, 6)[2:5]
    low = int(part.low.min())
    strip = values[:, low : int(part.high.max()) + 1]
    assert np.array_equal(part.shifted(-low).apply(strip, 1), bilinear(values, 6, 3)[:, 2:5])
