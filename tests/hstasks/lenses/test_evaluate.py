import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_lenses import APART, small

from hsengine.base.errors import UserError
from hstasks.lenses import evaluate, scoring, split, train
from hstasks.metrics import auroc, youden


def _metrics():
    return json.loads(Path("outputs/metrics.json").read_text())


def test_threshold_comes_from_validation_and_scores_from_the_test_part(trained):
    rows = pd.read_csv("outputs/evaluation/objects.csv")
    found = _metrics()
    val, test = (rows[rows["part"] == part] for part in ("val", "test"))
    fitted = json.loads(Path("outputs/calibration.json").read_text())
    assert fitted["threshold"] == pytest.approx(youden(val["label"], val["prob"]), abs=1e-12)
    assert found["auroc"] == pytest.approx(auroc(test["label"], test["prob"]))
    assert set(test["id"]) == set(split.load().ids("test"))
    assert found["objects"] == len(test)
    assert ((test["prob"] >= fitted["threshold"]) == test["pred"]).all()
    assert set(found["domain"]) == {"slsim", "hsc"}
    assert "rein" in found
    assert found["run"]["same_division"] is True


def test_the_published_files_are_there(trained):
    folder = Path("outputs/evaluation/published")
    assert list(pd.read_csv(folder / "pred_test.csv").columns) == ["path", "domain", "label", "prob", "pred"]
    assert {"global", "domain::hsc"} <= set(json.loads((folder / "metrics_val.json").read_text()))
    assert 0.0 <= json.loads((folder / "results.json").read_text())["test_acc"] <= 1.0
    training = pd.read_csv("outputs/curves/training_log.csv")
    assert list(training["epoch"]) == [1, 2]
    assert not training.isna().any().any()
    for name in ("roc.png", "calibration.png", "scores.png"):
        assert (folder.parent / name).stat().st_size > 0


def test_bands_that_are_seen_apart_are_joined_by_object(trained):
    params = small(**APART)
    shutil.rmtree("outputs")
    train.run(params)
    said = evaluate.run(params)
    rows = pd.read_csv("outputs/evaluation/objects.csv")
    assert not rows["id"].duplicated().any()
    assert set(_metrics()["band"]) == {"g", "i"}
    files = pd.read_csv("outputs/evaluation/published/pred_test.csv")
    first = rows[rows["part"] == "test"].iloc[0]
    own = files[files["path"].str.startswith(first["id"])]["prob"]
    assert own.mean() == pytest.approx(first["prob"])
    assert "by band" in str(said)


def test_a_model_of_another_split_is_refused(trained):
    split.run(small(split={"seed": 9}))
    with pytest.raises(UserError, match="was trained on the split"):
        evaluate.run(small())


def test_members_of_different_splits_are_no_ensemble(trained):
    shutil.copytree("outputs/model", "other")
    record = json.loads(Path("other/config.json").read_text())
    Path("other/config.json").write_text(json.dumps(record | {"split": "f" * 32}))
    with pytest.raises(UserError, match="different splits"):
        scoring.members(["outputs/model", "other"])


def test_an_ensemble_is_the_mean_of_its_members(trained):
    shutil.copytree("outputs/model", "first")
    train.run(small(seed=5))
    evaluate.run(small(predict={"models": ["first"]}))
    rows = pd.read_csv("outputs/evaluation/objects.csv")
    assert rows["prob"].to_numpy() == pytest.approx(rows[["member_0", "member_1"]].mean(axis=1).to_numpy())
    assert _metrics()["run"]["members"] == 2


def test_a_member_counts_once(trained):
    with pytest.raises(UserError, match="more than once"):
        scoring.members(["outputs/model", "outputs/model"])
