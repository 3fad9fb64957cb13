import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hsengine.base.errors import UserError
from hstasks import metrics
from hstasks.lenses import log, published


def _scored(count: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = np.arange(count) % 2
    prob = 1.0 / (1.0 + np.exp(-(2.0 * label - 1.0 + rng.standard_normal(count))))
    domain = np.where(np.arange(count) % 4 < 2, "slsim", "hsc")
    path = [f"o{index}.fits" for index in range(count)]
    return pd.DataFrame({"path": path, "domain": domain, "label": label, "prob": prob})


def test_scores_have_their_names_and_columns(tmp_path: Path) -> None:
    frame = _scored()
    published.write_scores(tmp_path, frame, part="val", threshold=0.45)
    table = pd.read_csv(tmp_path / "pred_val.csv")
    assert list(table) == ["path", "domain", "label", "prob", "pred"]
    assert (table["pred"] == (frame["prob"] >= 0.45)).all()
    np.testing.assert_array_equal(np.load(tmp_path / "pred_val.npy"), frame["prob"])
    known = json.loads((tmp_path / "metrics_val.json").read_text())
    assert set(known) == {"global", "domain::slsim", "domain::hsc"} and known["global"]["threshold"] == 0.45
    assert published.read_threshold(tmp_path / "threshold.txt") == 0.45
    published.write_scores(tmp_path, frame.assign(label=-1), part="test", threshold=0.45)
    assert not (tmp_path / "metrics_test.json").exists()


def test_results_say_what_the_best_epoch_and_the_test_files_scored(tmp_path: Path) -> None:
    frame = _scored()
    record = {
        "watch": "auc",
        "params": {"seed": 4},
        "checkpoints": {"best": {"measures": {"val/loss": 0.5, "val/auc": 0.9}}},
    }
    published.write_results(tmp_path, frame, record)
    found = json.loads((tmp_path / "results.json").read_text())
    assert (found["best_val_loss"], found["best_val_auc"], found["monitor"]) == (0.5, 0.9, "auc")
    assert found["test_auc"] == metrics.auroc(frame["label"], frame["prob"])
    assert found["test_acc"] == ((frame["prob"] >= 0.5) == frame["label"]).mean()
    right = np.where(frame["label"] == 1, frame["prob"], 1 - frame["prob"])
    assert found["test_loss"] == pytest.approx(-np.log(right).mean())
    assert found["config"] == {"seed": 4}
    published.write_results(tmp_path, frame, {"model": {}})
    assert json.loads((tmp_path / "results.json").read_text())["best_val_auc"] is None


@pytest.mark.parametrize(("text", "value"), [("0.375\n", 0.375), ("threshold: 4.2e-1", 0.42), ('{"t": .5}', 0.5)])
def test_a_threshold_is_the_number_in_its_file(tmp_path: Path, text: str, value: float) -> None:
    file = tmp_path / "threshold.txt"
    file.write_text(text)
    assert published.read_threshold(file) == value


@pytest.mark.parametrize("text", ["", "none", "7", "nan"])
def test_what_is_no_threshold_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "threshold.txt"
    file.write_text(text)
    with pytest.raises(UserError, match=r"threshold\.txt"):
        published.read_threshold(file)


def test_the_log_has_a_row_an_epoch(tmp_path: Path) -> None:
    for curve, text in (("train/loss", "step\tloss\n0\t0.7\n1\t0.6\n"), ("val/auc", "step\tauc\n1\t0.8\n")):
        file = tmp_path / "plots" / "metrics" / f"{curve}.tsv"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    log.write_log(tmp_path)
    lines = (tmp_path / "training_log.csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,train_acc,val_loss,val_acc,val_auc,lr"
    assert lines[1:] == ["1,0.7,,,,,", "2,0.6,,,,0.8,"]
