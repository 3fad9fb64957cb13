import pytest

from hsdata import raw
from hsdata.errors import UserError
from hsdata.formats import hdf5
from hsdata.testing import catalog_of, smooth_cube

[ROW] = catalog_of({"train": ["Category-1_a_0000"]}).to_dict("records")


def test_a_cube_that_is_not_what_the_catalog_says_is_refused(tmp_path):
    path = str(tmp_path / "a.h5")
    hdf5.write(path, smooth_cube(0))
    with raw.opened(path, (61, 8, 8)) as cube:
        assert cube.shape == raw.shape_of(ROW)
    with (
        pytest.raises(UserError, match=r"a\.h5 has .*\(61, 8, 8\), but the catalog says \(61, 8, 9\).*hsdata catalog"),
        raw.opened(path, (61, 8, 9)),
    ):
        pass


def test_a_row_without_a_hash_is_refused():
    assert raw.content_of(ROW) == "cube of Category-1_a_0000"
    with pytest.raises(UserError, match=r"no content hash for data/track2/train/hsi_61/Category-1_a_0000\.h5"):
        raw.content_of(ROW | {"cube_hash": ""})


def test_workers_of_a_cluster_get_whole_paths_and_urls_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert raw.location("data/a.h5") == "data/a.h5"
    assert raw.location("data/a.h5", "tcp://host:1") == str(tmp_path / "data/a.h5")
    assert raw.location("s3://bucket/a.h5", "tcp://host:1") == "s3://bucket/a.h5"
