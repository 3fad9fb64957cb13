import sys
from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hsengine.study import experiments, search
from hsengine.study.file import Study
from hsengine.study.plan import Plan

SPACE = {
    "train.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "train.batch_size": {"low": 1, "high": 8},
    "train.optimizer": ["adam", "adamw"],
}


@pytest.fixture
def hunt(project, raw):
    """Run a search: its outcome, and what was said."""

    def run(trials=6, space=SPACE, jobs=1, base=None, **given):
        whole = {"name": "s", "base": base or {}, "search": {"trials": trials, "space": space, **given}}
        said = []
        plan = Plan(validated(Study, whole, "s.yaml"), project, raw)
        outcome = search.run(plan, jobs=jobs, say=said.append)
        values = {one.name: one.values for one in search.trials(plan)[0]}
        tried = {name: {key: held[key] for key in space} for name, held in values.items() if held.keys() >= set(space)}
        return outcome, said, tried

    return run


def _forget(name):
    baseline, _ = experiments.finished()[name]
    assert experiments.git("update-ref", "-d", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}") is not None


def test_values_are_in_the_space_and_a_search_that_was_broken_off_goes_on_as_it_would_have(hunt):
    outcome, said, tried = hunt(4)
    assert outcome.done == [f"s-t{number:03d}" for number in range(4)]
    assert said[0] == "4 trials: 0 ended, 4 to run"
    assert f"best so far {max(v['train.lr'] for v in tried.values()):.4f}" in said[-1]
    for values in tried.values():
        assert 1e-4 <= values["train.lr"] <= 1e-1
        assert type(values["train.batch_size"]) is int
        assert 1 <= values["train.batch_size"] <= 8
        assert values["train.optimizer"] in ("adam", "adamw")
    assert len({str(values) for values in tried.values()}) == 4
    for name in ("s-t002", "s-t003"):
        _forget(name)
        experiments.log(name).unlink()
    (experiments.folder() / "s.journal").unlink()
    _, said, again = hunt(4)
    assert said[0] == "4 trials: 2 ended, 2 to run"
    assert again == tried


def test_values_that_the_base_sets_for_all_of_the_space_are_searched_all_the_same(hunt):
    _, _, tried = hunt(3, base={"train": {"lr": 1e-3, "batch_size": 2, "optimizer": "adam"}})
    assert len({str(values) for values in tried.values()}) == 3


def test_a_search_that_was_killed_while_it_wrote_its_journal_goes_on(hunt):
    hunt(trials=1)
    # Optuna's own lock, which is a link from the folder of the journal.
    (experiments.folder() / "s.journal.lock").symlink_to(experiments.folder() / "s.journal")
    outcome, _, tried = hunt(trials=2)
    assert outcome.done == ["s-t000", "s-t001"] == sorted(tried)


def test_another_seed_tries_other_values(hunt):
    first = hunt(1)[2]
    _forget("s-t000")
    (experiments.folder() / "s.journal").unlink()
    assert hunt(1, seed=1)[2] != first


def test_a_trial_that_failed_is_run_again_with_its_values(hunt):
    outcome, _, tried = hunt(1, base={"fail": True})
    assert outcome.failed == ["s-t000"]
    outcome, _, again = hunt(1)
    assert (outcome.done, again) == (["s-t000"], tried)


def test_a_search_without_any_result_ends_early(hunt):
    outcome, said, _ = hunt(20, base={"fail": True})
    assert len(outcome.failed) == 3
    assert "see .dvc/tmp/studies/s-t002.log" in said[-1]


def test_a_trial_below_the_median_is_stopped_and_remembered(hunt):
    space = {"train.lr": {"low": 0.1, "high": 0.9}}
    best, _, tried = hunt(1, space)
    assert best.done == ["s-t000"]
    # All later ones are worse, and would take long.
    stage = Path("stage.py")
    stage.write_text(stage.read_text().replace('params["sleep"]', "100").replace("value = ", "value = -1 + "))
    outcome, said, tried = hunt(2, space, startup=1)
    assert (outcome.done, outcome.failed) == (["s-t000"], [])
    assert any("s-t001: worse than the median at epoch 1, stopped" in line for line in said)
    _, said, again = hunt(2, space, startup=1)
    assert said == ["2 trials: 2 ended, 0 to run"]
    assert again == tried


def test_a_space_that_lost_a_trial_is_an_error(hunt):
    hunt(1)
    with pytest.raises(UserError, match=r"'s-t000' was made with another space"):
        hunt(1, SPACE | {"train.lr": {"low": 0.5, "high": 0.9}})


def test_both_ends_of_the_space_are_checked_before_the_first_trial(hunt):
    for space, message in (
        ({"train.lr": {"low": -0.5, "high": 0.5}}, r"train\.lr: -0\.5 is not allowed"),
        ({"train.epochs": {"low": 1, "high": 1.5}}, r"train\.epochs: 1\.5 is not allowed"),
        ({"train.schedule": ["cosine", "cosinus"]}, r"train\.schedule: 'cosinus' is not allowed"),
        ({"train.wide": [1, 2]}, r"train\.wide: unknown key"),
        ({"model": ["small", "huge"]}, r"there is no model 'huge'"),
    ):
        with pytest.raises(UserError, match=message):
            hunt(1, space)
    assert not experiments.folder().exists()


def test_without_optuna_the_remedy_is_named(hunt, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install .*\[study\]"):
        hunt()
