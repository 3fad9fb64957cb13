import pytest

from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml, validated
from hsengine.study import experiments, plan, run
from hsengine.study.experiments import Record
from hsengine.study.plan import Study

STUDY = validated(
    Study, {"name": "s", "base": {"model": "example"}, "variants": {"a": None, "b": {"train.lr": 0.5}}}, "s.yaml"
)


def _record(name, params, state):
    return Record(name, state, "r", "b", params, {})


def _params(raw, experiment):
    return plan.parameters(raw, experiment).model_dump()


@pytest.fixture
def raw(params_file):
    return read_yaml(params_file)


def test_what_is_done_or_under_way_is_skipped_and_what_failed_runs_again(raw):
    study = validated(Study, {"name": "s", "seeds": 5, "base": {"model": "example"}}, "s.yaml")
    wanted = plan.expand(study, raw)
    states = ["done", "running", "queued", "failed"]
    records = {
        one.name: _record(one.name, _params(raw, one), state) for one, state in zip(wanted, states, strict=False)
    }
    assert [one.name for one in run.missing(wanted, records, raw)] == ["s-base-s3", "s-base-s4"]


def test_an_experiment_of_that_name_with_other_parameters_is_an_error_that_says_what_to_do(raw):
    wanted = plan.expand(STUDY, raw)
    other = _params(raw, wanted[1])
    other["train"]["lr"] = 0.25
    for state, command in (("done", "dvc exp remove s-b"), ("queued", "dvc queue remove s-b")):
        with pytest.raises(UserError, match=rf"(?s)another name.*{command} .*train\.lr is 0\.25, not 0\.5"):
            run.missing(wanted, {"s-b": _record("s-b", other, state)}, raw)


def test_models_are_made_before_anything_is_queued(raw, params_file, dvc):
    for changes, message in (
        ({"models.example.wide": 3}, r"wide: unknown key; did you mean 'width'"),
        ({"model": "raw2hsi"}, r"'raw2hsi' cannot take the input of track 2"),
    ):
        study = validated(Study, {"name": "s", "base": {"model": "example"} | changes}, "s.yaml")
        with pytest.raises(UserError, match=message):
            run.run(study, params_file, jobs=1, say=print)
    assert dvc.added == []


class _Following:
    """A follower of the two experiments of `STUDY`, one look at a time."""

    def __init__(self, dvc, raw):
        self.said = []
        self.follower = run.Follower(STUDY, 1, self.said.append)
        self.pending = {one.name: one for one in plan.expand(STUDY, raw)}
        dvc.set("s-a", "Running")
        dvc.set("s-b", "Queued")

    def look(self):
        found = self.follower.ended(self.pending)
        for name in found:
            del self.pending[name]
        return found


@pytest.fixture
def following(dvc, raw):
    return _Following(dvc, raw)


def test_an_experiment_with_a_reference_is_done_and_a_failed_one_failed(dvc, following):
    assert following.look() == {}
    dvc.finish("s-a", 0.5)
    dvc.set("s-b", "Failed")
    assert following.look() == {"s-a": True, "s-b": False}


def test_an_experiment_that_the_list_misses_once_is_waited_for(dvc, following):
    dvc.set("s-a", None)
    assert following.look() == {}
    dvc.set("s-a", "Running")
    assert following.look() == {}
    dvc.set("s-a", None)
    assert following.look() == {}
    assert following.look() == {"s-a": False}


def test_what_a_killed_worker_leaves_is_queued_again_but_not_for_ever(dvc, following):
    dvc.set("s-b", None)
    del following.pending["s-b"]
    for attempt in range(1, 3):
        dvc.set("s-a", "Running")
        dvc.active = 0
        assert following.look() == {}
        assert following.look() == {}
        assert dvc.given_up == dvc.forgotten == dvc.added == ["s-a"] * attempt
        assert dvc.starts == attempt
        dvc.active = 1
        assert following.look() == {}
    dvc.set("s-a", "Running")
    dvc.active = 0
    assert following.look() == {}
    assert following.look() == {"s-a": False}
    assert following.said == ["s-a: DVC's worker is gone; queueing it again"] * 2


def test_a_result_that_a_killed_worker_did_not_hand_over_is_made_again(dvc, following):
    dvc.set("s-a", "Success")
    assert following.look() == {}
    assert dvc.added == ["s-a"]


def test_workers_are_started_again_where_the_queue_stands_still(dvc, following):
    dvc.set("s-a", None)
    del following.pending["s-a"]
    dvc.active = 0
    following.look()
    assert dvc.starts == 0
    following.look()
    assert dvc.starts == 1
    assert dvc.added == []


def test_a_study_queues_waits_and_reports(dvc, params_file, monkeypatch):
    said = []
    look = run.Follower.ended

    def ends(self, pending):
        for name in list(pending)[:1]:
            dvc.finish(name, 0.5) if name == "s-a" else dvc.set(name, "Failed")
        return look(self, pending)

    monkeypatch.setattr(run.Follower, "ended", ends)
    outcome = run.run(STUDY, params_file, jobs=1, say=said.append)
    assert said == ["2 experiments: 0 done, 0 queued or running already, 2 to queue"]
    assert (outcome.done, outcome.failed) == (["s-a"], ["s-b"])
    with pytest.raises(UserError, match=r"(?s)1 of 2 experiments failed.*dvc queue logs s-b"):
        outcome.check()


def test_where_dvc_cannot_list_lost_experiments_are_given_up(dvc, monkeypatch):
    dvc.set("s-a", "Running")
    dvc.active = 0
    answers = iter([UserError("DVC cannot list"), {}])

    def read(names):
        answer = next(answers)
        if isinstance(answer, UserError):
            raise answer
        return answer

    monkeypatch.setattr(experiments, "read", read)
    assert run.records_of(["s-a"]) == {}
    assert dvc.given_up == ["s-a"]


def test_notes_name_what_git_does_not_know(monkeypatch):
    monkeypatch.setattr(experiments, "untracked", lambda: ["studies/mine.yaml", "hsmodels/zoo/mine.py"])
    monkeypatch.setattr(experiments, "is_tracked", lambda file: False)
    found = "\n".join(run.notes())
    assert "hsmodels/zoo/mine.py" in found
    assert "studies" not in found
    assert "dvc.lock" in found


def test_outside_of_a_project_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="dvc init"):
        experiments.check_project()
    (tmp_path / ".dvc").mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match="commit the project first"):
        experiments.check_project()
