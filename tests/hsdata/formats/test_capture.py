from pathlib import Path

import h5py
import numpy as np
import pytest

from hsdata import formats
from hsdata.cube import Cube
from hsdata.formats import capture, hdf5, zarr
from hsengine.base.errors import UserError

VALUES = np.random.default_rng(0).random((4, 3, 5)).astype(np.float32)  # (bands, height, width)
CENTRES = np.array([450.0, 550.0, 650.0, 700.0])


def arrays(**more: np.ndarray) -> dict[str, np.ndarray]:
    return {"img": np.moveaxis(VALUES, 0, 2), "wavelengths": CENTRES, **more}


@pytest.mark.parametrize("order", capture.AXES)
def test_the_axis_as_long_as_the_wavelengths_holds_the_bands(order: str) -> None:
    stored = {"b": "bands", "h": "height", "w": "width"}
    letters = "".join(next(k for k, v in stored.items() if v == axis) for axis in order.split(","))
    found = capture.assemble({"img": np.einsum(f"bhw->{letters}", VALUES), "wl": CENTRES}, "f")
    np.testing.assert_array_equal(found.values, VALUES)


def test_ambiguous_axes_are_asked_for_never_guessed() -> None:
    cubic = {"img": np.zeros((4, 5, 4)), "wl": CENTRES}
    with pytest.raises(UserError, match=r"more than one axis.*--axes"):
        capture.assemble(cubic, "f")
    assert capture.assemble(cubic, "f", axes="bands,height,width").shape == (4, 5, 4)
    with pytest.raises(UserError, match="no axis"):
        capture.assemble({"img": np.zeros((3, 5, 6)), "wl": CENTRES}, "f", wavelengths=CENTRES)
    with pytest.raises(UserError, match="axes: 'x'"):
        capture.assemble(cubic, "f", axes="x")


@pytest.mark.parametrize(
    "name", ["wavelengths", "Wavelength_nm", "wl", "info.lambda", "a/wvl", "BandCenters", "hsi_wavelength"]
)
def test_wavelengths_are_found_by_their_usual_names(name: str) -> None:
    found = capture.assemble({"img": np.moveaxis(VALUES, 0, 2), "spectra": CENTRES * 0, name: CENTRES[:, None]}, "f")
    assert found.centres().tolist() == CENTRES.tolist()


def test_an_image_without_wavelengths_needs_a_list() -> None:
    with pytest.raises(UserError, match=r"shape \(3, 5, 4\) but no wavelengths"):
        capture.assemble({"img": np.moveaxis(VALUES, 0, 2), "bands": CENTRES}, "f")
    found = capture.assemble({"img": np.moveaxis(VALUES, 0, 2)}, "f", wavelengths=[0.45, 0.55, 0.65, 0.7])
    np.testing.assert_allclose(found.centres(), CENTRES)
    assert any("µm" in note for note in found.notes)


def test_the_image_is_the_array_with_three_axes_or_the_named_one() -> None:
    with pytest.raises(UserError, match=r"more than one image \(a .*b .*--variable"):
        capture.assemble({"a": np.zeros((3, 5, 4)), "b": np.zeros((3, 5, 4)), "wl": CENTRES}, "f")
    named = capture.assemble({"a": np.zeros((3, 5, 4)), "b": np.ones((3, 5, 4)), "wl": CENTRES}, "f", variable="b")
    assert named.values.min() == 1
    # A colour picture beside it has no axis for the bands.
    assert capture.assemble(arrays(rgb=np.zeros((3, 5, 3))), "f").shape == VALUES.shape
    with pytest.raises(UserError, match="no image"):
        capture.assemble({"wl": CENTRES}, "f")
    with pytest.raises(UserError, match=r"no variable 'x'; it holds: img \(3, 5, 4\)"):
        capture.assemble(arrays(), "f", variable="x")


def test_a_mask_is_found_by_name_and_shape() -> None:
    mask = np.ones((3, 5), dtype=np.uint8)
    mask[0, 0] = 0
    found = capture.assemble(arrays(mask_sub=mask, truth=mask), "f")
    assert found.mask is not None
    assert np.argwhere(~found.mask).tolist() == [[0, 0]]
    assert capture.assemble(arrays(mask_a=mask, mask_b=mask), "f").mask is None
    assert capture.assemble(arrays(mask_a=mask, mask_b=mask), "f", mask="mask_b").mask is not None
    assert capture.assemble(arrays(mask=mask.T), "f").mask is None
    with pytest.raises(UserError, match="no mask 'm'"):
        capture.assemble(arrays(), "f", mask="m")


def test_pixels_without_data_are_masked_and_zero_in_the_cube() -> None:
    values = VALUES.copy()
    values[0, 0, 0] = np.nan
    values[:, 1, 1] = -9
    values[2, 2, 2] = 0
    cube = capture.Capture(values, CENTRES, "f", ignore=-9).cube()
    assert cube.mask is not None
    assert np.argwhere(~cube.mask).tolist() == [[0, 0], [1, 1]]
    assert (cube.values[:, ~cube.mask] == 0).all()
    # A pixel that is 0 in one band is dark there, not absent.
    assert capture.Capture(np.nan_to_num(values), CENTRES, "f", ignore=0).cube().mask is None


def test_images_of_other_than_real_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="complex"):
        capture.Capture(np.zeros((2, 3, 4), dtype=complex), None, "f")
    with pytest.raises(UserError, match="2 bands but 4 wavelengths"):
        capture.Capture(np.zeros((2, 3, 4)), CENTRES, "f")


def test_hdf5_with_other_names_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("scene")
        group["reflectance"] = np.moveaxis(VALUES, 0, 2)
        group["reflectance"].attrs["wavelength"] = CENTRES
    found = formats.load(tmp_path / "a.h5")
    np.testing.assert_array_equal(found.values, VALUES)
    assert found.centres().tolist() == CENTRES.tolist()


def test_the_projects_own_files_are_read(tmp_path: Path) -> None:
    cube = Cube(np.moveaxis(VALUES, 0, 1).repeat(2, axis=1)[:3, :4], CENTRES[:3])
    hdf5.write(tmp_path / "a.h5", cube)
    zarr.write(tmp_path / "a.zarr", cube)
    for name in ("a.h5", "a.zarr"):
        np.testing.assert_array_equal(formats.load(tmp_path / name).values, cube.values)


def test_a_cube_whose_sides_equal_its_bands_is_read_by_its_stated_axes(tmp_path: Path) -> None:
    cube = Cube(np.random.default_rng(1).random((4, 4, 4)).astype(np.float32), CENTRES)
    hdf5.write(tmp_path / "a.h5", cube)
    np.testing.assert_array_equal(formats.load(tmp_path / "a.h5").values, cube.values)


def test_options_that_do_not_apply_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no reader for '\.xyz'"):
        formats.load(tmp_path / "a.xyz")
    with pytest.raises(UserError, match="no cube at"):
        formats.load(tmp_path / "a.mat")
    (tmp_path / "a.hdr").touch()
    with pytest.raises(UserError, match=r"'variable' does not apply to \.hdr"):
        formats.load(tmp_path / "a.hdr", variable="x")
    with pytest.raises(UserError, match="'variable' does not apply to URLs"):
        formats.load("http://127.0.0.1/a.h5", variable="x")


def test_damaged_hdf5_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UserError, match=r"a\.h5 is truncated"):
        formats.load(tmp_path / "a.h5")
