from pathlib import Path

import numpy as np
import pytest

from hsdata import BAND_GRID, Cube, open_cube
from hsdata.captures.exporter import export_cubes
from hsdata.formats import envi, hdf5, zarr
from hsengine.base.errors import UserError

CUBE = Cube(np.random.default_rng(0).random((61, 4, 6)).astype(np.float32), BAND_GRID)


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_cubes_of_any_format_come_out_unchanged(tmp_path: Path, interleave: envi.Interleave) -> None:
    hdf5.write(tmp_path / "a.h5", CUBE)
    zarr.write(tmp_path / "b.zarr", CUBE)
    headers = export_cubes([tmp_path / "a.h5", tmp_path / "b.zarr"], tmp_path / "out", interleave=interleave)
    assert [header.name for header in headers] == ["a.hdr", "b.hdr"]
    for header in headers:
        back = open_cube(header)
        np.testing.assert_array_equal(back.values, CUBE.values)
        np.testing.assert_array_equal(back.wavelengths, BAND_GRID)


def test_a_single_cube_can_go_to_a_named_header(tmp_path: Path) -> None:
    hdf5.write(tmp_path / "a.h5", CUBE)
    (header,) = export_cubes([tmp_path / "a.h5"], tmp_path / "x.hdr")
    assert header == tmp_path / "x.hdr"
    assert header.is_file()


def test_two_cubes_never_share_a_place(tmp_path: Path) -> None:
    for name in ("p/a.h5", "q/a.h5"):
        hdf5.write(tmp_path / name, CUBE)
    sources = [tmp_path / "p/a.h5", tmp_path / "q/a.h5"]
    with pytest.raises(UserError, match=r"Two cubes would be written to a\.hdr"):
        export_cubes(sources, tmp_path / "out")
    with pytest.raises(UserError, match="name a folder"):
        export_cubes(sources, tmp_path / "x.hdr")
    with pytest.raises(UserError, match="at least one"):
        export_cubes([], tmp_path)
    export_cubes(sources[:1], tmp_path / "out")
    with pytest.raises(UserError, match="replaced by its own export"):
        export_cubes([tmp_path / "out/a.hdr"], tmp_path / "out")


@pytest.mark.parametrize("name", ["a.hdr", "a.img"])
def test_an_image_of_another_program_is_not_replaced(tmp_path: Path, name: str) -> None:
    hdf5.write(tmp_path / "a.h5", CUBE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("ENVI\ndescription = {mine}\n")
    with pytest.raises(UserError, match=f"{name} was not written by 'hsdata export'"):
        export_cubes([tmp_path / "a.h5"], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_an_export_may_be_made_again(tmp_path: Path) -> None:
    hdf5.write(tmp_path / "a.h5", CUBE)
    for _ in range(2):
        export_cubes([tmp_path / "a.h5"], tmp_path / "out")


def test_an_export_that_ended_before_its_numbers_were_in_place_is_made_again(tmp_path: Path) -> None:
    hdf5.write(tmp_path / "one.h5", Cube(np.full((61, 4, 3), 0.5, np.float32), BAND_GRID))
    (header,) = export_cubes([tmp_path / "one.h5"], tmp_path / "made")
    data = header.with_suffix(".img")
    numbers, texts = data.read_bytes(), []
    data.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envi, "write_text", lambda path, text: texts.append(data.exists()))
        export_cubes([tmp_path / "one.h5"], tmp_path / "made")
    assert (texts, data.read_bytes()) == ([False], numbers)
