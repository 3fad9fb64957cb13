import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_lenses import prepared, small

from hsengine.base.errors import UserError
from hstasks.lenses import evaluate, predict, split, submit, train

MODEL = [Path("outputs/model")]


def test_any_folder_is_scored_as_the_pipeline_does(trained):
    submit.run(small())
    made = predict.run(Path("data/test"), Path("predicted"), MODEL)
    assert made.objects == 6
    ours, theirs = (pd.read_csv(Path(folder, "scores.csv")) for folder in ("predicted", "outputs/submission"))
    pd.testing.assert_frame_equal(ours, theirs)


def test_labelled_folders_are_scored_together(trained):
    made = predict.run(Path("data"), Path("predicted"), MODEL)
    assert made.objects == 4 * 8 + 6


def test_what_cannot_be_read_is_listed_and_stays_without_a_score(trained):
    for file in Path("data/test").glob("object_00001_*.fits"):
        file.write_bytes(b"nothing")
    Path("data/test/object_00004_z.fits").write_bytes(b"")
    made = predict.run(Path("data/test"), Path("predicted"), MODEL)
    assert made.unscored == ["object_00001"]
    assert "object_00001" in str(made)
    rows = pd.read_csv("predicted/scores.csv", index_col="id")
    assert len(rows) == 6
    assert pd.isna(rows.loc["object_00001", "prob"])
    assert rows.loc["object_00004", "bands"] == "griy"
    assert len(pd.read_csv("predicted/unreadable.csv")) == 6


def _one_band(band):
    """A further member, in the folder of that name, that sees this band alone."""
    shutil.move("outputs", "first")
    train.run(small(input={"bands": band}))
    shutil.move("outputs/model", band)
    shutil.rmtree("outputs")
    shutil.move("first", "outputs")
    return band


def test_an_object_without_a_members_band_is_scored_by_the_other_members(trained):
    params = small(predict={"models": [_one_band("g")]})
    Path("data/test/object_00004_g.fits").write_bytes(b"")
    held_out = next(iter(sorted(split.load().ids("test"))))
    next(Path("data").rglob(f"{held_out}_g.fits")).unlink()
    prepared(params)
    evaluate.run(params)
    rows = pd.read_csv("outputs/evaluation/objects.csv", index_col="id")
    assert rows["member_1"].isna().sum() == 1
    assert rows.loc[held_out, "prob"] == rows.loc[held_out, "member_0"]
    submit.run(params)
    made = predict.run(Path("data/test"), Path("predicted"), [*MODEL, Path("g")])
    assert not made.unscored
    ours, theirs = (pd.read_csv(Path(folder, "scores.csv")) for folder in ("predicted", "outputs/submission"))
    pd.testing.assert_frame_equal(ours, theirs)
    assert len(ours) == 6
    assert not ours["prob"].isna().any()


def test_an_object_that_no_member_sees_has_a_row_and_is_named(trained):
    params = small(input={"bands": "i"}, predict={"models": [_one_band("g")]}, submission={"unscored": 1})
    shutil.rmtree("outputs")
    train.run(params)
    evaluate.run(params)
    for band in "gi":
        Path(f"data/test/object_00004_{band}.fits").write_bytes(b"")
    made = predict.run(Path("data/test"), Path("predicted"), [*MODEL, Path("g")])
    assert made.unscored == ["object_00004"]
    assert "object_00004" in str(made)
    assert json.loads(Path("predicted/record.json").read_text())["unscored"] == ["object_00004"]
    rows = pd.read_csv("predicted/scores.csv", index_col="id")
    assert list(rows.index[rows["prob"].isna()]) == ["object_00004"]
    assert rows.loc["object_00004", "bands"] == "rzy"
    prepared(params)
    handed_in = submit.run(params).handed_in
    assert (handed_in.rows, handed_in.unscored) == (6, 1)


def test_without_a_threshold_nothing_is_predicted(trained):
    Path("outputs/calibration.json").unlink()
    with pytest.raises(UserError, match="no threshold"):
        predict.run(Path("data/test"), Path("predicted"), MODEL)
    assert not Path("predicted").exists()


def test_a_folder_with_other_files_is_left_alone(trained):
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("all of it")
    with pytest.raises(UserError, match="mine"):
        predict.run(Path("data/test"), Path("mine"), MODEL)


@pytest.mark.parametrize("place", ["nowhere", "outputs"])
def test_without_cutouts_the_message_says_what_they_are_called(trained, place):
    with pytest.raises(UserError, match=r"no nowhere|object_00012_g\.fits"):
        predict.run(Path(place), Path("predicted"), MODEL)


def test_views_are_those_for_which_the_threshold_was_fitted(trained):
    evaluate.run(small(predict={"d4": False}))
    submit.run(small(predict={"d4": False}))
    predict.run(Path("data/test"), Path("predicted"), MODEL)
    ours, theirs = (pd.read_csv(Path(folder, "scores.csv")) for folder in ("predicted", "outputs/submission"))
    pd.testing.assert_frame_equal(ours, theirs)
