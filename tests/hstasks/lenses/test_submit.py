import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_lenses import prepared, small

from hsengine.base.errors import UserError
from hstasks.lenses import lots, scoring, submission, submit, train


def test_every_blind_object_has_one_row(trained):
    made = submit.run(small())
    rows = pd.read_csv("outputs/submission/submission.csv", dtype={"id": str})
    assert sorted(rows["id"]) == [f"object_{number:05d}" for number in range(6)]
    assert rows["preds"].isin([0, 1]).all()
    assert (rows["zsrc"] == -999).all()
    assert len(rows.columns) == 32
    assert "6 objects" in str(made)
    scores = pd.read_csv("outputs/submission/scores.csv")
    threshold = json.loads(Path("outputs/calibration.json").read_text())["threshold"]
    assert ((scores["prob"] >= threshold) == rows["preds"]).all()
    submission.verify("outputs/submission/submission.csv", list(scores["id"]))


def test_without_a_threshold_nothing_is_submitted(trained):
    Path("outputs/calibration.json").unlink()
    with pytest.raises(UserError, match="no threshold"):
        submit.run(small())
    assert not Path("outputs/submission").exists()


def test_a_threshold_of_other_weights_is_refused(trained):
    train.run(small(seed=4))
    with pytest.raises(UserError, match="fitted for other models"):
        submit.run(small())


def test_a_corrupt_file_costs_its_band_and_no_object(trained):
    Path("data/test/object_00002_g.fits").write_bytes(b"")
    for band in "grizy":
        file = Path(f"data/test/object_00003_{band}.fits")
        file.write_bytes(file.read_bytes()[:3000])
    prepared(small())
    listed = pd.read_csv("derived/unreadable.csv")
    assert sorted(listed["object"] + listed["band"]) == ["object_00002g", *(f"object_00003{b}" for b in "giryz")]
    with pytest.raises(UserError, match="object_00003"):
        submit.run(small())
    made = submit.run(small(submission={"unscored": 0, "filler": -99, "columns": "extended"}))
    rows = pd.read_csv("outputs/submission/submission.csv", index_col="id")
    assert len(rows) == 6
    assert rows.loc["object_00003", "preds"] == 0
    assert (rows["zsrc"] == -99).all()
    assert len(rows.columns) == 40
    assert made.handed_in.unscored == 1
    scores = pd.read_csv("outputs/submission/scores.csv", index_col="id")
    assert scores["prob"].isna().sum() == 1
    assert json.loads(Path("outputs/submission/record.json").read_text())["unscored"] == ["object_00003"]


def test_without_blind_objects_the_stage_ends_well(trained):
    shutil.rmtree("data/test")
    prepared(small())
    assert "no blind object" in str(submit.run(small()))
    assert not Path("outputs/submission/submission.csv").exists()


def test_a_killed_submission_is_taken_up(trained, monkeypatch, capsys):
    monkeypatch.setenv("HYPEROBJECT_STATE", "state")
    monkeypatch.setattr(lots, "LOT", 2)
    submit.run(small())
    whole = Path("outputs/submission/scores.csv").read_bytes()
    shutil.rmtree("outputs/submission")
    of_lot, lot = scoring.answered, []

    def killed(*given, **named):
        lot.append(None)
        if len(lot) == 3:
            raise KeyboardInterrupt
        return of_lot(*given, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(scoring, "answered", killed)
        submit.run(small())
    assert not Path("outputs/submission").exists()
    submit.run(small())
    assert "4 of 6 objects were scored by an earlier run" in capsys.readouterr().err
    assert Path("outputs/submission/scores.csv").read_bytes() == whole


def test_objects_that_no_model_sees_are_refused_before_the_others_are_scored(trained, monkeypatch):
    for file in Path("data/test").glob("object_00001_*.fits"):
        file.write_bytes(b"")
    prepared(small())
    monkeypatch.setattr(scoring, "scored", lambda *given, **named: pytest.fail("scored"))
    with pytest.raises(UserError, match=r"1 of 6 objects .*object_00001.*submission\.unscored"):
        submit.run(small())


def test_a_threshold_of_other_views_is_refused(trained):
    with pytest.raises(UserError, match=r"fitted with predict\.d4: true, and it is false"):
        submit.run(small(predict={"d4": False}))
