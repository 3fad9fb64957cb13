"""The two archives of a submission."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hsengine.base.errors import UserError
from hsmodels import packing

ARCHIVES = (packing.KAGGLE, packing.SITE)
SHAPES = {"Category-1_a_0008": (6, 4, 61), "Category-3_a_0004": (4, 8, 61)}


def cubes(shapes: dict[str, tuple[int, int, int]] = SHAPES, high: float = 1.0) -> Iterator[tuple[str, np.ndarray]]:
    for seed, (name, (height, width, bands)) in enumerate(shapes.items()):
        rng = np.random.default_rng(seed)
        yield name, rng.uniform(0, high, (bands, height, width)).astype(np.float32)


def test_both_archives_hold_every_cube_as_the_challenge_asks(tmp_path: Path) -> None:
    packing.write(tmp_path, cubes())
    packing.check(tmp_path, SHAPES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site.zip", "submission.zip"]
    with zipfile.ZipFile(tmp_path / "submission.zip") as archive:
        assert archive.testzip() is None
        assert archive.read("submission.csv") == b"id,prediction\nCategory-1_a_0008,0\nCategory-3_a_0004,0\n"
        archive.extractall(tmp_path / "kaggle")
    with zipfile.ZipFile(tmp_path / "site.zip") as archive:
        archive.extractall(tmp_path / "site")
    for name, cube in cubes():
        expected = np.moveaxis(cube, 0, 2)
        assert np.array_equal(np.load(tmp_path / "kaggle" / f"{name}.npz")["cube"], expected)
        loaded = np.load(tmp_path / "site" / f"{name}.npy")
        assert np.array_equal(loaded, expected) and loaded.dtype == np.float32 and loaded.flags.c_contiguous


def test_equal_cubes_give_equal_bytes(tmp_path: Path) -> None:
    digests = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        packing.write(tmp_path / place, cubes())
        digests.append([hashlib.sha256((tmp_path / place / name).read_bytes()).hexdigest() for name in ARCHIVES])
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({**SHAPES, "Category-4_a_0003": (4, 4, 61)}, r"lacks Category-4_a_0003|a row"),
        ({"Category-1_a_0008": (6, 4, 61)}, r"should not: Category-3_a_0004"),
        ({**SHAPES, "Category-3_a_0004": (8, 4, 61)}, r"Category-3_a_0004.* has shape \(4, 8, 61\).*\(8, 4, 61\)"),
        ({**SHAPES, "Category-1_a_0008": (6, 4, 31)}, r"Category-1_a_0008.* has shape"),
    ],
)
def test_what_does_not_match_the_inputs_is_named(tmp_path: Path, expected: dict, message: str) -> None:
    packing.write(tmp_path, cubes())
    with pytest.raises(UserError, match=message):
        packing.check(tmp_path, expected)


@pytest.mark.parametrize("bad", [1.5, -0.1, float("nan")])
def test_values_out_of_range_are_found(tmp_path: Path, bad: float) -> None:
    def spoiled() -> Iterator[tuple[str, np.ndarray]]:
        for name, cube in cubes():
            cube[3, 1, 2] = bad
            yield name, cube

    packing.write(tmp_path, spoiled())
    with pytest.raises(UserError, match=r"Category-1_a_0008.*must lie in \[0, 1\]"):
        packing.check(tmp_path, SHAPES)


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_truncated_archive_is_named(tmp_path: Path, name: str) -> None:
    packing.write(tmp_path, cubes())
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=name):
        packing.check(tmp_path, SHAPES)


def test_wrong_types_and_names_within_an_archive_are_found(tmp_path: Path) -> None:
    packing.write(tmp_path, cubes())
    with zipfile.ZipFile(tmp_path / packing.SITE, "w") as archive:
        for name, cube in cubes():
            packing.write_npy(archive, f"{name}.npy", np.moveaxis(cube, 0, 2).astype(np.float64))
    with pytest.raises(UserError, match="float32"):
        packing.check(tmp_path, SHAPES)
    with zipfile.ZipFile(tmp_path / packing.KAGGLE, "w") as archive:
        archive.writestr(packing.TABLE, "id,prediction\n" + "".join(f"{name},0\n" for name in SHAPES))
        for name, cube in cubes():
            packing.write_npz(tmp_path / "inner.npz", {"image": np.moveaxis(cube, 0, 2)})
            archive.write(tmp_path / "inner.npz", f"{name}.npz")
    with pytest.raises(UserError, match="one array 'cube'"):
        packing.check(tmp_path, SHAPES)


def test_values_changed_on_the_disk_are_found(tmp_path: Path) -> None:
    packing.write(tmp_path, cubes())
    content = bytearray((tmp_path / packing.SITE).read_bytes())
    content[1000] ^= 1
    (tmp_path / packing.SITE).write_bytes(content)
    with pytest.raises(UserError, match=packing.SITE):
        packing.check(tmp_path, SHAPES)
