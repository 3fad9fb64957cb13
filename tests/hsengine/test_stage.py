"""The stage `train` of a project that is not about cubes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hsengine import folder, stage
from hsengine.base import paths
from hsengine.base.errors import UserError

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)

from toy_project import PROJECT, Params  # noqa: E402


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _params(**changes):
    return Params.model_validate({"train": {"epochs": 2, "lr": 0.05}} | changes)


def test_a_model_its_record_and_its_throughput_are_written():
    done = stage.train(PROJECT, _params(), params_file=Path("params.yaml"), command=["toy", "train"])
    assert str(done).startswith("a line: val/loss ") and "wrote outputs/model" in str(done)
    config = folder.record()
    assert config == json.loads(json.dumps(done.config))
    assert (config["command"], config["params_file"]) == ("toy train", "params.yaml")
    assert config["model"] == {"name": "line", "params": {}}
    assert config["data"] == {"hash": "points, seeds 1 and 2", "training": 9, "held_out": 5}
    assert config["packages"].keys() == {"torch"} and config["params"]["sides"] == 2
    assert config["checkpoints"]["last"]["file"] == "last.safetensors"
    assert folder.state(paths.MODEL, "last").keys() == {"weight", "bias"}
    assert json.loads(paths.THROUGHPUT.read_text())["samples"] == 18


def test_what_is_wrong_is_said_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(stage, "engine", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(UserError, match="points have two"):
        stage.train(PROJECT, _params(sides=3))
    paths.MODEL.mkdir(parents=True)
    (paths.MODEL / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="outputs/model holds something else than a trained model's folder"):
        stage.train(PROJECT, _params())


def test_processes_of_a_group_find_the_project_again():
    stage.train(PROJECT, _params())
    alone = folder.state(paths.MODEL)
    code = "import sys; from toy_project import PROJECT, Params; from hsengine import stage\n"
    code += "print(stage.train(PROJECT, Params.model_validate_json(sys.argv[1])))"
    params = _params(machine={"launch": {"processes": 2}}).model_dump_json()
    path = os.pathsep.join([HERE, str(Path(HERE).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, params]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "a line: val/loss" in done.stdout
    assert json.loads(paths.THROUGHPUT.read_text())["processes"] == 2
    for name, value in folder.state(paths.MODEL).items():
        torch.testing.assert_close(value, alone[name])


def test_snapshots_are_files_beside_the_checkpoints():
    config = stage.train(PROJECT, _params(train={"epochs": 3, "best_k": 2, "snapshots": "files"})).config
    assert set(config["checkpoints"]) == {"best", "last", "snapshot-1", "snapshot-2"}
    for which, checkpoint in config["checkpoints"].items():
        assert (paths.MODEL / checkpoint["file"]).is_file()
        assert folder.state(paths.MODEL, which).keys() == {"weight", "bias"}


def test_a_training_starts_from_a_models_folder_and_is_another_training_when_that_changes(tmp_path):
    first = stage.train(PROJECT, _params()).config
    paths.MODEL.rename("first")
    start = _params(train={"epochs": 1, "lr": 1e-9, "start": "first"})
    second = stage.train(PROJECT, start).config
    torch.testing.assert_close(folder.state(paths.MODEL), folder.state("first"), atol=1e-6, rtol=0)
    weights = {"best": {name: value + 1 for name, value in folder.state("first").items()}}
    folder.save(Path("first"), weights, first)
    assert stage.train(PROJECT, start).config["training"] != second["training"]
