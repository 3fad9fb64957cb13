import os
import sys

import pytest
from hsengine.study.queue import Run

from hsdata import paths
from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml, validated
from hsengine.study import plan, run, search
from hsengine.study.plan import Study

SPACE = {
    "train.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "train.batch_size": {"low": 1, "high": 8},
    "train.optimizer": ["adam", "adamw"],
}


def _study(trials=6, space=SPACE, **given):
    whole = {"name": "s", "base": {"model": "example"}, "search": {"trials": trials, "space": space, **given}}
    return validated(Study, whole, "s.yaml")


@pytest.fixture
def ending(dvc, params_file, monkeypatch):
    """Trials end at the first look, with a value by their learning rate."""
    raw = read_yaml(params_file)
    tried = {}
    look = run.Follower.ended
    monkeypatch.setattr(search, "_PAUSE", 0.0)

    def ends(self, pending):
        for name, one in pending.items():
            tried[name] = {key: one.values[key] for key in SPACE if key in one.values}
            if dvc.ends is None or dvc.ends(name):
                lr = one.values["train.lr"]
                dvc.finish(name, 1 - abs(lr - 0.01), plan.parameters(raw, one).model_dump())
            else:
                dvc.set(name, "Failed")
        return look(self, pending)

    monkeypatch.setattr(run.Follower, "ended", ends)
    return tried


def _run(study, params_file, jobs=1):
    said = []
    return search.run(study, params_file, jobs=jobs, say=said.append), said


def test_values_are_in_the_space_and_of_its_types(dvc, ending, params_file):
    outcome, said = _run(_study(), params_file)
    assert outcome.done == [f"s-t{number:03d}" for number in range(6)]
    assert said[0] == "6 trials: 0 ended, 0 queued or running already, 6 to come"
    for values in ending.values():
        assert 1e-4 <= values["train.lr"] <= 1e-1
        assert type(values["train.batch_size"]) is int
        assert 1 <= values["train.batch_size"] <= 8
        assert values["train.optimizer"] in ("adam", "adamw")
    assert len({str(values) for values in ending.values()}) == 6


def test_a_search_that_was_broken_off_tries_what_it_would_have_tried(dvc, ending, params_file):
    _run(_study(14), params_file)
    whole = dict(ending)
    for number in (11, 12, 13):
        del dvc.records[f"s-t{number:03d}"]
    ending.clear()
    dvc.added.clear()
    _, said = _run(_study(14), params_file)
    assert said[0] == "14 trials: 11 ended, 0 queued or running already, 3 to come"
    assert dvc.added == ["s-t011", "s-t012", "s-t013"]
    assert ending == {name: whole[name] for name in dvc.added}


def test_another_seed_tries_other_values(dvc, ending, params_file):
    _run(_study(1), params_file)
    first = ending.pop("s-t000")
    dvc.records.clear()
    _run(_study(1, seed=1), params_file)
    assert ending["s-t000"] != first


def test_several_jobs_are_under_way_at_once(dvc, ending, params_file):
    outcome, _ = _run(_study(5), params_file, jobs=3)
    assert sorted(outcome.done) == [f"s-t{number:03d}" for number in range(5)]


def test_a_failed_trial_is_tried_again_with_its_values(dvc, ending, params_file):
    dvc.ends = lambda name: name != "s-t001"
    outcome, _ = _run(_study(3), params_file)
    assert outcome.failed == ["s-t001"]
    raw, values = read_yaml(params_file), ending["s-t001"]
    params = plan.parameters(raw, plan.trial(_study(3), 1, values)).model_dump()
    dvc.records["s-t001"] = search.Record("s-t001", "failed", "r", "b", params, {})
    dvc.ends = None
    ending.clear()
    outcome, _ = _run(_study(3), params_file)
    assert ending == {"s-t001": values}
    assert dvc.forgotten == ["s-t001"]
    assert outcome.failed == []


def test_a_search_without_any_result_ends_early(dvc, ending, params_file):
    dvc.ends = lambda name: False
    outcome, said = _run(_study(20), params_file)
    assert len(outcome.failed) == 3
    assert said[-1] == "The first 3 trials failed: no more are begun."


def test_a_trial_below_the_median_is_stopped_and_remembered(dvc, ending, params_file, tmp_path, monkeypatch):
    study = _study(2, {"train.lr": SPACE["train.lr"]}, startup=1)
    stopped = []
    dvc.ends = lambda name: name == "s-t000"
    dvc.curves["s-t000"] = {0: 0.5, 1: 0.9}
    curve = tmp_path / paths.CURVES / "plots" / "metrics" / "val" / "SSC.tsv"
    curve.parent.mkdir(parents=True)
    curve.write_text("step\tSSC\n0\t0.4\n")
    dvc.runs = [Run("s-t001", "r", "b", tmp_path, os.getpid())]
    monkeypatch.setattr(Run, "stop", lambda self: stopped.append(self.name))
    outcome, said = _run(study, params_file)
    assert stopped == ["s-t001"]
    assert "s-t001: worse than the median at epoch 0, stopped" in said
    assert (outcome.done, outcome.failed) == (["s-t000"], [])
    assert search.pruned(study)["s-t001"]["course"] == [[0, 0.4]]
    dvc.added.clear()
    _, said = _run(study, params_file)
    assert said[0] == "2 trials: 2 ended, 0 queued or running already, 0 to come"
    assert dvc.added == []


def test_a_space_that_lost_a_trial_is_an_error(dvc, ending, params_file):
    _run(_study(1), params_file)
    narrow = SPACE | {"train.lr": {"low": 0.5, "high": 0.9}}
    with pytest.raises(UserError, match=r"'s-t000' was made with another space"):
        _run(_study(1, narrow), params_file)


def test_both_ends_of_the_space_are_checked_before_the_first_trial(dvc, params_file):
    for space, message in (
        ({"train.lr": {"low": -0.5, "high": 0.5}}, r"train\.lr: -0\.5 is not allowed"),
        ({"train.epochs": {"low": 1, "high": 1.5}}, r"train\.epochs: 1\.5 is not allowed"),
        ({"train.optimizer": ["adam", "sdg"]}, r"train\.optimizer: 'sdg' is not allowed"),
        ({"train.wide": [1, 2]}, r"train\.wide: unknown key"),
    ):
        with pytest.raises(UserError, match=message):
            _run(_study(1, space), params_file)
    assert dvc.added == []


def test_without_optuna_the_remedy_is_named(params_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install .*\[study\]"):
        _run(_study(), params_file)
