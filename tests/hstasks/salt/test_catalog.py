from pathlib import Path

import numpy as np
import pytest

from hsengine.base import png
from hsengine.base.errors import UserError
from hstasks.images import catalog as catalogs
from hstasks.salt import catalog, layout
from hstasks.salt.params import Catalog, Data, DataParams

PARAMS = DataParams()
DROP = DataParams(catalog=Catalog(unsound="drop"))


def ids_of(split="train", folder=None):
    folder = folder or ("images" if split == "test" else "masks")
    return sorted(path.stem for path in Path("data", split, folder).glob("*.png"))


def salted():
    """A training tile with salt."""
    return next(line.split(",")[0] for line in lines("train.csv")[1:] if len(line.split(",")[1]) > 100)


def lines(name):
    return Path("data", name).read_text().splitlines()


def replace_line(name, start, new):
    text = [new if line.startswith(start) else line for line in lines(name)]
    Path("data", name).write_text("".join(f"{line}\n" for line in text if line is not None))


def refused():
    with pytest.raises(UserError) as caught:
        catalog.run(PARAMS)
    assert not Path("derived").exists()
    return str(caught.value)


def test_every_tile_is_listed_with_what_it_holds(project):
    summary = catalog.run(PARAMS)
    frame = catalog.load()
    assert frame["split"].value_counts().to_dict() == {"train": 40, "test": 12}
    train, test = frame[frame["split"] == "train"], frame[frame["split"] == "test"]
    assert ((train["salt_pixels"] == 0) == (train["coverage_class"] == 0)).all()
    assert (train["salt_pixels"] == 0).sum() > 5
    assert (test["mask"] == "").all()
    assert frame["depth"].between(50, 959).all()
    assert set(frame["channels"]) == {3}
    assert set(train.loc[catalogs.with_defect(train, "black"), "stratum"]) == {"black"}
    for name in ("vertical", "half-vertical", "tiny", "black"):
        assert catalogs.with_defect(train, name).sum() >= 1
    assert "train: 40 (1 black" in str(summary)


def test_equal_tiles_give_equal_bytes_however_many_processes_read(project):
    catalog.run(PARAMS)
    first = Path("derived/catalog.csv").read_bytes()
    catalog.run(DataParams(machine={"workers": 2}))
    assert Path("derived/catalog.csv").read_bytes() == first


def test_a_truncated_tile_is_named(project):
    name = ids_of()[3]
    path = Path("data/train/images", f"{name}.png")
    path.write_bytes(path.read_bytes()[:5000])
    assert f"{name}: data/train/images/{name}.png cannot be read as PNG: it is truncated" in refused()


def test_a_mask_of_another_size_is_named(project):
    name = ids_of()[0]
    Path("data/train/masks", f"{name}.png").write_bytes(png.encoded(np.zeros((1, 101, 100), dtype=np.uint8)))
    assert f"{name}: data/train/masks/{name}.png has 101 x 100 pixels, not 101 x 101" in refused()


def test_a_mask_that_is_not_binary_or_coloured_tiles_are_named(project):
    first, second = salted(), ids_of()[1]
    levels = np.arange(101 * 101).reshape(1, 101, 101) % 250
    Path("data/train/masks", f"{first}.png").write_bytes(png.encoded(levels.astype(np.uint8)))
    colours = np.stack([levels[0], levels[0], levels[0].T]).astype(np.uint8)
    Path("data/train/images", f"{second}.png").write_bytes(png.encoded(colours))
    text = refused()
    assert f"{first}.png holds more than two values" in text
    assert f"{second}.png is coloured" in text


def test_a_mask_that_its_run_lengths_contradict_is_named(project):
    name = salted()
    replace_line("train.csv", name, f"{name},1 7")
    assert f"{name}: its rle_mask in train.csv differs from data/train/masks/{name}.png in" in refused()


@pytest.mark.parametrize("text", ["1 3 2 2", "10200 9", "1 2 3", "1 x"])
def test_run_lengths_that_mean_no_mask_are_named(project, text):
    name = salted()
    replace_line("train.csv", name, f"{name},{text}")
    assert f"{name}: its rle_mask in train.csv is wrong." in refused()


@pytest.mark.parametrize("text", ["nan", "", "inf", "deep", "-5"])
def test_a_depth_that_is_no_number_is_named(project, text):
    name = ids_of()[5]
    replace_line("depths.csv", name, f"{name},{text}")
    assert f"{name}: its depth in data/depths.csv is '{text}'" in refused()


@pytest.mark.parametrize("table", ["train.csv", "depths.csv", "sample_submission.csv"])
def test_an_id_of_a_table_without_a_file_is_named_and_so_is_a_file_without_a_row(project, table):
    name = ids_of("test" if table == "sample_submission.csv" else "train")[2]
    replace_line(table, name, "0123456789,1 1" if table != "depths.csv" else "0123456789,100")
    text = refused()
    assert f"0123456789: stands in {table}, but has no image" in text
    assert f"{name}: has no row in data/{table}" in text


def test_an_id_that_stands_twice_is_named(project):
    name = ids_of()[2]
    with Path("data/depths.csv").open("a") as stream:
        stream.write(f"{name},100\n")
    assert f"{name}: stands in depths.csv twice" in refused()


def test_images_without_masks_and_masks_without_images_are_named(project):
    first, second, third = ids_of()[:3]
    Path("data/train/masks", f"{first}.png").unlink()
    Path("data/train/images", f"{second}.png").unlink()
    Path("data/test/images", f"{third}.png").write_bytes(Path("data/train/images", f"{third}.png").read_bytes())
    text = refused()
    assert f"{first}: the image has no mask" in text
    assert f"{second}: the mask has no image" in text
    assert f"{third}: the id is both a training and a test tile" in text


def test_unsound_tiles_are_dropped_where_that_is_asked_for(project):
    names = ids_of()
    Path("data/train/masks", f"{names[0]}.png").unlink()
    Path("data/train/images", f"{names[1]}.png").write_bytes(b"")
    summary = catalog.run(DROP)
    assert sorted(set(names) - set(catalog.load()["id"])) == names[:2]
    assert f"left out:\n  {names[0]}" in str(summary)


def test_the_same_image_twice_is_a_note_and_a_defect(project):
    names = [name for name in ids_of() if np.any(layout.grey(f"data/train/images/{name}.png"))]
    Path("data/train/images", f"{names[1]}.png").write_bytes(Path("data/train/images", f"{names[0]}.png").read_bytes())
    summary = catalog.run(PARAMS)
    assert f"the same image is {names[0]}, {names[1]}" in str(summary)
    assert catalogs.with_defect(catalog.load(), "duplicate").sum() == 2


def test_training_tiles_alone_are_enough(project):
    for name in ids_of("test"):
        Path("data/test/images", f"{name}.png").unlink()
    Path("data/test/images").rmdir()
    Path("data/depths.csv").unlink()
    summary = catalog.run(PARAMS)
    assert "there are no test tiles" in str(summary)
    assert catalog.load()["depth"].isna().all()


def test_the_unpacked_bundle_is_found(project):
    Path("data").rename("moved")
    Path("data").mkdir()
    Path("moved").rename("data/competition_data")
    catalog.run(PARAMS)
    assert catalog.load()["image"].str.startswith("data/competition_data/train/images/").sum() == 40


def test_what_is_not_yet_unzipped_is_explained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for make, cause in (
        (lambda: None, "There is no data folder"),
        (lambda: Path("data").mkdir(), "place the competition's files"),
        (lambda: Path("data/images").mkdir(), "should be data/train/images"),
        (lambda: Path("data/train.zip").touch(), "unzip train.zip into data/train"),
    ):
        make()
        with pytest.raises(UserError, match=cause):
            catalog.run(PARAMS)


def test_a_table_that_cannot_be_read_is_named(project):
    Path("data/depths.csv").write_text("id,depth\na,1\n")
    assert "data/depths.csv has the columns id, depth, but z is needed" in refused()


def test_the_classes_of_coverage_are_the_competitions():
    assert [catalog.coverage_class(pixels, 10201) for pixels in (0, 1, 1020, 1021, 9180, 9181)] == [0, 1, 1, 2, 9, 10]


def test_defects_of_masks_are_told_apart():
    empty = np.zeros((101, 101), dtype=bool)
    strip, lower, cap, dot = (empty.copy() for _ in range(4))
    strip[:, 20:50] = True
    lower[51:, 20:50] = True
    lower[40, 30] = True
    cap[30:] = True
    dot[50, 50] = True
    names = [catalog.mask_defects(mask, 20) for mask in (empty, strip, lower, cap, dot)]
    assert names == [[], ["vertical"], ["half-vertical"], ["cap"], ["tiny"]]


def test_real_tiles_have_the_defects_that_were_counted(shared, tmp_path, monkeypatch):
    root = shared / "data" / "salt-mini"
    monkeypatch.chdir(tmp_path)
    catalog.run(DataParams(data=Data(root=str(root))))
    frame = catalog.load()
    train = frame[frame["split"] == "train"]
    assert (len(train), len(frame)) == (300, 360)
    assert (train["salt_pixels"] == 0).sum() == 117
    counts = {name: int(catalogs.with_defect(train, name).sum()) for name in ("black", "vertical", "cap", "duplicate")}
    assert counts == {"black": 6, "vertical": 16, "cap": 32, "duplicate": 0}
