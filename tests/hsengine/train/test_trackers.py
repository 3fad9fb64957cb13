import importlib.util
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from toy_task import Toy, trained

from hsengine.base.errors import UserError
from hsengine.train import trackers


def test_the_curves_are_those_of_dvclive(tmp_path):
    result = trained(tmp_path)
    curve = (tmp_path / "curves" / "plots" / "metrics" / "val" / "loss.tsv").read_text().splitlines()
    assert curve[0].split("\t") == ["step", "loss"]
    assert [float(line.split("\t")[1]) for line in curve[1:]] == [row["val/loss"] for row in result.history]
    summary = json.loads((tmp_path / "curves" / "metrics.json").read_text())
    assert summary["val"]["margin"] == result.history[-1]["val/margin"]
    assert summary["step"] == 2
    assert not (tmp_path / "dvc.yaml").exists()


def test_a_repository_without_a_commit_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, check=True)
    with pytest.raises(UserError, match=r"no commit yet.*git commit"):
        trained(tmp_path, epochs=1)


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
    with pytest.raises(UserError, match=f"machine.trackers: the package of '{name}' is missing; .*pip install {name}"):
        trackers.check([name])


def test_missing_credentials_are_told_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: SimpleNamespace(origin=package))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC", "DATABRICKS_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="wandb login"):
        trackers.check(["wandb"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    with pytest.raises(UserError, match="DATABRICKS_HOST"):
        trackers.check(["mlflow"])
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    trackers.check(["wandb", "mlflow"])
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key\n")
    (tmp_path / ".netrc").chmod(0o600)
    trackers.check(["wandb"])


class Drawn(Toy):
    """Has a picture of each sample, and a measure by category."""

    def pictures(self, model, batch):
        return {"point": np.full((4, 6, 3), int(batch["index"]), dtype=np.uint8)}

    def summary(self, rows):
        return super().summary(rows) | {"by_category/1/loss": rows[0]["loss"]}


def _tracked(folder, name):
    """A training that is tracked, its curves as they must be found, and the names that only trackers get."""
    result = trained(folder, Drawn(), trackers=[name], pictures=1)
    curves = {key: [row[key] for row in result.history if key in row] for row in result.history for key in row}
    assert {"train/half", "val/by_category/1/loss", "train/learning_rate", "train/gradient_norm"} <= curves.keys()
    assert len(curves["val/margin"]) == 2
    assert not list((folder / "curves").rglob("samples_per_second.tsv"))
    return curves, {"speed/samples_per_second", "speed/data_wait_share"}


def test_tensorboard_gets_the_curves_the_pictures_and_what_depends_on_the_clock(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves, clocked = _tracked(tmp_path, "tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard" / "toy"))
    events.Reload()
    for name, values in curves.items():
        assert [event.value for event in events.Scalars(name)] == pytest.approx(values)
    assert clocked <= set(events.Tags()["scalars"])
    assert [(image.step, image.width, image.height) for image in events.Images("point-000/point")] == [
        (1, 6, 4),
        (2, 6, 4),
    ]


def test_weights_and_biases_gets_them_without_a_network(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    curves, clocked = _tracked(tmp_path, "wandb")
    # Its background process, which otherwise ends with pytest's and complains.
    wandb.teardown()
    (log,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    found: dict[str, list[float]] = {}
    parameters = {}
    for content in _records(log.read_bytes()):
        record = Record.FromString(content)
        row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for name, value in row.items():
            found.setdefault(name, []).append(value)
        parameters |= {item.key: item.value_json for item in record.config.update}
    for name, values in curves.items():
        assert found[name] == pytest.approx(values)
    assert clocked <= found.keys()
    assert found["_step"] == [0, 1, 2]
    assert parameters["batch_size"] == "4"
    assert len(list(log.parent.glob("files/media/images/point-000/point_*.png"))) == 2
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("curves", "runs")] == ["wandb"]


def _records(content):
    """The records of a log in the format of LevelDB: blocks of 32 KiB, records in pieces."""
    place, pieces = 7, b""
    while place + 7 <= len(content):
        rest = 32768 - place % 32768
        if rest < 7:
            place += rest
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        pieces += content[place + 7 : place + 7 + size]
        place += 7 + size
        # 1: whole, 2: first piece, 3: a middle one, 4: the last.
        if kind in (1, 4):
            yield pieces
            pieces = b""


@pytest.fixture
def mlflow(monkeypatch):
    """MLflow that does not know yet where to write."""
    module = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    module.set_tracking_uri(None)
    yield module
    module.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def test_mlflow_gets_them_in_a_file_beside_the_curves(tmp_path, monkeypatch, mlflow):
    monkeypatch.chdir(tmp_path)
    curves, clocked = _tracked(tmp_path, "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["batch_size"] == "4"
    for name, values in curves.items():
        assert [metric.value for metric in client.get_metric_history(run.info.run_id, name)] == pytest.approx(values)
    assert clocked <= run.data.metrics.keys()
    pictures = client.list_artifacts(run.info.run_id, "point-000")
    assert [picture.path for picture in pictures] == ["point-000/point.png"]
    assert {path.name for path in tmp_path.iterdir()} == {"curves", "mlflow", "runs"}


def test_a_training_that_fails_lets_go_of_its_trackers(tmp_path, monkeypatch, mlflow):
    class Failing(Toy):
        def measures(self, model, batch, *, full):
            raise UserError("a sample is gone")

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="a sample is gone"):
        trained(tmp_path, Failing(), trackers=["mlflow"])
    assert mlflow.active_run() is None


def test_a_folder_that_a_tracker_left_is_not_taken_for_its_package(tmp_path, monkeypatch):
    (tmp_path / "wandb").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(UserError, match="the package of 'wandb' is missing"):
        trackers.check(["wandb"])


def test_a_training_that_goes_on_shows_the_trackers_all_of_it(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Stopped(Drawn):
        left = 2

        def progress(self, done):
            if done == 1.0:
                self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, Stopped(), trackers=["tensorboard"], pictures=1)
    result = trained(tmp_path, Drawn(), trackers=["tensorboard"], pictures=1)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "toy"))
    events.Reload()
    assert [event.step for event in events.Scalars("val/loss")] == [0, 1, 2]
    assert [event.value for event in events.Scalars("val/loss")] == pytest.approx(
        [row["val/loss"] for row in result.history]
    )


def test_a_tracker_that_does_not_start_is_named(monkeypatch, tmp_path):
    class Stubborn:
        requires_logging_directory = False

        def __init__(self, name, **arguments):
            raise ConnectionError("no route to host")

    monkeypatch.setattr(importlib.util, "find_spec", lambda package: SimpleNamespace(origin=package))
    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "mlflow", Stubborn)
    with pytest.raises(UserError, match=r"'mlflow' could not be started: no route to host"):
        trained(tmp_path, trackers=["mlflow"])
