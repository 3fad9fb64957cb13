import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hstasks.lenses import cutout, open_cutout
from hstasks.lenses.layout import SIDE
from hstasks.lenses.sky import released

IMAGE = np.random.default_rng(0).standard_normal((SIDE, SIDE))


def training(band: str = "g") -> bytes:
    return released.training_file("Lens ID", "00012345678901234", band, IMAGE)


def test_every_odd_file_is_read_or_refused_as_expected(shared: Path) -> None:
    folder = shared / "data" / "lens-mini" / "reader"
    expected = json.loads((folder / "expected.json").read_text())
    assert len(expected) == 31
    for name, wanted in expected.items():
        try:
            image, header = open_cutout(folder / name)
        except UserError as error:
            assert wanted["result"] != "image", name
            assert name in str(error)
            continue
        assert wanted["result"].startswith("image"), name
        assert image.shape[1:] == (SIDE, SIDE) and image.dtype == np.float32 and image.dtype.isnative
        if "finite" in wanted:
            finite = np.isfinite(image)
            assert finite.sum() == wanted["finite"] == image.size - header["nonfinite"]
            tolerance = 1e-6 + wanted["tolerance"] * 1681
            assert image[finite].sum(dtype=np.float64) == pytest.approx(wanted["sum"], abs=tolerance)
            np.testing.assert_allclose(image.ravel()[:3], wanted["first"], rtol=1e-6)


def test_the_fast_path_reads_what_astropy_reads(shared: Path) -> None:
    root = shared / "data" / "lens-mini"
    for path in (*sorted((root / "hsc_lenses").rglob("D2_*_z.fits")), *sorted((root / "test").glob("*_r.fits"))):
        content = path.read_bytes()
        fast, slow = cutout._released(content), cutout._any(path, content)
        assert fast is not None
        np.testing.assert_array_equal(fast[0], slow[0])
        assert fast[1] == slow[1]


def test_an_id_of_17_digits_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "D2_L_00000001_g.fits"
    path.write_bytes(training())
    image, header = open_cutout(path)
    np.testing.assert_array_equal(image[0], IMAGE.astype(np.float32))
    assert header["id"] == header["Lens ID"] == "00012345678901234"
    assert header["band"] == "g"
    path.with_suffix(".fits.gz").write_bytes(gzip.compress(training()))
    np.testing.assert_array_equal(open_cutout(path.with_suffix(".fits.gz"))[0], image)


def test_a_card_that_the_fast_path_does_not_know_is_left_to_astropy(tmp_path: Path) -> None:
    end, scaled = b"END".ljust(80), b"TSCAL2  =                  2.0".ljust(80)
    head, table = training("r")[:2880], training("r")[2880:]
    (tmp_path / "D1_N_00000000_r.fits").write_bytes(head + table.replace(end + b" " * 80, scaled + end))
    image, header = open_cutout(tmp_path / "D1_N_00000000_r.fits")
    np.testing.assert_allclose(image[0], 2.0 * IMAGE, rtol=1e-6)
    assert (header["id"], header["band"], header["TSCAL2"]) == ("00012345678901234", "r", 2.0)


def test_integers_with_scale_and_blank_become_numbers_and_nan(tmp_path: Path) -> None:
    stored = np.arange(1681, dtype=np.int16).reshape(SIDE, SIDE)
    part = fits.PrimaryHDU(stored)
    part.header["BSCALE"], part.header["BZERO"], part.header["BLANK"] = 0.25, 10.0, 5
    part.writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update", do_not_scale_image_data=True) as parts:
        parts[0].header["BSCALE"], parts[0].header["BZERO"], parts[0].header["BLANK"] = 0.25, 10.0, 5
    image, header = open_cutout(tmp_path / "a.fits")
    assert header["nonfinite"] == 1 and np.isnan(image[0, 0, 5])
    assert image[0, 0, 8] == 12.0


def test_one_table_may_hold_all_bands(tmp_path: Path) -> None:
    columns = [fits.Column(name=f"band_{band}", format="1681E", dim="(41,41)", array=[IMAGE]) for band in "yzirg"]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "D1_N_00000000_r.fits")
    image, header = open_cutout(tmp_path / "D1_N_00000000_r.fits")
    assert image.shape == (5, SIDE, SIDE) and header["band"] == "grizy"


@pytest.mark.parametrize("value", [b"\0\0T", b"1.5", b"nan", b"T9"])
def test_a_value_that_no_release_has_is_read_by_astropy_or_refused(value: bytes, tmp_path: Path) -> None:
    content = released.blind_file(IMAGE)
    card = next(content[start : start + 80] for start in range(0, 2880, 80) if content[start:].startswith(b"EXTEND"))
    (tmp_path / "object_00001_g.fits").write_bytes(content.replace(card, card[:10] + value.rjust(20) + b" " * 50))
    try:
        image, _ = open_cutout(tmp_path / "object_00001_g.fits")
    except UserError:
        return
    np.testing.assert_allclose(image[0], IMAGE, rtol=1e-6)


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "half", "gzip"])
def test_a_damaged_file_is_named_by_object_and_band(tmp_path: Path, damage: str) -> None:
    path = tmp_path / ("D1_L_00000003_g.fits" + (".gz" if damage == "gzip" else ""))
    content = {"empty": b"", "text": b"nothing", "half": training()[:9000], "gzip": gzip.compress(training())[:-30]}
    if damage != "missing":
        path.write_bytes(content[damage])
    with pytest.raises(UserError, match=r"D1_L_00000003 band g .*D1_L_00000003_g\.fits"):
        open_cutout(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_bytes_end_in_an_image_or_a_message(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([training(), released.blind_file(IMAGE)])))
    for place in data.draw(st.lists(st.integers(0, 6000), min_size=1, max_size=12)):
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    (tmp_path / "D1_L_00000003_g.fits").write_bytes(content[:cut] if data.draw(st.booleans()) else content)
    try:
        image, _ = open_cutout(tmp_path / "D1_L_00000003_g.fits")
    except UserError:
        return
    assert image.shape[1:] == (SIDE, SIDE)


def test_constant_corners_are_found_and_noise_is_not() -> None:
    assert not cutout.constant_corners(IMAGE).any()
    rows, columns = np.mgrid[:SIDE, :SIDE]
    corner = (rows + columns < 9) | (rows - columns > 34)
    np.testing.assert_array_equal(cutout.constant_corners(np.where(corner, 0.25, IMAGE)), corner)
    assert cutout.constant_corners(np.zeros((SIDE, SIDE))).all()
