import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_lenses import prepared, small

from hsengine.base.errors import UserError
from hstasks.lenses import evaluate, lens_table, parameters, regress, report, scoring, submit, train

CHALLENGE = Path(__file__).resolve().parents[3] / "challenges" / "lenses"
REGRESSION = {"target": "parameters", "train": {"epochs": 2, "sampling": "shuffle"}}


def test_unknown_parameters_teach_nothing():
    found = torch.tensor([[1.0, 5.0], [1.0, 1.0]], requires_grad=True)
    truth = torch.tensor([[1.5, float("nan")], [float("nan"), float("nan")]])
    value = regress.losses(found, torch.zeros(2, 2), truth)
    assert value.tolist() == [0.125, 0.0]
    value.sum().backward()
    assert found.grad[0, 1] == 0.0 and torch.isfinite(found.grad).all()


def test_r2_is_of_what_is_known():
    truth = np.array([[0.0, 1.0], [2.0, np.nan], [4.0, 1.0]])
    assert regress.r2(truth, np.array([[0.0, 9.0], [2.0, 9.0], [4.0, 9.0]])) == 1.0
    assert regress.r2(np.full((2, 1), np.nan), np.zeros((2, 1))) is None


def test_the_error_of_an_angle_is_modulo_180_degrees():
    truth, found = (pd.DataFrame({"sh": [0.1], "sh_PA": [angle]}) for angle in (179.0, 3.0))
    assert parameters.measures(truth, found)["sh_PA"]["MAE"] == pytest.approx(4.0)


def test_lenses_that_are_called_so_get_their_parameters(trained):
    prepared(small())
    shutil.copytree("outputs", "classes")
    train.run(small(**REGRESSION))
    evaluate.run(small(**REGRESSION))
    found = json.loads(Path("outputs/metrics.json").read_text())
    assert found["run"]["leading"] == "R2"
    assert {"Rein", "sh", "sh_PA"} <= set(found["parameter"])
    assert "RA" not in found["parameter"]
    assert "gives parameters" in str(submit.run(small(**REGRESSION)))
    shutil.copy(CHALLENGE / "params.yaml", "params.yaml")
    report.run(small(**REGRESSION))
    assert "sh_PA" in Path("outputs/report.html").read_text(encoding="utf-8")

    with pytest.raises(UserError, match="not classes"):
        scoring.members(["outputs/model"])
    with pytest.raises(UserError, match="gives no parameters"):
        parameters.single("classes/model")

    Path("outputs").rename("second")
    Path("classes").rename("outputs")
    file = Path("outputs/calibration.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"threshold": 0.0}))
    submit.run(small(submission={"parameters": "second/model"}))
    rows = pd.read_csv("outputs/submission/submission.csv")
    assert (rows["preds"] == 1).all()
    assert (rows["Rein"] != -999).all() and rows["sh_PA"].between(0, 180).all()
    assert (rows["RA"] == -999).all()

    file.write_text(json.dumps(json.loads(file.read_text()) | {"threshold": 1.0}))
    submit.run(small(submission={"parameters": "second/model"}))
    assert (pd.read_csv("outputs/submission/submission.csv")["Rein"] == -999).all()


def test_parameters_that_change_make_another_training(trained):
    prepared(small())
    before = train.prepare(small(**REGRESSION))
    table = lens_table.load()
    table["Rein"] += 1.0
    table.to_csv("derived/parameters.csv")
    assert train.prepare(small(**REGRESSION)).data != before.data
    assert train.prepare(small()).data == train.prepare(small()).data


def test_a_mirrored_view_has_mirrored_targets(trained):
    prepared(small())
    changes = {"preprocess": {"ours": {"noise": 0.0, "blur": 0.0, "shift": 0}}}
    samples = train.prepare(small(**REGRESSION, **changes)).task.training()
    plain = samples._look.prediction(samples._view(0), samples._samples[0])
    seen = set()
    for epoch in range(12):
        item = samples[epoch, 0, 0]
        image, target = item["image"].numpy(), item["target"].numpy()
        (mirror,) = [
            (across, down)
            for across in (False, True)
            for down in (False, True)
            if np.array_equal(np.flip(plain, [axis for axis, do in ((-1, across), (-2, down)) if do]), image)
        ]
        expected = samples._targets.mirrored(samples._values[0], across=mirror[0], down=mirror[1])
        np.testing.assert_allclose(target, expected.astype(np.float32))
        seen.add(mirror)
    assert len(seen) == 4
