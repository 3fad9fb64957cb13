from pathlib import Path

import numpy as np
import pytest

from hsdata.formats import mosaic
from hsengine.base.errors import UserError


def plane(height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(0).random((height, width), dtype=np.float32)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1)])
def test_both_layouts_are_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", plane().reshape(shape))
    found = mosaic.read(tmp_path / "a.npy")
    assert (found.shape, found.dtype) == ((1, 4, 6), np.float32)
    np.testing.assert_array_equal(found[0], plane())
    assert mosaic.size(tmp_path / "a.npy") == (4, 6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_8_bit_values_are_divided_by_255(tmp_path: Path, dtype: type) -> None:
    levels = np.array([[0, 51], [102, 255]], dtype=dtype)
    np.save(tmp_path / "a.npy", levels)
    np.testing.assert_allclose(mosaic.read(tmp_path / "a.npy")[0], [[0.0, 0.2], [0.4, 1.0]], atol=1e-7)


def test_a_nearly_black_8_bit_mosaic_stays_black(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.uint8))
    assert mosaic.read(tmp_path / "a.npy").max() == np.float32(1 / 255)


def test_rounding_above_1_does_not_make_a_mosaic_8_bit(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.float32([[0.5, 1.0000001], [0.2, 0.3]]))
    np.testing.assert_allclose(mosaic.read(tmp_path / "a.npy")[0], [[0.5, 1.0], [0.2, 0.3]])


def test_a_mosaic_comes_back_as_written(tmp_path: Path) -> None:
    mosaic.write(tmp_path / "a.npy", plane()[None])
    np.testing.assert_array_equal(mosaic.read(tmp_path / "a.npy")[0], plane())
    assert np.load(tmp_path / "a.npy").shape == (4, 6)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (np.zeros((3, 4), np.float32), "even height and width"),
        (np.zeros((4, 5), np.float32), "even height and width"),
        (np.zeros((0, 4), np.float32), "even height and width"),
        (np.zeros((4, 4, 3), np.float32), "one plane"),
        (np.zeros(4, np.float32), "one plane"),
        (np.zeros((4, 4), np.complex64), "one plane"),
        (np.full((4, 4), np.nan, np.float32), "NaN"),
        (np.full((4, 4), np.inf, np.float32), "infinite"),
        (np.full((4, 4), -0.5, np.float32), "0 to 255"),
        (np.full((4, 4), 1023, np.uint16), "0 to 255"),
        (np.array([[{}, 1], [2, 3]], dtype=object), "no plain"),
    ],
)
def test_unsound_mosaics_are_named(tmp_path: Path, stored: np.ndarray, said: str) -> None:
    np.save(tmp_path / "bad.npy", stored, allow_pickle=True)
    with pytest.raises(UserError, match=said) as caught:
        mosaic.read(tmp_path / "bad.npy")
    assert "bad.npy" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 20, 100, 150])
def test_a_truncated_file_is_named(tmp_path: Path, keep: int) -> None:
    np.save(tmp_path / "cut.npy", plane())
    content = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[:keep])
    for function in (mosaic.read, mosaic.size):
        with pytest.raises(UserError, match=r"cut\.npy is truncated"):
            function(tmp_path / "cut.npy")


def test_an_archive_or_a_missing_file_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", plane())
    with pytest.raises(UserError, match="archive"):
        mosaic.read(tmp_path / "a.npz")
    with pytest.raises(UserError, match="no mosaic at"):
        mosaic.read(tmp_path / "none.npy")


def test_what_is_no_mosaic_is_not_written(tmp_path: Path) -> None:
    for shape in ((3, 4), (3, 4, 4), (4,)):
        with pytest.raises(ValueError, match="even height"):
            mosaic.write(tmp_path / "a.npy", np.zeros(shape, np.float32))
    assert not list(tmp_path.iterdir())
