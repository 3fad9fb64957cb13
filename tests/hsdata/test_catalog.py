import shutil
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hsdata import catalog, facts, index, layout
from hsdata.cube import BAND_GRID, Cube
from hsdata.formats import hdf5, image, mosaic
from hsdata.params import Index
from hsdata.testing import catalog_of, data_folder, numbered, smooth_cube
from hsengine.base.errors import UserError

IDS = {"train": [*numbered(1, 2), *numbered(2, 1)], "test-public": numbered(1, 1, 5), "test-private": numbered(1, 1, 7)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return data_folder(tmp_path_factory.mktemp("prepared") / "data", IDS)


@pytest.fixture
def root(prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return "data"


def cube_file(name, split="train"):
    return f"data/track2/{split}/hsi_61/{name}.h5"


def input_file(name, split="train"):
    return f"data/track2/{split}/rgb_2/{name}.png"


@pytest.mark.parametrize("track", [1, 2])
def test_every_sample_has_a_row_with_its_facts(root, track):
    frame = catalog.make(root, track)
    assert list(frame.columns) == list(catalog.COLUMNS)
    assert list(frame["id"]) == [name for names in IDS.values() for name in names]
    assert list(frame["split"]) == ["train"] * 3 + ["test-public", "test-private"]
    first, last = frame.iloc[0], frame.iloc[-1]
    assert (first["height"], first["width"], first["bands"], first["category"]) == (8, 8, 61, 1)
    assert first["cube"] == cube_file("Category-1_a_0000") and first["category_name"] == "Category-1"
    assert first["cube_hash"] == facts.content_hash(hdf5.read(first["cube"]).values)
    modality = layout.INPUT_MODALITY[track]
    assert first["input"].startswith(f"data/track{track}/train/{modality}/Category-1_a_0000.")
    read = mosaic.read if track == 1 else image.read
    assert first["input_hash"] == facts.content_hash(read(first["input"]))
    assert (last["cube"], last["cube_hash"], last["height"], last["bands"]) == ("", "", 8, 61)
    assert frame["cube_hash"].nunique() == 5 and not frame["synthetic"].any()
    assert frame.attrs == {"problems": [], "notes": []}


def test_a_catalog_survives_being_written_and_read_to_the_byte(root, tmp_path):
    frame = catalog.make(root, 2)
    frame.loc[0, "lam"] = 0.1 + 0.2
    catalog.save(frame, tmp_path / "catalog.csv")
    again = catalog.load(tmp_path / "catalog.csv")
    frame.attrs.clear()
    pd.testing.assert_frame_equal(frame, again)
    catalog.save(again, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "catalog.csv").read_bytes()


def test_no_catalog_or_something_else_is_an_error(tmp_path):
    with pytest.raises(UserError, match="hsdata catalog"):
        catalog.load(tmp_path / "catalog.csv")
    (tmp_path / "catalog.csv").write_text("id,split\na,train\n")
    with pytest.raises(UserError, match="is not a catalog"):
        catalog.load(tmp_path / "catalog.csv")


def rewritten(name, values=None, wavelengths=BAND_GRID, split="train"):
    cube = hdf5.read(cube_file(name, split))
    hdf5.write(cube_file(name, split), Cube(cube.values if values is None else values, wavelengths))


def spoil_truncated():
    file = cube_file("Category-1_a_0000")
    content = Path(file).read_bytes()
    Path(file).write_bytes(content[: len(content) // 2])


def spoil_bands():
    rewritten("Category-1_a_0000", smooth_cube(1).values[:31], np.linspace(400, 700, 31))


def spoil_nan():
    values = smooth_cube(1).values.copy()
    values[3, 0, :2] = np.nan
    rewritten("Category-1_a_0000", values)


def spoil_wavelengths():
    rewritten("Category-1_a_0000", None, BAND_GRID + np.linspace(0, 7, 61))


def spoil_size():
    image.write(input_file("Category-1_a_0000"), np.zeros((3, 4, 6), np.float32))


def spoil_mode():
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(input_file("Category-1_a_0000"))


def spoil_cube_missing():
    Path(cube_file("Category-1_a_0000")).unlink()


def spoil_input_missing():
    Path(input_file("Category-1_a_0000")).unlink()


def spoil_two_files():
    shutil.copy(cube_file("Category-1_a_0000"), "data/track2/train/hsi_61/Category-1_a_0000.hdf5")


def spoil_two_splits():
    for place in (cube_file, input_file):
        shutil.copy(place("Category-1_a_0000"), place("Category-1_a_0000", "test-public"))


FAULTS = {
    spoil_truncated: "hsi_61/Category-1_a_0000.h5 is truncated",
    spoil_bands: "Category-1_a_0000.h5: 31 bands where 61 are expected",
    spoil_nan: "Category-1_a_0000.h5: 2 values are NaN or infinite",
    spoil_wavelengths: "Category-1_a_0000.h5: band 60 is at 1007 nm where the band grid has 1000 nm",
    spoil_size: "track 2 asks for 2 times that",
    spoil_mode: "rgb_2/Category-1_a_0000.png is ",
    spoil_cube_missing: "has no cube: data/track2/train/hsi_61/Category-1_a_0000.h5 is missing",
    spoil_input_missing: "has no input: data/track2/train/rgb_2/Category-1_a_0000.png/.jpg/.jpeg is missing",
    spoil_two_files: "has two files: Category-1_a_0000.h5, Category-1_a_0000.hdf5",
    spoil_two_splits: "Category-1_a_0000 stands in the splits train and test-public",
}


@pytest.mark.parametrize("spoil", FAULTS)
def test_an_unsound_sample_is_refused_by_name_or_dropped(root, spoil):
    spoil()
    with pytest.raises(UserError, match="data is unsound on track 2") as refused:
        catalog.make(root, 2)
    assert FAULTS[spoil] in str(refused.value)
    assert "catalog.unsound" in str(refused.value)
    frame = catalog.make(root, 2, unsound="drop")
    assert "Category-1_a_0000" not in set(frame["id"]) and len(frame) == 4
    [problem] = frame.attrs["problems"]
    assert FAULTS[spoil] in problem
    assert problem in catalog.describe(frame)


def test_everything_unsound_is_said_at_once(root):
    spoil_truncated()
    rewritten("Category-1_a_0001", smooth_cube(1).values[:31], np.linspace(400, 700, 31))
    with pytest.raises(UserError) as refused:
        catalog.make(root, 2)
    assert "Category-1_a_0000" in str(refused.value) and "Category-1_a_0001" in str(refused.value)


def test_a_mosaic_of_odd_size_is_refused(root):
    np.save("data/track1/train/mosaic/Category-1_a_0000.npy", np.zeros((7, 8), np.float32))
    with pytest.raises(UserError, match="7 x 8 pixels"):
        catalog.make(root, 1)


def test_values_outside_the_range_are_counted_and_noted(root):
    values = smooth_cube(1).values.copy()
    values[0, 0, :3], values[1, 1, 0] = -0.1, 1.5
    rewritten("Category-1_a_0000", values)
    frame = catalog.make(root, 2)
    assert (frame.loc[0, "below"], frame.loc[0, "above"]) == (3, 1)
    assert frame.attrs["notes"] == [f"{cube_file('Category-1_a_0000')}: 3 values below 0, 1 above 1"]


def test_both_axis_orders_have_one_hash(root):
    before = catalog.make(root, 2)
    cube = hdf5.read(cube_file("Category-1_a_0000"))
    with h5py.File(cube_file("Category-1_a_0000"), "w") as file:
        file["cube"], file["wavelengths"] = cube.values, cube.wavelengths
    pd.testing.assert_frame_equal(before, catalog.make(root, 2))


def test_an_empty_split_is_an_error_and_an_absent_one_a_note(root):
    shutil.rmtree("data/track2/test-private")
    assert "there is no split test-private" in catalog.make(root, 2).attrs["notes"][0]
    Path("data/track2/test-private/rgb_2").mkdir(parents=True)
    with pytest.raises(UserError, match="test-private is an empty split"):
        catalog.make(root, 2)


def test_without_a_training_split_nothing_goes(root):
    shutil.rmtree("data/track2/train")
    with pytest.raises(UserError, match="no training split"):
        catalog.make(root, 2)
    with pytest.raises(UserError, match="no data folder at elsewhere"):
        catalog.make("elsewhere", 2)


def test_dropping_every_training_sample_is_refused(root):
    for name in IDS["train"]:
        Path(input_file(name)).write_bytes(b"no picture")
    with pytest.raises(UserError, match="No sound training sample is left"):
        catalog.make(root, 2, unsound="drop")


def test_groups_are_read_from_the_data_folder(root):
    Path("data/groups.csv").write_text("id,group\nCategory-1_a_0000,cup\nCategory-1_a_0005,cup\nother,x\n")
    frame = catalog.make(root, 2)
    assert dict(zip(frame["id"], frame["group"], strict=True))["Category-1_a_0005"] == "cup"
    assert "names 1 ids without files" in frame.attrs["notes"][0]


@pytest.mark.parametrize(
    ("text", "said"),
    [("id,object\na,b\n", "group is needed"), ("id,group\na,b\na,c\n", "into two groups"), ("", "is empty")],
)
def test_a_wrong_table_of_groups_is_refused(root, text, said):
    Path("data/groups.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        catalog.make(root, 2)


def test_a_catalog_is_the_same_with_several_workers(root):
    pd.testing.assert_frame_equal(catalog.make(root, 2, workers=1), catalog.make(root, 2, workers=2))


def test_a_thousand_samples_take_memory_for_their_rows_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = np.full((len(BAND_GRID), 16, 16), 0.5, np.float32)
    values[0, 0, 0] = marker = np.float32(0.123456)
    hdf5.write("first.h5", Cube(values, BAND_GRID))
    content = Path("first.h5").read_bytes()
    cubes, inputs = Path("data/track2/train/hsi_61"), Path("data/track2/train/rgb_2")
    cubes.mkdir(parents=True)
    inputs.mkdir()
    for number, name in enumerate(numbered(1, 1000)):
        value = np.float32(number / 1000)
        (cubes / f"{name}.h5").write_bytes(content.replace(marker.tobytes(), value.tobytes()))
        (inputs / f"{name}.png").write_bytes(image.encoded(np.full((3, 8, 8), number % 256, np.uint8)))
    tracemalloc.start()
    frame = catalog.make("data", 2, workers=1)
    decision = index.make(frame.assign(input_hash=""), Index(strategy="folds"), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(frame), len(decision.held_out), frame["cube_hash"].nunique()) == (1000, 200, 1000)
    assert peak < 0.25 * values.nbytes * len(frame)


def test_a_catalog_is_the_same_from_a_cluster(root, cluster):
    pd.testing.assert_frame_equal(catalog.make(root, 2, scheduler=cluster), catalog.make(root, 2, workers=1))


def test_ids_that_stand_in_two_catalogs_are_refused():
    with pytest.raises(UserError, match="Category-1_a_0000 stand in two catalogs"):
        catalog.concatenated([catalog_of({"train": numbered(1, 2)}), catalog_of({"train": numbered(1, 1)})])


def test_catalogs_are_put_together_also_with_an_empty_one(tmp_path):
    empty = catalog.framed([])
    catalog.save(empty, tmp_path / "catalog.csv")
    both = catalog.concatenated(
        [catalog_of({"train": numbered(1, 2)}), catalog.load(tmp_path / "catalog.csv", empty=True)]
    )
    assert len(both) == 2 and both["synthetic"].dtype == bool


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,group\nCategory-1_a_0000,cup,\nCategory-1_a_0001,cup,\n", "comma too many"),
        ("id;group\nCategory-1_a_0000;cup\n", "semicolons"),
        ("# cups\nid,group\nCategory-1_a_0000,cup\n", "comment"),
    ],
)
def test_groups_that_would_be_lost_are_refused(root, text, said):
    Path("data/groups.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        catalog.make("data", 2, workers=1)


def test_a_link_of_groups_to_nothing_is_named(root):
    Path("data/groups.csv").symlink_to("groups-of-mine.csv")
    with pytest.raises(UserError, match="groups-of-mine"):
        catalog.make("data", 2, workers=1)


def test_a_catalog_of_a_header_alone_is_refused(tmp_path):
    catalog.save(catalog.framed([]), tmp_path / "catalog.csv")
    with pytest.raises(UserError, match="lists no sample"):
        catalog.load(tmp_path / "catalog.csv")
