import csv
import json

import numpy as np
import pytest

from hsengine.base.errors import UserError
from hstasks.biomass import WEIGHTS, weighted_r2


@pytest.fixture
def reference(shared):
    return json.loads((shared / "reference" / "biomass" / "metric_cases.json").read_text())


def test_the_score_is_that_of_the_reference(reference):
    assert reference["weights"] == dict(WEIGHTS)
    for case in reference["cases"]:
        truth, prediction = np.array(case["truth"]), np.array(case["prediction"])
        rows = [name for _ in truth for name in case["target_names"]]
        wanted = case["expected_weighted_r2"]
        wanted = None if wanted is None else pytest.approx(wanted, abs=1e-9)
        assert weighted_r2(truth.ravel(), prediction.ravel(), rows) == wanted, case["name"]
        assert weighted_r2(truth, prediction, case["target_names"]) == wanted, case["name"]


def test_means_and_zeros_on_the_whole_table_have_their_published_scores(reference, shared):
    with (shared / "data" / "biomass-mini" / "full" / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["target_name"] for row in rows]
    truth = np.array([float(row["target"]) for row in rows])
    means = {name: np.mean([y for y, own in zip(truth, names, strict=True) if own == name]) for name in WEIGHTS}
    wanted = reference["full_train_set"]["per_target_means"]
    assert weighted_r2(truth, [means[name] for name in names], names) == pytest.approx(wanted, abs=1e-9)
    wanted = reference["full_train_set"]["zeros"]
    assert weighted_r2(truth, np.zeros(len(truth)), names) == pytest.approx(wanted, abs=1e-9)


def test_published_predictions_out_of_fold_have_their_published_scores(reference, shared):
    folder = shared / "data" / "biomass-mini"
    with (folder / "full" / "train.csv").open(newline="") as file:
        truth = {(row["image_path"], row["target_name"]): float(row["target"]) for row in csv.DictReader(file)}
    published = np.load(folder / "oof" / "published_oof.npz")
    names = published["target_names"].tolist()
    grams = np.array([[truth[path, name] for name in names] for path in published["image_path"].tolist()])
    for model, prediction in zip(published["model_names"].tolist(), published["predictions"], strict=True):
        wanted = reference["full_train_set"]["expected"][model]
        assert weighted_r2(grams, prediction, names) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("truth", "prediction", "targets", "said"),
    [
        ([1.0, 2.0], [1.0, np.nan], ["GDM_g", "Dry_Total_g"], r"prediction of row 1 \(Dry_Total_g\)"),
        ([1.0, 2.0], [1.0, 2.0], ["GDM_g", "Dry_Totl_g"], "close: Dry_Total_g"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], ["GDM_g", "Dry_Total_g"], "one entry a row"),
        ([1.0, 2.0], [1.0, 2.0], ["GDM_g"], "one entry a row"),
    ],
)
def test_rows_that_cannot_be_scored_are_named(truth, prediction, targets, said):
    with pytest.raises(UserError, match=said):
        weighted_r2(truth, prediction, targets)


def test_equal_truths_have_no_score_however_they_round():
    assert weighted_r2([0.1] * 7, [0.1] * 7, ["GDM_g"] * 7) is None
    assert weighted_r2([], [], []) is None
