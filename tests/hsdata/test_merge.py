import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hsdata import catalog, index, merge, smote
from hsdata.formats import hdf5, zarr
from hsdata.mixing import pairs
from hsdata.params import Index
from hsdata.testing import data_folder, numbered
from hsengine.base.errors import UserError

IDS = {"train": numbered(1, 3), "test-public": numbered(1, 1, 5), "test-private": numbered(1, 1, 7)}
PLAN = pd.DataFrame(
    [["train", 1, *numbered(1, 2), "_".join(numbered(1, 2)), 0.5]],
    columns=list(pairs.PLAN_COLUMNS),
)
[MIXED] = PLAN["synthetic_id"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    return data_folder(folder / "data", IDS)


@pytest.fixture
def frames(place, tmp_path, monkeypatch):
    shutil.copytree(place, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    Path("data/groups.csv").write_text("id,group\nCategory-1_a_0000,cup\n")
    originals = catalog.make("data", 2)
    smote.generate(PLAN, originals, "derived/smote")
    return [originals, smote.load("derived/smote")]


@pytest.mark.parametrize("link", [True, False])
def test_originals_and_synthetic_samples_stand_in_one_folder(frames, link):
    summary = merge.merge(frames, "merged", link=link, workers=1)
    assert (summary.originals, summary.synthetic) == (5, 1)
    assert (summary.linked, summary.written) == ((11, 1) if link else (0, 12))
    place = Path("merged/track2/train")
    assert (place / "rgb_2/Category-1_a_0000.png").is_symlink() == link
    assert not (place / f"hsi_61/{MIXED}.h5").is_symlink()
    np.testing.assert_array_equal(
        hdf5.read(place / f"hsi_61/{MIXED}.h5").values, zarr.read(frames[1]["cube"][0]).values
    )
    again = catalog.make("merged", 2).set_index("id")
    stated = catalog.concatenated(frames).set_index("id")
    columns = ["split", "category", "height", "cube_hash", "input_hash", "group"]
    pd.testing.assert_frame_equal(again[columns].sort_index(), stated[columns].sort_index())
    assert len(catalog.load("merged/merged.csv")) == 6


def test_a_cluster_merges_as_one_process_does(frames, cluster):
    def content():
        return {path: path.read_bytes() for path in Path("merged").rglob("*.*")}

    merge.merge(frames, "merged", link=False, workers=1)
    before = content()
    merge.merge(frames, "merged", link=False, scheduler=cluster)
    assert content() == before


def test_a_merged_folder_does_not_hide_what_is_synthetic(frames):
    merge.merge(frames, "merged", workers=1)
    merged = catalog.make("merged", 2)
    [leak] = index.leaks(["Category-1_a_0001"], catalog=merged)
    assert leak.other == MIXED
    decision = index.make(merged, Index(), 0)
    assert MIXED in decision.train and MIXED not in decision.held_out


def test_a_merged_folder_is_replaced_whole(frames):
    merge.merge(frames, "merged", workers=1)
    merge.merge(frames[:1], "merged")
    assert not list(Path("merged").rglob(f"{MIXED}*"))
    assert len(catalog.make("merged", 2)) == 5
    assert sorted(path.name for path in Path().iterdir()) == ["data", "derived", "merged"]


@pytest.mark.parametrize("name", [f"{MIXED}.h5", merge.CATALOG_FILE])
def test_a_merge_that_cannot_be_written_leaves_what_was_there(frames, unwritable, name):
    with unwritable(name):
        merge.merge(frames, "merged", workers=1)
    assert not Path("merged").exists()
    merge.merge(frames[:1], "merged", workers=1)
    with unwritable(name):
        merge.merge(frames, "merged", workers=1)
    assert len(catalog.make("merged", 2)) == 5
    merge.merge(frames, "merged", workers=1)
    assert len(catalog.make("merged", 2)) == 6


@pytest.mark.parametrize("target", ["data", "derived/smote"])
def test_a_folder_that_is_something_else_is_left_alone(frames, target):
    before = sorted(Path(target).rglob("*"))
    with pytest.raises(UserError, match="something else than a merged folder"):
        merge.merge(frames, target)
    assert sorted(Path(target).rglob("*")) == before


def test_a_missing_file_is_named_and_nothing_is_left(frames):
    Path("data/track2/train/rgb_2/Category-1_a_0002.png").unlink()
    with pytest.raises(UserError, match=r"1 files .* Category-1_a_0002\.png|Category-1_a_0002\.png for one"):
        merge.merge(frames, "merged", workers=1)
    assert not Path("merged").exists()


def test_a_merged_folder_with_something_else_in_it_stays(frames):
    merge.merge(frames, "merged", workers=1)
    Path("merged/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt too"):
        merge.merge(frames, "merged", workers=1)
    assert Path("merged/notes.txt").read_text() == "mine"


def test_what_a_killed_merge_left_goes_with_the_next(frames):
    scratch = Path(".part-killed/merged/track2")
    scratch.mkdir(parents=True)
    merge.merge(frames, "merged", link=False, workers=1)
    assert not list(Path().glob(".part-*"))
