from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsdata import Cube, open_cube
from hsdata.formats import envi
from hsengine.base.errors import UserError

VALUES = np.arange(4 * 3 * 5).reshape(4, 3, 5)  # (bands, lines, samples)
WAVELENGTHS = [450.0, 550.0, 650.5, 700.0]


def save(
    folder: Path,
    values: np.ndarray = VALUES,
    *,
    interleave: str = "bsq",
    code: int = 4,
    dtype: str = "<f4",
    offset: int = 0,
    extra: str = "",
    suffix: str = ".img",
    cut: int = 0,
) -> Path:
    """Write an ENVI pair by hand, independently of the module under test."""
    axes = {"bsq": "bls", "bil": "lbs", "bip": "lsb"}[interleave]
    content = b"x" * offset + np.einsum(f"bls->{axes}", values).astype(dtype).tobytes()
    (folder / f"c{suffix}").write_bytes(content[: len(content) - cut])
    bands, lines, samples = values.shape
    (folder / "c.hdr").write_text(
        f"ENVI\ndescription = {{ made here,\n  x = 3 }}\nsamples = {samples}\nlines   = {lines}\nbands = {bands}\n"
        f"header offset = {offset}\nfile type = ENVI Standard\ndata type = {code}\ninterleave = {interleave.upper()}\n"
        f"byte order = {int(dtype.startswith('>'))}\n{extra}"
    )
    return folder / "c.hdr"


LIST = "wavelength = {450, 550,\n 650.5, 700}\n"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    interleave=st.sampled_from(["bsq", "bil", "bip"]),
    code=st.sampled_from(
        [(1, "u1"), (2, "i2"), (3, "i4"), (4, "f4"), (5, "f8"), (12, "u2"), (13, "u4"), (14, "i8"), (15, "u8")]
    ),
    order=st.sampled_from("<>"),
    offset=st.sampled_from([0, 7]),
    suffix=st.sampled_from(["", ".raw", ".img", ".dat", ".bil", ".bin", ".RAW"]),
)
def test_every_interleave_type_and_byte_order_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    interleave: str,
    code: tuple[int, str],
    order: str,
    offset: int,
    suffix: str,
) -> None:
    folder = tmp_path_factory.mktemp("envi")
    header = save(
        folder, interleave=interleave, code=code[0], dtype=order + code[1], offset=offset, suffix=suffix, extra=LIST
    )
    capture = envi.load(header)
    np.testing.assert_array_equal(capture.values, VALUES)
    np.testing.assert_array_equal(open_cube(header).values, VALUES.astype(np.float32))
    assert capture.wavelengths is not None
    assert capture.wavelengths.tolist() == WAVELENGTHS


@pytest.mark.parametrize("units", ["Micrometers", "um", "µm", "Unknown", None])
def test_wavelengths_in_micrometres_come_in_nm(tmp_path: Path, units: str | None) -> None:
    extra = "wavelength = {0.45, 0.55, 0.6505, 0.7}\n" + (f"wavelength units = {units}\n" if units else "")
    capture = envi.load(save(tmp_path, extra=extra))
    assert capture.wavelengths is not None
    np.testing.assert_allclose(capture.wavelengths, WAVELENGTHS)
    assert any("µm" in note for note in capture.notes) == (units in ("Unknown", None))


def test_the_declared_scale_bad_bands_and_ignore_value_are_kept(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[:, 1, 2] = -1
    extra = LIST + "reflectance scale factor = 100.0\nbbl = {1, 0, 1, 1}\ndata ignore value = -1\n"
    header = save(tmp_path, values, code=2, dtype="<i2", extra=extra)
    capture = envi.load(header)
    assert capture.scale == 100.0
    assert capture.good is not None
    assert capture.good.tolist() == [True, False, True, True]
    cube = envi.read(header)
    assert cube.mask is not None
    assert np.argwhere(~cube.mask).tolist() == [[1, 2]]
    np.testing.assert_allclose(cube.values[:, cube.mask], values[:, cube.mask] / 100.0, rtol=1e-6)
    assert (cube.values[:, 1, 2] == 0).all()


def test_the_data_are_mapped_not_read(tmp_path: Path) -> None:
    base = envi.load(save(tmp_path, interleave="bil", extra=LIST)).values.base
    assert isinstance(base, np.memmap)


def test_the_data_file_can_be_named_instead_of_the_header(tmp_path: Path) -> None:
    save(tmp_path, extra=LIST)
    np.testing.assert_array_equal(open_cube(tmp_path / "c.img").values, VALUES)


def test_a_header_named_after_the_whole_file_is_found(tmp_path: Path) -> None:
    save(tmp_path, extra=LIST).rename(tmp_path / "c.img.hdr")
    np.testing.assert_array_equal(open_cube(tmp_path / "c.img").values, VALUES)
    np.testing.assert_array_equal(open_cube(tmp_path / "c.img.hdr").values, VALUES)


def test_comments_and_other_entries_do_not_disturb(tmp_path: Path) -> None:
    extra = "; wavelength = {1}\nmap info = {UTM, 1.0, 1.0}\nband names = {\n a (1 = x),\n b, c, d}\n" + LIST
    capture = envi.load(save(tmp_path, extra=extra))
    assert capture.wavelengths is not None
    assert capture.wavelengths.tolist() == WAVELENGTHS


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("masked", [False, True])
def test_what_is_written_is_read_back(tmp_path: Path, interleave: envi.Interleave, masked: bool) -> None:
    mask = np.ones((3, 5), dtype=bool)
    mask[0, 1] = not masked
    cube = Cube(
        (VALUES / 7).astype(np.float32), np.array([400.0, 410.123456, 500, 1000]), mask=mask if masked else None
    )
    header, data = envi.write(tmp_path / "out.hdr", cube, interleave=interleave, description="a {cube}")
    assert data.name == "out.img"
    back = open_cube(header)
    np.testing.assert_array_equal(back.values[:, mask], cube.values[:, mask])
    np.testing.assert_allclose(back.wavelengths, cube.wavelengths, atol=1e-6)
    assert (back.mask is not None) == masked
    if masked:
        np.testing.assert_array_equal(back.mask, mask)


def test_truncated_data_are_named_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"c\.img has 230 bytes but .*c\.hdr describes 240"):
        envi.load(save(tmp_path, extra=LIST, cut=10))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("samples = 5", "samples = five", "'samples = five' is not a number"),
        ("samples = 5", "", "no entry 'samples'"),
        ("bands = 4", "bands = 0", "not a positive whole number"),
        ("data type = 4", "data type = 9", "complex"),
        ("data type = 4", "data type = 77", "data type 77 is not one of"),
        ("interleave = BSQ", "interleave = xyz", "interleave 'xyz'"),
        ("{450, 550,", "{450,", "'wavelength' lists 3 numbers for 4 bands"),
        ("{450, 550,", "{450, green,", "not a number"),
        ("ENVI\n", "Erdas\n", "first line must be 'ENVI'"),
        ("byte order", "wavelength units = GHz\nbyte order", "wavelengths in 'GHz'"),
    ],
)
def test_a_bad_header_is_explained(tmp_path: Path, old: str, new: str, message: str) -> None:
    header = save(tmp_path, extra=LIST)
    header.write_text(header.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        envi.load(header)


def test_a_missing_partner_is_named(tmp_path: Path) -> None:
    header = save(tmp_path, extra=LIST)
    (tmp_path / "c.img").rename(tmp_path / "d.img")
    with pytest.raises(UserError, match=r"c\.hdr: one file of data named c must lie beside.*none"):
        envi.load(header)
    with pytest.raises(UserError, match=r"d\.hdr is missing"):
        envi.load(tmp_path / "d.img")
    (tmp_path / "c.img").touch()
    (tmp_path / "c.bil").touch()
    with pytest.raises(UserError, match=r"several: c\.bil, c\.img"):
        envi.load(header)


def test_without_wavelengths_a_list_is_asked_for(tmp_path: Path) -> None:
    header = save(tmp_path)
    with pytest.raises(UserError, match="--wavelengths"):
        envi.read(header)
    assert envi.load(header, wavelengths=np.array(WAVELENGTHS)).cube().wavelengths.tolist() == WAVELENGTHS


def test_the_corn_kernel_is_read(shared: Path) -> None:
    capture = envi.load(shared / "data/sensors/corn/corn-kernel-hyperspectral.hdr")
    assert capture.shape == (580, 31, 43)
    assert capture.values.dtype == np.uint16
    assert capture.centres()[[0, -1]].tolist() == [366.551, 1048.421]
