import numpy as np
import pytest

from hsengine.base.errors import UserError
from hstasks.images import geotiff, readers

PLACE = geotiff.Place(5, 7, 4, "EPSG:32633", (0.5, 0.0, 400000.0, 0.0, -0.5, 5500000.0), -1.0)


def test_bands_and_place_are_kept(tmp_path):
    pixels = np.arange(4 * 5 * 7, dtype=np.float32).reshape(4, 5, 7)
    file = tmp_path / "tile.tif"
    with geotiff.writing(file, PLACE, 4, "float32", nodata=-1.0) as dataset:
        dataset.write(pixels)
    np.testing.assert_array_equal(readers.read(file), pixels)
    found = geotiff.place(file)
    assert found.transform == PLACE.transform and "32633" in found.crs and found.nodata == -1.0
    assert found.bounds == (400000.0, 5499997.5, 400003.5, 5500000.0)


def test_pixels_that_are_not_square_are_placed(tmp_path):
    place = geotiff.Place(2, 2, 1, "EPSG:4326", (1e-5, 0.0, 15.0, 0.0, -7e-6, 50.0))
    geotiff.write(tmp_path / "a.tif", np.ones((2, 2), np.uint16), place)
    left, bottom, right, top = geotiff.place(tmp_path / "a.tif").bounds
    assert (right - left, top - bottom) == pytest.approx((2e-5, 1.4e-5))


def test_zero_nan_and_the_files_own_value_are_no_data():
    pixels = np.ones((2, 1, 4), np.float32)
    pixels[:, 0, 0], pixels[0, 0, 1], pixels[1, 0, 2] = 0, np.nan, -9
    assert geotiff.validity(pixels, -9.0).tolist() == [[False, False, False, True]]
    pixels = np.array([[[0, 3]], [[0, 0]]], np.uint8)
    assert geotiff.validity(pixels).tolist() == [[False, True]]


def test_labels_are_one_band_of_whole_numbers(tmp_path):
    place = geotiff.Place(2, 3, 1, "", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    geotiff.write(tmp_path / "a.tif", np.full((2, 3), 5, np.uint8), place, palette={5: (1, 2, 3)})
    assert readers.read_labels(tmp_path / "a.tif").tolist() == [[5, 5, 5], [5, 5, 5]]
    assert not geotiff.place(tmp_path / "a.tif").georeferenced
    geotiff.write(tmp_path / "b.tif", np.ones((2, 3), np.float32), place)
    with pytest.raises(UserError, match=r"b\.tif cannot be read as GeoTIFF.*labels"):
        readers.read_labels(tmp_path / "b.tif")


@pytest.mark.parametrize("content", [b"", b"II*\0 not much"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "bad.tif").write_bytes(content)
    for read in (readers.read, geotiff.place):
        with pytest.raises(UserError, match=r"bad\.tif cannot be read as GeoTIFF"):
            read(tmp_path / "bad.tif")
