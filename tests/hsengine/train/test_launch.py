import io
import json
import os
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import pytest
import torch
import toy_worker
from toy_task import EVERYTHING, files, same, trained

from hsengine.base.errors import UserError
from hsengine.base.settings import Launch
from hsengine.train import launch

START = """
import json, sys
from hsengine.train import launch
from hsengine.base.settings import Launch
launch.spawn("toy_worker", sys.argv[2:], Launch(**json.loads(sys.argv[1])))
"""


def _specification(folder, task=None, **changes):
    folder.mkdir(exist_ok=True)
    settings = {"epochs": 3, "batch_size": 4, "lr": 0.05, "score_every": 2} | changes
    spec = {"folder": str(folder), "settings": settings, "task": task or {}}
    (folder / "spec.json").write_text(json.dumps(spec))
    return [str(folder / "spec.json"), str(folder / "result.json")]


def _group(arguments, **settings):
    return [sys.executable, "-c", START, json.dumps(settings), *arguments]


def _alone(arguments):
    toy_worker.run(*map(Path, arguments))


def _orders(folder, world):
    """The samples of each step, over all processes."""
    logs = [
        [json.loads(line) for line in (folder / f"result.log.{rank}").read_text().splitlines()] for rank in range(world)
    ]
    return [sorted(set(chain(*step))) for step in zip(*logs, strict=True)]


# 19 samples in batches of 4 and five held out: neither divides evenly. Statistics are of whole batches.
TASK = {"count": 19, "held_out": 5, "normalised": True, "blocks": 2}
RICH = {"accumulate": 2, "ema": 0.9, "best_k": 2, "clip_norm": 0.1, "optimizer": "adamw", "weight_decay": 0.01}
SHARDED = {"launch": {"shard": True}}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One training by one, two and four processes, sharded ones too, and one that moves between them: by folder."""
    root = tmp_path_factory.mktemp("worlds")

    def specified(name, stop_in=None, **changes):
        return _specification(root / name, TASK | {"stop_in": stop_in}, **RICH, **changes)

    def learned(name, stop_in=None):
        task = TASK | {"stop_in": stop_in, "learned": True}
        return _specification(root / f"{name}-learned", task, **EVERYTHING)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        moved = specified("moved", 1, **SHARDED)
        first = [*specified("two"), *specified("two-sharded", **SHARDED), *learned("two"), *learned("moved", 9), *moved]
        subprocess.run(_group(first, processes=2), check=True)
        specified("moved", 2, **SHARDED)
        sharded = specified("four-sharded", gradient_checkpointing=True, **SHARDED)
        second = [*moved, *specified("four"), *sharded, *learned("moved")]
        subprocess.run(_group(second, processes=4), check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", io.StringIO())
        _alone(specified("one"))
        _alone(learned("one"))
        _alone(specified("moved", **SHARDED))
        said = sys.stderr.getvalue()
    found = {file.parent.name: json.loads(file.read_text()) for file in root.glob("*/result.json")}
    return root, found, said


def _same(left, right):
    assert len(left["history"]) == len(right["history"])
    for mine, other in zip(left["history"], right["history"], strict=True):
        assert mine.keys() == other.keys()
        assert all(mine[name] == pytest.approx(other[name], abs=1e-6) for name in mine)
    assert left["averaged"] == right["averaged"]
    assert left["weights"].keys() == right["weights"].keys()
    for which in left["weights"]:
        assert left["weights"][which].keys() == right["weights"][which].keys()
        for name, value in left["weights"][which].items():
            assert torch.allclose(torch.tensor(value), torch.tensor(right["weights"][which][name]), atol=1e-5)


@pytest.mark.parametrize(("name", "world"), [("two", 2), ("four", 4), ("two-sharded", 2), ("four-sharded", 4)])
def test_one_two_and_four_processes_see_the_same_samples_and_measure_the_same(results, name, world):
    root, found, _ = results
    assert [found[each]["world"] for each in ("one", name)] == [1, world]
    assert _orders(root / name, world) == _orders(root / "one", 1)
    _same(found[name], found["one"])


@pytest.mark.parametrize("name", ["two-learned", "moved-learned"])
def test_all_that_a_task_may_add_is_the_same_for_any_number_of_processes(results, name):
    _same(results[1][name], results[1]["one-learned"])


def test_a_sharded_model_leaves_each_process_its_part(results):
    shares = {name: result["share"] for name, result in results[1].items()}
    assert shares["one"] == shares["two"] == shares["four"] == shares["moved"] == 1.0
    assert shares["two-sharded"] == pytest.approx(1 / 2, abs=0.02)
    assert shares["four-sharded"] == pytest.approx(1 / 4, abs=0.05)


def test_a_sharded_training_moves_from_two_processes_to_four_and_to_one(results):
    root, found, said = results
    assert found["moved"]["world"] == 1
    assert "Going on from a saved state: epoch 1, update 2" in said
    steps = [len((root / "moved" / f"result.log.{rank}").read_text().splitlines()) for rank in range(4)]
    # Two processes leave after four of 15 steps, four go on for five, one makes the others.
    assert steps == [15, 9, 5, 5]
    _same(found["moved"], found["one"])


def test_sigterm_to_the_launcher_saves_and_another_number_of_processes_goes_on(tmp_path, capsys):
    arguments = _specification(tmp_path / "run", {"pause": 0.05}, epochs=8)
    with subprocess.Popen(_group(arguments, processes=2)) as group:
        while not list(tmp_path.glob("run/runs/*/*.pt")):
            assert group.poll() is None
            time.sleep(0.02)
        group.send_signal(signal.SIGTERM)
        assert group.wait() == 75
    assert not (tmp_path / "run" / "result.json").exists()
    done = len((tmp_path / "run" / "result.log.1").read_text().splitlines())
    assert done < 24
    _alone(arguments)
    assert "Going on from a saved state" in capsys.readouterr().err
    total = len((tmp_path / "run" / "result.log.0").read_text().splitlines())
    assert total == 24
    assert files(tmp_path / "run" / "curves")


def test_a_mistake_is_told_once_and_ends_all_processes(tmp_path):
    arguments = _specification(tmp_path / "run", watch="nonsense")
    ended = subprocess.run(_group(arguments, processes=2), capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("error: train.watch: no measure is called 'nonsense'") == 1
    assert "Traceback" not in ended.stderr


def test_in_a_started_process_no_further_ones_are_started(monkeypatch):
    assert launch.wanted(Launch(processes=2))
    assert launch.wanted(Launch(machines=2))
    assert not launch.wanted(Launch())
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not launch.wanted(Launch(processes=2))
    with pytest.raises(UserError, match="2 processes were started, but they make groups of 1"):
        launch.check_world(1)


def test_several_machines_must_know_which_they_are_and_where_to_meet(monkeypatch):
    for name in ("HYPEROBJECT_MACHINE", "SLURM_NODEID", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="which of the 2 machines is this"):
        launch.spawn("toy_worker", [], Launch(machines=2, address="here"))
    monkeypatch.setenv("SLURM_NODEID", "1")
    with pytest.raises(UserError, match=r"machine\.launch\.address"):
        launch.spawn("toy_worker", [], Launch(machines=2))


def test_one_process_has_nobody_to_share_a_model_with(tmp_path):
    said = []
    alone = trained(tmp_path / "a", epochs=1, said=said, launch={"shard": True})
    assert said == ["machine.launch.shard: one process has nobody to share the model with, so nothing changes."]
    assert same(alone.last.weights, trained(tmp_path / "b", epochs=1).last.weights)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="has 2 GPUs"):
        launch.spawn("toy_worker", [], Launch(processes=4))


def test_the_environment_and_the_handlers_are_left_as_they_were():
    before = dict(os.environ), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        launch.spawn("no_such_module", [], Launch(processes=2))
    assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == before
