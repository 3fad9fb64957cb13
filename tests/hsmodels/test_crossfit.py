import json
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
import torch

import hsmodels
from hsdata import catalog as catalogs
from hsdata import paths
from hsmodels import crossfit, testing, train, zoo
from hsmodels.heldout import division
from hsmodels.params import Params
from hsmodels.reconstruction import Reconstruction


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A tiny project in the current folder: three training samples, each of a group of its own."""
    monkeypatch.chdir(tmp_path)
    testing.project(2)


def _params(folds=2, **changes):
    plain = {"epochs": 2, "batch_size": 2, "lr": 0.01, "score_every": 2, "warmup_epochs": 0}
    raw = {
        "model": "example",
        "models": {"example": {"width": 4}},
        "train": plain,
        "residual": "kernel_ridge",
        "residual_folds": folds,
        "stripes": True,
        "augment": {"crop": None, "flip": True},
    }
    return Params.model_validate(raw | changes)


def _task(params):
    return Reconstruction(params, *division(catalogs.load(paths.CATALOG)))


def _weights():
    return {name: (paths.MODEL / name).read_bytes() for name in ("model.safetensors", "last.safetensors")}


def _rows(groups, synthetic=()):
    rows = [
        {"id": f"s{place}", "group": group, "category_name": "a", "id1": "", "id2": "", "synthetic": False}
        for place, group in enumerate(groups)
    ]
    rows += [
        {"id": name, "group": "", "category_name": "a", "id1": first, "id2": second, "synthetic": True}
        for name, first, second in synthetic
    ]
    frame = pd.DataFrame(rows)
    hashes = [f"hash {place}" for place in range(len(frame))]
    return frame.assign(split="train", cube="file", cube_hash=hashes, input_hash=hashes)


def test_a_sample_is_mixed_with_those_of_its_fold_alone(project):
    task = _task(_params(folds=2, augment={"mix": 0.5}))
    pools = task.training().physics.pools
    assert [list(pool) for pool in pools] == task._folds and len(pools) == 2


def test_what_training_corrects_was_solved_without_the_samples_group(project):
    task = _task(_params(folds=3))
    model = task.model()
    task.prepare(model)
    rows = division(catalogs.load(paths.CATALOG))[0]
    samples = task._samples(rows, None, learning=False)
    for place in range(len(rows)):
        item = samples[0, place, 0]
        others = [samples[0, other, 0] for other in range(len(rows)) if other != place]
        alone = zoo.for_track("kernel_ridge", 2, {})
        zoo.fit(alone, ((other["input"][None], other["target"][None]) for other in others))
        batch = {
            "input": item["input"][None],
            "target": item["target"][None],
            "index": torch.tensor([place]),
            "columns": item["columns"][None],
            "transposed": torch.tensor([False]),
        }
        seen = alone(batch["input"])
        torch.testing.assert_close(task._cross_fitted(batch["input"], batch["index"]), seen)
        # The gains are 0 and so is the bias: the loss is that of what is corrected.
        torch.testing.assert_close(task.losses(model, batch)[0], task.loss(seen, batch["target"])[0])
        with torch.no_grad():
            measured = task.measures(model.eval(), batch, full=False)[0]["loss"]
            whole = task.loss(zoo.base_of(model)(batch["input"]), batch["target"])[0]
        assert measured == pytest.approx(float(whole), rel=1e-5)


def test_a_model_predicts_with_what_was_solved_on_everything(project):
    train.run(_params())
    model, _ = hsmodels.load(which="last")
    task = _task(_params(folds=0))
    alone = task.model()
    task.prepare(alone)
    for key, value in zoo.base_of(alone).state_dict().items():
        assert torch.equal(value, zoo.base_of(model).state_dict()[key])


def test_folds_hold_whole_groups_and_each_sample_once():
    rows = _rows(["a", "a", "b", "c", "c", "c", "d"])
    folds = crossfit.folds_of(rows, 3, seed=0)
    assert sorted(place for fold in folds for place in fold) == list(range(7))
    groups = [{rows["group"][place] for place in fold} for fold in folds]
    assert sum(len(found) for found in groups) == len({group for found in groups for group in found}) == 4
    assert crossfit.folds_of(rows, 3, seed=0) == folds


def test_fewer_groups_make_fewer_folds_and_one_group_none():
    assert len(crossfit.folds_of(_rows(["a", "b", "b"]), 5, seed=0)) == 2
    assert crossfit.folds_of(_rows(["a", "a", "a"]), 5, seed=0) == []


def test_a_mixture_goes_with_its_first_source_and_is_left_out_with_either():
    rows = _rows(["a", "b", "c"], [("mixed", "s0", "s2")])
    folds = crossfit.folds_of(rows, 3, seed=0)
    assert {0, 3} in [set(fold) for fold in folds]
    left = {place: list(crossfit.without(rows, fold)["id"]) for fold in folds for place in fold}
    assert left[0] == ["s1", "s2"]
    assert left[1] == ["s0", "s2", "mixed"]
    assert left[2] == ["s0", "s1"]


def test_a_resumed_training_has_the_same_bytes(project, monkeypatch):
    train.run(_params())
    whole = _weights()
    told, genuine = [], Reconstruction.progress

    def progress(self, done):
        genuine(self, done)
        told.append(done)
        if len(told) == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Reconstruction, "progress", progress)
        with pytest.raises(SystemExit):
            train.run(_params())
    monkeypatch.setattr(Reconstruction, "prepare", lambda self, model: pytest.fail("solved for again"))
    train.run(_params())
    assert _weights() == whole


def test_the_folds_decide_the_result(project):
    train.run(_params(folds=0))
    alone = _weights()
    train.run(_params(folds=2))
    assert _weights() != alone


@pytest.fixture
def one_thread():
    """What a closed form is solved for differs in its last digits with the number of threads, and its cubes by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_two_processes_train_as_one_does(project, one_thread):
    alone = train.run(_params()).config["checkpoints"]["last"]["measures"]
    code = "import sys; from hsmodels import train; from hsmodels.params import Params\n"
    code += "train.run(Params.model_validate_json(sys.argv[1]))"
    params = _params(machine={"launch": {"processes": 2}}).model_dump_json()
    command = [sys.executable, "-c", code, params]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    both = hsmodels.load(which="last")[1]["checkpoint"]["measures"]
    assert json.loads(paths.THROUGHPUT.read_text())["processes"] == 2
    for name, value in alone.items():
        assert both[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
