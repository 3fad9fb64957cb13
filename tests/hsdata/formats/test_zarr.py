import errno
import functools
import http.server
import json
import multiprocessing
import os
import pickle
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
import zarr.codecs
from hypothesis import given, settings
from hypothesis import strategies as st

from hsdata import Cube, open_cube
from hsdata.formats import _shard
from hsdata.formats import zarr as stores
from hsdata.formats.zarr import ZarrCube
from hsengine.base.errors import UserError

SHARD = "c.0.0.0"


def cube_of(bands: int = 5, height: int = 40, width: int = 30, seed: int = 0) -> Cube:
    values = np.random.default_rng(seed).random((bands, height, width), dtype=np.float32) * 1.2 - 0.1
    return Cube(values, np.linspace(400.0, 1000.0, bands))


def read_corner(store: ZarrCube) -> np.ndarray[Any, Any]:
    return store.read(1, 2, 3, 4)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 70), st.integers(1, 70)),
    chunk=st.sampled_from([8, 16, 64]),
    dtype=st.sampled_from(["float32", "float16", "uint16"]),
    transposed=st.booleans(),
    data=st.data(),
)
def test_crops_are_slices_of_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    chunk: int,
    dtype: stores.Dtype,
    transposed: bool,
    data: st.DataObject,
) -> None:
    cube = cube_of(*shape)
    if transposed:
        bands_last = np.ascontiguousarray(np.moveaxis(cube.values, 0, 2))
        cube = Cube(np.moveaxis(bands_last, 2, 0), cube.wavelengths)
    path = tmp_path_factory.mktemp("stores") / "a.zarr"
    worst = stores.write(path, cube, chunk=chunk, dtype=dtype)
    whole = open_cube(path)
    assert float(np.abs(whole.values - cube.values).max()) == worst
    assert worst == 0.0 if dtype == "float32" else worst < (1e-3 if dtype == "float16" else 2e-5)
    np.testing.assert_array_equal(whole.wavelengths, cube.wavelengths)

    top = data.draw(st.integers(0, shape[1]))
    left = data.draw(st.integers(0, shape[2]))
    height = data.draw(st.integers(0, shape[1] - top))
    width = data.draw(st.integers(0, shape[2] - left))
    crop = ZarrCube(path).read(top, left, height, width)
    assert crop.dtype == np.float32
    np.testing.assert_array_equal(crop, whole.values[:, top : top + height, left : left + width])


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint16"])
def test_zarr_itself_reads_the_same(tmp_path: Path, dtype: stores.Dtype) -> None:
    stores.write(tmp_path / "a.zarr", cube_of(), chunk=16, dtype=dtype)
    array = zarr.open_array(tmp_path / "a.zarr", mode="r")
    scale, offset = array.attrs.get("scale_factor", 1.0), array.attrs.get("add_offset", 0.0)
    values = array[...].astype(np.float32) * np.float32(scale) + np.float32(offset)
    np.testing.assert_array_equal(values, ZarrCube(tmp_path / "a.zarr").read())
    assert array.metadata.zarr_format == 3
    assert array.chunks == (5, 16, 16)
    assert array.attrs["source"] == "a"


def test_a_store_is_two_files_with_equal_bytes_for_equal_cubes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        stores.write(tmp_path / folder / "a.zarr", cube_of(), chunk=16)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / f / "a.zarr").iterdir()} for f in ("one", "two"))
    assert one == two
    assert sorted(one) == [SHARD, "zarr.json"]


def test_stores_that_zarr_wrote_are_read(tmp_path: Path) -> None:
    cube = cube_of()
    attributes = {"wavelengths": cube.wavelengths.tolist()}
    blosc = zarr.codecs.BloscCodec(cname="zstd", shuffle="bitshuffle")
    layouts: dict[str, dict[str, Any]] = {
        "sharded as ours": {"chunks": (5, 8, 8), "shards": (5, 40, 32), "compressors": blosc},
        "one chunk a band": {"chunks": (1, 40, 30)},
        "several shards": {"chunks": (5, 8, 8), "shards": (5, 16, 32)},
    }
    for name, layout in layouts.items():
        array = zarr.create_array(
            tmp_path / f"{name}.zarr", shape=cube.values.shape, dtype="f4", attributes=attributes, **layout
        )
        array[...] = cube.values
        store = ZarrCube(tmp_path / f"{name}.zarr")
        np.testing.assert_array_equal(store.read(), cube.values)
        np.testing.assert_array_equal(store.read(3, 9, 20, 5), cube.values[:, 3:23, 9:14])
        assert store.source == name


def test_empty_chunks_that_zarr_leaves_out_are_zero(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=(2, 16, 16),
        dtype="f4",
        chunks=(2, 8, 8),
        shards=(2, 16, 16),
        compressors=zarr.codecs.BloscCodec(),
        attributes={"wavelengths": [400, 500]},
    )
    array[:, :8, :8] = 1.0
    store = ZarrCube(tmp_path / "a.zarr")
    np.testing.assert_array_equal(store.read(), array[...])
    assert store.read()[:, 8:].max() == 0


def test_uint16_spans_the_cube_s_own_range(tmp_path: Path) -> None:
    values = np.array([-0.05, 0.0, 0.002, 1.07], dtype=np.float32).reshape(1, 2, 2)
    worst = stores.write(tmp_path / "a.zarr", Cube(values, np.array([500.0])), dtype="uint16")
    assert worst < 1e-5
    np.testing.assert_allclose(open_cube(tmp_path / "a.zarr").values, values, atol=1e-5)
    flat = Cube(np.full((1, 2, 2), 0.25, dtype=np.float32), np.array([500.0]))
    assert stores.write(tmp_path / "flat.zarr", flat, dtype="uint16") == 0.0


def test_uint16_keeps_values_that_are_multiples_of_a_power_of_two(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(1, 2**12, (3, 9, 9))
    cube = Cube((counts / 2**12).astype(np.float32), np.array([500.0, 600.0, 700.0]))
    assert stores.write(tmp_path / "a.zarr", cube, dtype="uint16") == 0.0
    np.testing.assert_array_equal(open_cube(tmp_path / "a.zarr").values, cube.values)


def test_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    values = np.full((1, 2, 2), 1e6, dtype=np.float32)
    with pytest.raises(UserError, match="too large for float16; choose dtype float32"):
        stores.write(tmp_path / "a.zarr", Cube(values, np.array([500.0])), dtype="float16")
    values[0, 0, 0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        stores.write(tmp_path / "a.zarr", Cube(values, np.array([500.0])), dtype="uint16")
    assert not list(tmp_path.iterdir())
    stores.write(tmp_path / "a.zarr", Cube(values, np.array([500.0])))
    np.testing.assert_array_equal(open_cube(tmp_path / "a.zarr").values, values)


@pytest.mark.parametrize("crop", [(0, 0, 41, 1), (-1, 0, 3, 3), (0, 28, 1, 3), (0, 0, -1, 1)])
def test_a_crop_beyond_the_cube_is_refused(tmp_path: Path, crop: tuple[int, int, int, int]) -> None:
    stores.write(tmp_path / "a.zarr", cube_of())
    with pytest.raises(UserError, match="reaches beyond the 40 x 30 pixels"):
        ZarrCube(tmp_path / "a.zarr").read(*crop)


def test_a_crop_reads_only_the_chunks_under_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.write(tmp_path / "a.zarr", cube_of(8, 128, 128), chunk=16)
    store = ZarrCube(tmp_path / "a.zarr")
    assert store.shape == (8, 128, 128)
    touched = []
    genuine = _shard.LocalFile.read
    monkeypatch.setattr(
        _shard.LocalFile,
        "read",
        lambda self, ranges: touched.extend(b - a for a, b in ranges) or genuine(self, ranges),
    )
    store.read(10, 20, 30, 30)
    # Rows 10 to 39 and columns 20 to 49 lie in 3 x 3 chunks, and the rows of chunks are read at once.
    assert len(touched) == 3
    assert sum(touched) <= 9 * 16 * 16 * 8 * 4 * 1.1


@pytest.mark.parametrize(
    "damage",
    [
        lambda store: (store / SHARD).unlink(),
        lambda store: (store / "zarr.json").unlink(),
        lambda store: (store / "zarr.json").write_text('{"zarr_format": 3'),
        lambda store: (store / "zarr.json").write_text("{}"),
        lambda store: (store / SHARD).write_bytes((store / SHARD).read_bytes()[:-1]),
        lambda store: (store / SHARD).write_bytes((store / SHARD).read_bytes()[10:]),
        lambda store: (store / SHARD).write_bytes(b"short"),
        lambda store: (store / SHARD).write_bytes(b""),
        lambda store: flip(store / SHARD, 3000),
        lambda store: flip(store / SHARD, 2),
        lambda store: flip(store / SHARD, -30),
    ],
)
def test_a_damaged_store_is_named(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "a.zarr"
    stores.write(path, cube_of(), chunk=16)
    damage(path)
    with pytest.raises(UserError, match=rf"{re.escape(str(path))} is incomplete or damaged .*hsdata convert"):
        open_cube(path)


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def test_what_is_no_store_of_a_cube_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no cube at"):
        open_cube(tmp_path / "absent.zarr")
    with pytest.raises(UserError, match="There is no store at"):
        ZarrCube(tmp_path / "absent.zarr").read()
    zarr.create_array(tmp_path / "bare.zarr", shape=(2, 3, 4), dtype="f4")
    with pytest.raises(UserError, match="no attribute 'wavelengths'"):
        open_cube(tmp_path / "bare.zarr")
    zarr.create_array(tmp_path / "flat.zarr", shape=(3, 4), dtype="f4", attributes={"wavelengths": [1, 2, 3]})
    with pytest.raises(UserError, match="not a cube"):
        open_cube(tmp_path / "flat.zarr")
    zarr.create_array(tmp_path / "odd.zarr", shape=(2, 3, 4), dtype="f4", attributes={"wavelengths": [1, 2, 3]})
    with pytest.raises(UserError, match="2 bands but 3 wavelengths"):
        open_cube(tmp_path / "odd.zarr")


def test_a_store_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    stores.write(tmp_path / "a.zarr", cube_of(seed=0))
    store = ZarrCube(tmp_path / "a.zarr")
    store.read()
    other = cube_of(height=33, seed=1)
    stores.write(tmp_path / "a.zarr", other, dtype="float32")
    np.testing.assert_array_equal(store.read(), other.values)
    assert store.shape == other.values.shape


def test_pickling_forgets_what_is_open(tmp_path: Path) -> None:
    stores.write(tmp_path / "a.zarr", cube_of())
    store = ZarrCube(tmp_path / "a.zarr")
    closed = len(pickle.dumps(store))
    store.read()
    assert len(pickle.dumps(store)) == closed
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read(), store.read())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_open_store_works_in_worker_processes(tmp_path: Path, method: str) -> None:
    stores.write(tmp_path / "a.zarr", cube_of(height=200), chunk=16)
    store = ZarrCube(tmp_path / "a.zarr")
    expected = read_corner(store)
    store.read()
    with multiprocessing.get_context(method).Pool(2) as pool:
        for crop in pool.map(read_corner, [store] * 6):
            np.testing.assert_array_equal(crop, expected)


def test_threads_may_share_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shard, "threads", lambda: 3)
    cube = cube_of(3, 90, 90)
    stores.write(tmp_path / "a.zarr", cube, chunk=8)
    store = ZarrCube(tmp_path / "a.zarr")
    with ThreadPoolExecutor(4) as pool:
        for top, crop in enumerate(pool.map(lambda top: store.read(top, 5, 30, 60), range(40))):
            np.testing.assert_array_equal(crop, cube.values[:, top : top + 30, 5:65])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_full_disk_leaves_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "a.zarr"
    stores.write(path, cube_of())

    def fail(self: Any, strip: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(_shard.ShardWriter, "append", fail)
    with pytest.raises(UserError, match="No space left" if code == errno.ENOSPC else "cannot be written"):
        stores.write(path, cube_of(seed=1))
    np.testing.assert_array_equal(open_cube(path).values, cube_of().values)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_hard_links_are_not_written_through(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    stores.write(path, cube_of())
    before = (path / SHARD).read_bytes()
    os.link(path / SHARD, tmp_path / "cached")
    stores.write(path, cube_of(seed=1))
    assert (tmp_path / "cached").read_bytes() == before != (path / SHARD).read_bytes()


class Ranges(http.server.SimpleHTTPRequestHandler):
    """A file server that honours range requests, as object stores do."""

    honour = True
    asked: list[str] = []

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not (wanted and self.honour and path.is_file()):
            super().do_GET()
            return
        self.asked.append(wanted[0])
        content = path.read_bytes()
        start = int(wanted[1]) if wanted[1] else len(content) - int(wanted[2])
        stop = int(wanted[2]) + 1 if wanted[1] and wanted[2] else len(content)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content[start:stop])))
        self.end_headers()
        self.wfile.write(content[start:stop])

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(params=["ranges", "whole files only"])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Ranges, "honour", request.param == "ranges")
    monkeypatch.setattr(Ranges, "asked", [])
    handler = functools.partial(Ranges, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_stores_are_read_over_http(tmp_path: Path, server: str) -> None:
    cube = cube_of(4, 100, 90)
    stores.write(tmp_path / "a.zarr", cube, chunk=16, dtype="float32")
    store = ZarrCube(f"{server}/a.zarr")
    np.testing.assert_array_equal(store.read(17, 20, 40, 33), cube.values[:, 17:57, 20:53])
    if Ranges.honour:
        # The index, then a request for each of the rows of chunks.
        assert len(Ranges.asked) == 1 + 3
    np.testing.assert_array_equal(open_cube(f"{server}/a.zarr").values, cube.values)
    with pytest.raises(UserError, match="absent"):
        open_cube(f"{server}/absent.zarr")


def test_stores_are_read_from_other_file_systems(tmp_path: Path) -> None:
    cube = cube_of()
    stores.write(tmp_path / "a.zarr", cube, chunk=16)
    system = fsspec.filesystem("memory")
    system.put(str(tmp_path / "a.zarr"), "/stores/a.zarr", recursive=True)
    np.testing.assert_array_equal(open_cube("memory://stores/a.zarr").values, cube.values)
    system.pipe(f"/stores/a.zarr/{SHARD}", b"")
    with pytest.raises(UserError, match="incomplete or damaged"):
        open_cube("memory://stores/a.zarr")


@pytest.mark.parametrize("name", ["a.zarr", "a.h5"])
def test_a_place_that_cannot_be_reached_is_not_called_damaged(name: str) -> None:
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/a\..* cannot be reached .*: check the address"):
        open_cube(f"http://127.0.0.1:9/{name}")


def test_the_metadata_says_how_values_are_scaled(tmp_path: Path) -> None:
    stores.write(tmp_path / "a.zarr", cube_of(), dtype="uint16", source="sample-1")
    attributes = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]
    assert attributes["source"] == "sample-1"
    assert len(attributes["wavelengths"]) == 5
    assert {"scale_factor", "add_offset"} <= set(attributes)


def test_strips_of_any_height_in_chunks_are_accepted(tmp_path: Path) -> None:
    cube = cube_of(height=50)
    strips = (cube.values[:, top:bottom] for top, bottom in ((0, 16), (16, 48), (48, 50)))
    worst = stores.write_strips(tmp_path / "a.zarr", strips, shape=(5, 50, 30), wavelengths=cube.wavelengths, chunk=8)
    assert worst == 0.0
    np.testing.assert_array_equal(open_cube(tmp_path / "a.zarr").values, cube.values)
