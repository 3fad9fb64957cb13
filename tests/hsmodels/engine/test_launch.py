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
from toy_task import files

from hsdata import UserError
from hsmodels.engine import launch
from hsmodels.params import Launch

START = """
import json, sys
from hsmodels.engine import launch
from hsmodels.params import Launch
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


def test_one_and_two_processes_see_the_same_samples_and_measure_the_same(tmp_path):
    """Nine samples in batches of 4 and five held out: neither divides evenly. Statistics are of whole batches."""
    task = {"count": 9, "held_out": 5, "normalised": True}
    alone, pair = (_specification(tmp_path / name, task, accumulate=2) for name in ("one", "two"))
    _alone(alone)
    subprocess.run(_group(pair, processes=2), check=True)
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")]
    assert [result["world"] for result in results] == [1, 2]
    assert _orders(tmp_path / "one", 1) == _orders(tmp_path / "two", 2)
    for left, right in zip(results[0]["history"], results[1]["history"], strict=True):
        assert left.keys() == right.keys()
        assert all(left[name] == pytest.approx(right[name], abs=1e-6) for name in left)
    for name, value in results[0]["weights"].items():
        assert torch.allclose(torch.tensor(value), torch.tensor(results[1]["weights"][name]), atol=1e-5)


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
    with pytest.raises(UserError, match=r"train\.launch\.address"):
        launch.spawn("toy_worker", [], Launch(machines=2))


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="has 2 GPUs"):
        launch.spawn("toy_worker", [], Launch(processes=4))


def test_the_environment_and_the_handlers_are_left_as_they_were():
    before = dict(os.environ), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        launch.spawn("no_such_module", [], Launch(processes=2))
    assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == before
