from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from hsdata import open_cube
from hsdata.formats import matlab
from hsengine.base.errors import UserError

IMAGE = np.random.default_rng(0).random((3, 5, 4))  # (height, width, bands), as MATLAB users have it
CENTRES = np.array([450.0, 550.0, 650.0, 700.0])


def save_7_3(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """As MATLAB writes: axes reversed, a block of text before the HDF5 content."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array).T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))
    return path


def test_version_5_is_read(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"data": IMAGE, "wl": CENTRES[:, None]})
    cube = open_cube(tmp_path / "a.mat")
    np.testing.assert_array_equal(cube.values, np.moveaxis(IMAGE, 2, 0).astype(np.float32))
    assert cube.wavelengths.tolist() == CENTRES.tolist()


def test_version_7_3_is_read_with_its_axes_in_matlabs_order(tmp_path: Path) -> None:
    mask = np.ones((3, 5))
    mask[0, 4] = 0
    cube = open_cube(save_7_3(tmp_path / "a.mat", {"data": IMAGE, "wl": CENTRES[:, None], "mask": mask}))
    assert cube.mask is not None
    np.testing.assert_array_equal(cube.mask, mask > 0)
    np.testing.assert_array_equal(cube.values[:, cube.mask], np.moveaxis(IMAGE, 2, 0).astype(np.float32)[:, cube.mask])


def test_fields_of_structures_are_found(tmp_path: Path) -> None:
    structure = {"hsi": {"Data": IMAGE, "info": {"wavelength": CENTRES, "name": "here"}}, "n": 3}
    scipy.io.savemat(tmp_path / "a.mat", structure)
    found = matlab.load(tmp_path / "a.mat")
    assert found.shape == (4, 3, 5)
    assert "image: 'hsi.Data'" in found.notes
    groups = save_7_3(tmp_path / "b.mat", {"hsi/Data": IMAGE, "hsi/info/wavelength": CENTRES[None]})
    np.testing.assert_array_equal(matlab.load(groups, variable="hsi.Data").values, found.values)


def test_an_image_of_one_line_is_read(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"data": IMAGE[:1], "wl": CENTRES})
    assert matlab.load(tmp_path / "a.mat").shape == (4, 1, 5)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"data": IMAGE, "wl": CENTRES})
    content = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(content[: len(content) // 2])
    (tmp_path / "b.mat").write_text("not MATLAB")
    (tmp_path / "c.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    for name in "abc":
        with pytest.raises(UserError, match=rf"{name}\.mat"):
            matlab.load(tmp_path / f"{name}.mat")


def test_the_airborne_captures_are_read(shared: Path) -> None:
    sensors = shared / "data/sensors"
    aviris = matlab.load(sensors / "aviris/a_hsi_img_for_VI_demo.mat")
    assert aviris.shape == (224, 90, 90)
    assert (np.diff(aviris.centres()) < 0).any()
    muufl = matlab.load(sensors / "muufl/an_hsi_image_sub_for_demo.mat")
    assert muufl.shape == (72, 51, 88)
    assert muufl.mask is not None
    assert int((~muufl.mask).sum()) == 604
