import errno
import os
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsdata import BAND_GRID, Cube, open_cube
from hsdata.formats import hdf5
from hsengine.base.errors import UserError


def cube_of(bands: int = 61, height: int = 9, width: int = 7, seed: int = 0) -> Cube:
    values = np.random.default_rng(seed).random((bands, height, width), dtype=np.float32)
    return Cube(values, np.linspace(400.0, 1000.0, bands))


def stored(path: Path, values: Any, wavelengths: Any, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", data=values, **options)
        file["wavelengths"] = wavelengths
    return path


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 70), st.integers(1, 20)),
    gzip=st.sampled_from([None, 1]),
    seed=st.integers(0, 2**31),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int, int], gzip: int | None, seed: int
) -> None:
    path = tmp_path_factory.mktemp("cubes") / "cube.h5"
    cube = cube_of(*shape, seed=seed)
    hdf5.write(path, cube, gzip=gzip)
    again = open_cube(path)
    np.testing.assert_array_equal(again.values, cube.values)
    np.testing.assert_array_equal(again.wavelengths, cube.wavelengths)
    assert again.values.flags.c_contiguous
    assert again.source == str(path)


@settings(max_examples=25, deadline=None)
@given(
    bands=st.integers(2, 8),
    height=st.integers(1, 70),
    width=st.integers(1, 20),
    bands_last=st.booleans(),
    dtype=st.sampled_from(["<f4", ">f4", "f8", "u2", "f2"]),
    chunked=st.booleans(),
)
def test_the_band_axis_is_the_one_as_long_as_the_wavelengths(
    tmp_path_factory: pytest.TempPathFactory,
    bands: int,
    height: int,
    width: int,
    bands_last: bool,
    dtype: str,
    chunked: bool,
) -> None:
    values = np.random.default_rng(0).integers(0, 2000, (bands, height, width)).astype(dtype)
    in_file = np.moveaxis(values, 0, 2) if bands_last else values
    path = tmp_path_factory.mktemp("cubes") / "cube.h5"
    stored(path, in_file, np.arange(bands) + 500.0, chunks=True if chunked else None)
    other = width if not bands_last else height
    if other == bands:
        with pytest.raises(UserError, match=r"both the first and the last axis .* 'axes'"):
            hdf5.read(path)
        with h5py.File(path, "a") as file:
            file["cube"].attrs["axes"] = hdf5.BANDS_LAST if bands_last else hdf5.BANDS_FIRST
    cube = hdf5.read(path)
    np.testing.assert_array_equal(cube.values, values.astype(np.float32))
    assert cube.values.dtype == np.float32


@pytest.mark.parametrize("bands_last", [True, False])
def test_strips_make_up_the_cube_and_cut_no_chunk(tmp_path: Path, bands_last: bool) -> None:
    values = cube_of(5, 300, 6).values
    in_file = np.moveaxis(values, 0, 2) if bands_last else values
    chunks = (50, 3, 5) if bands_last else (5, 50, 3)
    path = stored(tmp_path / "cube.h5", in_file, np.arange(5.0) + 500.0, chunks=chunks)
    with hdf5.opened(path) as cube:
        assert cube.shape == (5, 300, 6)
        strips = list(cube.strips(20))
        np.testing.assert_array_equal(np.concatenate(strips, axis=1), values)
        assert [strip.shape[1] for strip in strips] == [100, 100, 100]
        np.testing.assert_array_equal(cube.read(7, 11), values[:, 7:18])


def test_a_cube_as_high_as_it_has_bands_survives_writing(tmp_path: Path) -> None:
    cube = cube_of(6, 6, 4)
    hdf5.write(tmp_path / "cube.h5", cube)
    np.testing.assert_array_equal(hdf5.read(tmp_path / "cube.h5").values, cube.values)


def test_the_mask_and_odd_wavelengths_are_kept(tmp_path: Path) -> None:
    wavelengths = np.array([400.1, 512.34567, 700.0])
    mask = np.arange(12).reshape(3, 4) % 3 > 0
    hdf5.write(tmp_path / "cube.h5", Cube(cube_of(3, 3, 4).values, wavelengths, mask=mask))
    cube = hdf5.read(tmp_path / "cube.h5")
    assert cube.mask is not None
    np.testing.assert_array_equal(cube.mask, mask)
    np.testing.assert_array_equal(cube.wavelengths, wavelengths)


def test_the_challenge_s_form_is_written(tmp_path: Path) -> None:
    hdf5.write(tmp_path / "cube.h5", Cube(cube_of().values, BAND_GRID), gzip=4)
    with h5py.File(tmp_path / "cube.h5") as file:
        assert file["cube"].shape == (9, 7, 61)
        assert file["cube"].dtype == np.float32
        assert file["cube"].compression == "gzip"
        assert file["wavelengths"].dtype == np.float32


def test_equal_cubes_give_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hdf5.write(tmp_path / "a.h5", cube_of())
    transposed = np.ascontiguousarray(np.moveaxis(cube_of().values, 0, 2))
    hdf5.write(tmp_path / "b.h5", Cube(np.moveaxis(transposed, 2, 0), cube_of().wavelengths, source="elsewhere"))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cube.h5"
    hdf5.write(path, cube_of(), gzip=1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"cube\.h5 is truncated.*get the file again"):
        hdf5.read(path)


def test_damaged_chunks_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "cube.h5"
    hdf5.write(path, cube_of(height=64, width=64), gzip=1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cube\.h5 is truncated, damaged or not HDF5"):
        hdf5.read(path)


def test_a_missing_dataset_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file["group/reflectance"] = np.zeros((2, 2, 2))
        file["wavelengths"] = np.zeros(2)
    with pytest.raises(UserError, match=r"no dataset 'cube' \(it holds: group/reflectance, wavelengths\)"):
        hdf5.read(tmp_path / "cube.h5")
    with pytest.raises(UserError, match="both the first and the last"):
        hdf5.read(tmp_path / "cube.h5", dataset="group/reflectance")


@pytest.mark.parametrize(
    ("values", "bands", "message"),
    [
        (np.zeros((4, 5, 6)), 3, "shape .4, 5, 6. but there are 3 wavelengths"),
        (np.zeros((4, 5)), 5, "3 axes"),
        (np.zeros((4, 5, 6), dtype="S3"), 6, "must hold numbers"),
    ],
)
def test_what_is_no_cube_is_refused(tmp_path: Path, values: Any, bands: int, message: str) -> None:
    stored(tmp_path / "cube.h5", values, np.arange(bands) + 400.0)
    with pytest.raises(UserError, match=message):
        hdf5.read(tmp_path / "cube.h5")


def test_other_files_and_missing_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cube.h5").write_text("not a cube")
    with pytest.raises(UserError, match="not HDF5"):
        open_cube(tmp_path / "cube.h5")
    with pytest.raises(UserError, match="There is no cube at"):
        open_cube(tmp_path / "absent.h5")
    with pytest.raises(UserError, match="There is no cube at"):
        hdf5.read(tmp_path / "absent.h5")
    (tmp_path / "cube.doc").touch()
    with pytest.raises(UserError, match=r"no reader for '\.doc'; known are .*\.h5"):
        open_cube(tmp_path / "cube.doc")


def test_a_url_is_read(tmp_path: Path) -> None:
    cube = cube_of()
    hdf5.write(tmp_path / "cube.h5", cube)
    with fsspec.open("memory://cubes/cube.h5", "wb") as stream:
        stream.write((tmp_path / "cube.h5").read_bytes())
    np.testing.assert_array_equal(open_cube("memory://cubes/cube.h5").values, cube.values)
    with pytest.raises(UserError, match="There is no cube at memory://cubes/absent"):
        open_cube("memory://cubes/absent.h5")
    with fsspec.open("memory://cubes/cube.h5", "wb") as stream:
        stream.write((tmp_path / "cube.h5").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"memory://cubes/cube\.h5 is truncated"):
        open_cube("memory://cubes/cube.h5")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cube.h5"
    hdf5.write(path, cube_of())
    before = path.read_bytes()

    class Full:
        def __init__(self, stream: Any) -> None:
            self._stream = stream
            self.seek, self.tell, self.read, self.readinto = stream.seek, stream.tell, stream.read, stream.readinto
            self.truncate = stream.truncate

        def write(self, content: Any) -> int:
            if self._stream.tell() > 4096:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return int(self._stream.write(content))

    genuine = hdf5._Sink
    monkeypatch.setattr(hdf5, "_Sink", lambda stream: genuine(Full(stream)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="No space left"):
        hdf5.write(path, cube_of(height=200))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["cube.h5"]


def test_a_hard_link_is_not_written_through(tmp_path: Path) -> None:
    path, cached = tmp_path / "cube.h5", tmp_path / "cached"
    hdf5.write(path, cube_of())
    os.link(path, cached)
    before = cached.read_bytes()
    hdf5.write(path, cube_of(seed=1))
    assert cached.read_bytes() == before != path.read_bytes()


def test_real_captures_are_read(shared: Path) -> None:
    for path in sorted((shared / "data/hyperobject-real-mini/track2/train/hsi_61").glob("*.h5"))[:3]:
        cube = open_cube(path)
        assert cube.on_grid()
        assert np.isfinite(cube.values).all()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_files_are_read_where_the_file_system_refuses_locks(tmp_path, monkeypatch, code):
    cube = Cube(np.full((2, 3, 4), 0.5, np.float32), np.array([500.0, 600.0]), "made up")
    hdf5.write(tmp_path / "cube.h5", cube)
    genuine = h5py.File

    def without_locks(name, *given, locking=None, **options):
        if locking is not False:
            raise OSError(code, f"unable to lock file, errno = {code}")
        return genuine(name, *given, locking=locking, **options)

    monkeypatch.setattr(h5py, "File", without_locks)
    assert np.array_equal(hdf5.read(tmp_path / "cube.h5").values, cube.values)
    assert np.array_equal(hdf5.load(tmp_path / "cube.h5").values, cube.values)
