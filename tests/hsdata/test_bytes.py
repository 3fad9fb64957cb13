"""What persists between runs has, of the same cubes, the bytes that it always had.

Where one of these fails, everything that users keep is made anew: change the hash here only if that is meant.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from hsdata import convert, render
from hsdata.camera.camera import Camera
from hsdata.cube import BAND_GRID, Cube
from hsdata.formats import hdf5, image
from hsdata.mixing import mixing

SHAPE = (61, 16, 24)


def _cube(path: Path, step: int) -> str:
    """A cube of multiples of 1/256, which every processor computes alike."""
    band, row, column = np.indices(SHAPE)
    hdf5.write(path, Cube(((step * band + 37 * row + 5 * column) % 251 / 256).astype(np.float32), BAND_GRID))
    return str(path)


def _hash(place: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
        if file.is_file():
            digest.update(file.relative_to(place).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", "74b83131388f3be1"), ("float16", "1d86d1599301d6cc"), ("uint16", "f6b073d566be5082")],
)
def test_a_store_has_the_bytes_that_it_always_had(tmp_path, dtype, expected):
    store = tmp_path / "a.zarr"
    convert.convert(convert.Work("a", _cube(tmp_path / "a.h5", 3), str(store), SHAPE, 8, dtype))
    assert _hash(store) == expected


def test_a_picture_has_the_bytes_that_it_always_had(tmp_path):
    render.render(render.Work(_cube(tmp_path / "a.h5", 3), str(tmp_path / "a.png"), SHAPE))
    assert _hash(tmp_path / "a.png") == "681b780e82657328"


def test_a_synthetic_sample_has_the_bytes_that_it_always_had(tmp_path):
    cubes = (_cube(tmp_path / "a.h5", 3), _cube(tmp_path / "b.h5", 7))
    inputs = (str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    for number, path in enumerate(inputs):
        image.write(path, (np.indices((3, SHAPE[1] // 2, SHAPE[2] // 2)).sum(axis=0) * (number + 5)).astype(np.uint8))
    outputs = [tmp_path / name for name in ("mixed.zarr", "mixed.png", "mixed-full.png")]
    work = mixing.Work(
        name="mixed",
        cubes=cubes,
        inputs=inputs,
        shapes=(SHAPE, SHAPE),
        lam=0.25,
        size=SHAPE[1:],
        track=2,
        normalize="none",
        rgb="render",
        chunk=8,
        dtype="float32",
        device="cpu",
        camera=Camera(),
        cube_out=str(outputs[0]),
        input_out=str(outputs[1]),
        rgb_out=str(outputs[2]),
    )
    mixing.make(work)
    expected = ["9afc1d5ac194aff8", "952efadda74522e7", "5b1c513ca6818677"]
    assert [_hash(place) for place in outputs] == expected
