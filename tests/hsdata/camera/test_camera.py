from pathlib import Path

import numpy as np
import pytest

from hsdata.camera import camera, colour
from hsdata.camera.camera import Camera
from hsdata.cube import BAND_GRID, Cube
from hsdata.formats import hdf5, image, mosaic
from hsdata.testing import smooth_cube
from hsengine.base.errors import UserError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "camera.csv"
    rows = [
        f"{w},{np.exp(-(((w - 610) / 40) ** 2)):.6f},{np.exp(-(((w - 540) / 40) ** 2)):.6f},"
        f"{3 * np.exp(-(((w - 460) / 35) ** 2)):.6f}"
        for w in range(380, 731, 5)
    ]
    path.write_text("# made up\nwavelength,r,g,b\n" + "\n".join(rows) + "\n")
    return path


def test_the_full_picture_is_the_render() -> None:
    cube = smooth_cube(1, 8, 6)
    np.testing.assert_array_equal(camera.rgb_full(cube), colour.to_srgb(cube.values, cube.wavelengths))


def test_the_captures_inputs_are_what_the_camera_sees_of_their_cubes(shared: Path) -> None:
    root = shared / "data" / "hyperobject-real-mini"
    for path in sorted((root / "track2" / "train" / "hsi_61").glob("*.h5"))[::3]:
        cube = hdf5.read(path)
        picture = image.read(root / "track2" / "train" / "rgb_2" / f"{path.stem}.png")
        np.testing.assert_array_equal(image.quantised(camera.rgb_2(cube)), image.quantised(picture))
        plane = mosaic.read(root / "track1" / "train" / "mosaic" / f"{path.stem}.npy")
        np.testing.assert_allclose(camera.mosaic(cube), plane, atol=1e-6)


def test_a_mosaic_samples_rggb() -> None:
    cube = smooth_cube(2, 4, 6)
    rgb, plane = camera.rgb_full(cube), camera.mosaic(cube)
    assert plane.shape == (1, 4, 6)
    np.testing.assert_array_equal(plane[0, 0::2, 0::2], rgb[0, 0::2, 0::2])
    np.testing.assert_array_equal(plane[0, 0::2, 1::2], rgb[1, 0::2, 1::2])
    np.testing.assert_array_equal(plane[0, 1::2, 0::2], rgb[1, 1::2, 0::2])
    np.testing.assert_array_equal(plane[0, 1::2, 1::2], rgb[2, 1::2, 1::2])


def test_the_half_size_picture_averages_encoded_values_or_light() -> None:
    cube = smooth_cube(3, 4, 4)
    full = camera.rgb_full(cube)
    squares = full.reshape(3, 2, 2, 2, 2)
    np.testing.assert_allclose(camera.rgb_2(cube), squares.mean(axis=(2, 4)), atol=1e-6)
    light = colour.encode(colour.decode(full).reshape(3, 2, 2, 2, 2).mean(axis=(2, 4)))
    np.testing.assert_allclose(Camera(linear=True).rgb_2(cube), light, atol=1e-5)
    np.testing.assert_allclose(Camera(linear=True).mosaic(cube), colour.decode(camera.mosaic(cube)), atol=1e-5)


def test_a_cameras_white_is_white(table: Path) -> None:
    own = Camera.from_csv(table)
    white = Cube(np.ones((61, 2, 2), np.float32), BAND_GRID)
    np.testing.assert_allclose(own.rgb_full(white), 1.0, atol=1e-5)
    half = Cube(white.values * 0.5, BAND_GRID)
    np.testing.assert_allclose(own.linear_rgb(half.values, BAND_GRID), 0.5, atol=1e-5)


def test_a_cameras_response_decides_what_it_sees(table: Path) -> None:
    red = np.where(BAND_GRID > 580.0, 0.9, 0.1)[:, None, None] * np.ones((61, 2, 2))
    r, g, b = Camera.from_csv(table).rgb_full(Cube(red.astype(np.float32), BAND_GRID))[:, 0, 0]
    assert r > g > b


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wavelength,r,g\n400,1,1\n", "lacks b"),
        ("wavelength,r,g,b\n400,1,1,x\n410,1,1,1\n", "other than numbers"),
        ("wavelength,r,g,b\n400,1,1\n410,1,1,1\n", "other than numbers"),
        ("wavelength,r,g,b\n400,1,1,nan\n410,1,1,1\n", "finite"),
        ("wavelength,r,g,b\n400,1,1,1\n", "two or more"),
        ("", "lacks wavelength"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        Camera.from_csv(path)
    assert "bad.csv" in str(caught.value)


def test_a_camera_and_a_cube_of_different_ranges_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "micrometres.csv"
    path.write_text("wavelength,r,g,b\n0.4,1,1,1\n0.7,1,1,1\n")
    with pytest.raises(UserError, match="in nm"):
        Camera.from_csv(path).rgb_full(smooth_cube(1))


@pytest.mark.parametrize("shape", [(3, 4), (4, 5)])
@pytest.mark.parametrize("take", [camera.rgb_2, camera.mosaic])
def test_odd_sizes_are_refused(shape: tuple[int, int], take) -> None:
    with pytest.raises(UserError, match="even height"):
        take(smooth_cube(1, *shape))
