import sys
from pathlib import Path

import numpy as np
import pytest

from hsdata import open_cube
from hsdata.formats import tiff
from hsengine.base.errors import UserError

tifffile = pytest.importorskip("tifffile", reason="the optional package tifffile is absent")

VALUES = np.random.default_rng(0).random((4, 3, 5)).astype(np.float32)
CENTRES = [450.0, 550.0, 650.0, 700.0]


@pytest.mark.parametrize("planes", [True, False])
def test_pages_or_samples_are_the_bands(tmp_path: Path, planes: bool) -> None:
    stored = VALUES if planes else np.ascontiguousarray(np.moveaxis(VALUES, 0, 2))
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=None if planes else "contig")
    (tmp_path / "a_wavelengths.csv").write_text(
        "band,wavelength (nm)\n" + "".join(f"{n},{w}\n" for n, w in enumerate(CENTRES))
    )
    cube = open_cube(tmp_path / "a.tif")
    np.testing.assert_array_equal(cube.values, VALUES)
    assert cube.wavelengths.tolist() == CENTRES


def test_wavelengths_and_missing_data_of_gdal_are_read(tmp_path: Path) -> None:
    items = "".join(f'<Item name="wavelength" sample="{n}">{w / 1000}</Item>' for n, w in enumerate(CENTRES))
    values = VALUES.copy()
    values[:, 0, 0] = -1
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        photometric="minisblack",
        planarconfig="separate",
        metadata=None,
        extratags=[
            (42112, "s", 0, f"<GDALMetadata>{items}<Item name='x'>1</Item></GDALMetadata>", True),
            (42113, "s", 0, "-1", True),
        ],
    )
    found = tiff.load(tmp_path / "a.tif")
    np.testing.assert_allclose(found.centres(), CENTRES)
    assert found.ignore == -1
    assert found.cube().mask is not None


def test_without_wavelengths_a_list_is_asked_for(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", VALUES, photometric="minisblack")
    with pytest.raises(UserError, match="--wavelengths"):
        tiff.load(tmp_path / "a.tif")
    assert tiff.load(tmp_path / "a.tif", wavelengths=np.array(CENTRES)).shape == VALUES.shape


def test_what_is_no_tiff_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no")
    with pytest.raises(UserError, match=r"a\.tif is damaged or no TIFF"):
        tiff.load(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", VALUES[0])
    with pytest.raises(UserError, match="3 axes"):
        tiff.load(tmp_path / "b.tif")


def test_without_tifffile_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(UserError, match="pip install tifffile"):
        tiff.load(tmp_path / "a.tif")
