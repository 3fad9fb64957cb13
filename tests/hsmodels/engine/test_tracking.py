import importlib.util
import json

import numpy as np
import pytest
from toy_task import Toy, trained

from hsdata import UserError
from hsmodels.engine import tracking


def test_the_curves_are_those_of_dvclive(tmp_path):
    result = trained(tmp_path)
    curve = (tmp_path / "curves" / "plots" / "metrics" / "val" / "loss.tsv").read_text().splitlines()
    assert curve[0].split("\t") == ["step", "loss"]
    assert [float(line.split("\t")[1]) for line in curve[1:]] == [row["val/loss"] for row in result.history]
    summary = json.loads((tmp_path / "curves" / "metrics.json").read_text())
    assert summary["val"]["margin"] == result.history[-1]["val/margin"]
    assert summary["step"] == 2
    assert not (tmp_path / "dvc.yaml").exists()


def test_what_stood_in_the_folder_of_the_curves_goes(tmp_path):
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "old.tsv").write_text("")
    trained(tmp_path, epochs=1)
    assert not (tmp_path / "curves" / "old.tsv").exists()


def test_pictures_of_a_fixed_few_samples_stand_beside_the_curves(tmp_path):
    class Drawn(Toy):
        def pictures(self, model, batch):
            return {"point": np.full((4, 6, 3), int(batch["index"]), dtype=np.uint8)}

    trained(tmp_path, Drawn(), pictures=2)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    folder = "curves/plots/images"
    assert names == [f"{folder}/point-000/point.png", f"{folder}/point-001/point.png"]


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "mlflow"])
def test_a_missing_tracker_is_told_with_how_to_get_it(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(UserError, match=f"train.track: the package of '{name}' is missing; .*pip install {name}"):
        tracking.check([name])


def test_missing_credentials_are_told_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: object())
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC", "DATABRICKS_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="wandb login"):
        tracking.check(["wandb"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    with pytest.raises(UserError, match="DATABRICKS_HOST"):
        tracking.check(["mlflow"])
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    tracking.check(["wandb", "mlflow"])
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key\n")
    (tmp_path / ".netrc").chmod(0o600)
    tracking.check(["wandb"])


def test_tensorboard_gets_the_curves_and_what_depends_on_the_clock(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = trained(tmp_path, track=["tensorboard"])
    events = EventAccumulator(str(tmp_path / "tensorboard" / "hyperobject"))
    events.Reload()
    assert [event.value for event in events.Scalars("val/loss")] == pytest.approx(
        [row["val/loss"] for row in result.history]
    )
    assert "speed/samples_per_second" in events.Tags()["scalars"]
    assert not list((tmp_path / "curves").rglob("samples_per_second.tsv"))


def test_a_tracker_that_does_not_start_is_named(monkeypatch, tmp_path):
    class Stubborn:
        requires_logging_directory = False

        def __init__(self, name, **arguments):
            raise ConnectionError("no route to host")

    monkeypatch.setattr(importlib.util, "find_spec", lambda package: object())
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "mlflow", Stubborn)
    with pytest.raises(UserError, match=r"'mlflow' could not be started: no route to host"):
        trained(tmp_path, track=["mlflow"])
