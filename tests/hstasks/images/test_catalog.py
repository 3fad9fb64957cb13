import numpy as np
import pytest

from hsengine.base.errors import UserError
from hstasks.images import catalog

OWN = {"depth": "float64", "pixels": "int64", "sound": "bool"}


def rows():
    return [
        {"id": "0012", "split": "test", "image": "data/0012.png", "depth": float("nan"), "content": "aa"},
        {"id": "b", "split": "train", "image": "data/b.png", "mask": "m/b.png", "depth": 0.1, "defects": "tiny cap"},
        {"id": "NA", "split": "train", "image": "data/a.png", "depth": 1e-300, "sound": True, "content": "aa"},
    ]


def test_a_catalog_is_read_as_it_was_written(tmp_path):
    frame = catalog.framed(rows(), OWN)
    catalog.save(frame, tmp_path / "catalog.csv")
    found = catalog.load(tmp_path / "catalog.csv", OWN)
    assert found.equals(frame)
    assert list(found["id"]) == ["NA", "b", "0012"]
    catalog.save(found, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "catalog.csv").read_bytes()


def test_what_is_no_catalog_is_named(tmp_path):
    with pytest.raises(UserError, match="There is no catalog"):
        catalog.load(tmp_path / "catalog.csv")
    catalog.save(catalog.framed(rows()), tmp_path / "catalog.csv")
    with pytest.raises(UserError, match="depth"):
        catalog.load(tmp_path / "catalog.csv", OWN)
    (tmp_path / "catalog.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(UserError, match=r"catalog\.csv cannot be used"):
        catalog.load(tmp_path / "catalog.csv")


def test_an_id_that_stands_twice_is_refused():
    with pytest.raises(UserError, match="b stand"):
        catalog.framed([*rows(), {"id": "b", "split": "test"}])


def test_content_is_what_the_pixels_are_and_constant_images_have_none():
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    assert catalog.content_hash(pixels) == catalog.content_hash(pixels.copy()[:, ::1])
    assert catalog.content_hash(pixels) != catalog.content_hash(pixels.reshape(1, 4, 3))
    assert catalog.content_hash(pixels) != catalog.content_hash(pixels.astype(np.uint16))
    assert catalog.content_hash(np.zeros((3, 5, 5), dtype=np.uint8)) == ""
    frame = catalog.framed(rows(), OWN)
    assert catalog.duplicates(frame) == {"aa": ["0012", "NA"]}


def test_defects_are_counted_by_name():
    frame = catalog.framed(rows(), OWN)
    assert list(catalog.with_defect(frame, "cap")) == [False, True, False]
    assert not catalog.with_defect(frame, "ca").any()
    frame.attrs["notes"] = ["x is odd"]
    text = catalog.describe(frame)
    assert "train: 2 (1 cap, 1 tiny)" in text
    assert "x is odd" in text
