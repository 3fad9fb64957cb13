from pathlib import Path

import numpy as np
import pytest
import scipy.io

from hsdata import BAND_GRID, Cube
from hsdata.captures.info import describe
from hsdata.formats import envi, hdf5
from hsengine.base.errors import UserError

VALUES = np.random.default_rng(0).uniform(0.01, 0.9, (61, 4, 6)).astype(np.float32)


def test_nothing_is_odd_about_a_cube_of_the_project(tmp_path: Path) -> None:
    hdf5.write(tmp_path / "a.h5", Cube(VALUES, BAND_GRID))
    found = describe(tmp_path / "a.h5")
    assert found.odd == []
    assert found.facts["shape"] == "61 bands, 4 x 6 pixels"
    assert found.facts["wavelengths"] == "400 to 1000 nm in steps of 10 nm"
    assert found.facts["band grid"] == "matches"
    assert str(found).endswith("nothing odd")


def odd_of(path: Path, values: np.ndarray, wavelengths: np.ndarray) -> str:
    scipy.io.savemat(path / "a.mat", {"data": np.moveaxis(values, 0, 2), "wl": wavelengths})
    return "\n".join(describe(path / "a.mat").odd)


def test_odd_values_are_counted(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[0, 0, 0] = np.nan
    values[:2, 1, 1] = -0.1
    values[:, 2, 2] = 1.5
    values[:, 3, 3] = 0
    text = odd_of(tmp_path, values, BAND_GRID)
    assert "1 values are NaN or infinite" in text
    assert "2 values are negative" in text
    assert "61 values are above 1" in text
    assert "61 values are exactly 0" in text
    assert "1 pixels are marked as without data" in text
    assert "2 pixels have the same value in all bands" in text


@pytest.mark.parametrize(
    ("wavelengths", "text"),
    [
        (BAND_GRID[::-1], "run backwards"),
        (np.roll(BAND_GRID, 5), "step back 1 times, first from 1000 to 400 nm"),
        (np.where(BAND_GRID == 500, 510, BAND_GRID), "1 bands have the wavelength of another one"),
        (np.where(BAND_GRID > 700, BAND_GRID + 100, BAND_GRID), "a gap in the bands from 700 to 810 nm"),
        (BAND_GRID + 20, "does not measure all of 400 to 1000 nm"),
        (np.linspace(390, 1010, 61), "other bands than the 61"),
        (np.where(BAND_GRID == 500, np.nan, BAND_GRID), "1 wavelengths are not finite numbers above 0"),
        (np.where(BAND_GRID == 400, 0.0, BAND_GRID), "1 wavelengths are not finite numbers above 0"),
        (np.full_like(BAND_GRID, np.inf), "none of its 61 wavelengths is a finite number above 0"),
    ],
)
def test_odd_wavelengths_are_named(tmp_path: Path, wavelengths: np.ndarray, text: str) -> None:
    assert text in odd_of(tmp_path, VALUES, wavelengths)


def test_scaled_numbers_odd_sizes_and_bad_bands_are_named(tmp_path: Path) -> None:
    text = odd_of(tmp_path, (VALUES[:, :3] * 10000).astype(np.int16), BAND_GRID)
    assert "not reflectance" in text
    assert "odd height or width" in text
    header, _ = envi.write(tmp_path / "b.hdr", Cube(VALUES, BAND_GRID))
    header.write_text(header.read_text() + "bbl = {" + ",".join(["0"] + ["1"] * 60) + "}\n")
    assert "1 bands are declared bad" in describe(header).odd


def test_a_file_that_cannot_be_used_as_it_is_says_why(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    found = describe(tmp_path / "a.npy")
    assert "no wavelengths" in found.odd[0]
    assert "numpy" in found.facts["format"]
    (tmp_path / "l.txt").write_text("\n".join(map(str, BAND_GRID)))
    assert describe(tmp_path / "a.npy", wavelengths_file=tmp_path / "l.txt").odd == []
    header, _ = envi.write(tmp_path / "b.hdr", Cube(VALUES, BAND_GRID))
    header.write_text(header.read_text().partition("wavelength units")[0])
    assert describe(header).odd == ["no wavelengths: give a list of them"]


def test_a_file_of_zeros_or_of_nothing_is_described(tmp_path: Path) -> None:
    assert "no number above 0" in odd_of(tmp_path, np.zeros_like(VALUES), BAND_GRID)
    assert "no value is finite" in odd_of(tmp_path, np.full_like(VALUES, np.nan), BAND_GRID)


def test_what_is_missing_or_unknown_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cube at"):
        describe(tmp_path / "a.mat")
    (tmp_path / "a.doc").touch()
    with pytest.raises(UserError, match="no reader"):
        describe(tmp_path / "a.doc")


def test_what_is_odd_about_the_real_captures_is_found(shared: Path) -> None:
    sensors = shared / "data/sensors"
    aviris = describe(sensors / "aviris/a_hsi_img_for_VI_demo.mat")
    assert any("not in order" in text for text in aviris.odd)
    assert "10000" in aviris.facts["likely scale"]
    muufl = describe(sensors / "muufl/an_hsi_image_sub_for_demo.mat").odd
    assert any("23,950 values are negative" in text for text in muufl)
    assert any("604 pixels are marked as without data" in text for text in muufl)
    assert "raw counts" in describe(sensors / "corn/corn-kernel-hyperspectral.raw").facts["likely scale"]
