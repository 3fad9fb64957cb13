"""Studies from their file to their winner, with DVC itself, on a pipeline that only writes numbers."""

from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hsengine.study import calls, experiments, snapshot, verbs

PIPELINE = """\
stages:
  evaluate:
    cmd: python ../../shared/stage.py
    deps: [../../shared/stage.py]
    params: [seed, fail, train.lr]
    outs: [outputs/curves]
    metrics: [{outputs/metrics.json: {cache: false}}]
"""
STUDY = "name: rates\nvariants:\n  low: {train.lr: 0.25}\n  high: {train.lr: 0.5}\n"


@pytest.fixture
def below(tmp_path, monkeypatch, helpers):
    """The small project as a DVC project of its own in a folder of a git repository; its code is in another."""
    monkeypatch.chdir(tmp_path)
    for folder in (Path("shared"), Path("challenges/toy")):
        helpers.make_project(folder)
    monkeypatch.chdir("challenges/toy")
    Path(".dvc/.gitignore").unlink()
    Path(".dvc").rmdir()
    for name, text in (("dvc.yaml", PIPELINE), ("rates.yaml", STUDY), (".gitignore", "/outputs/curves\n")):
        Path(name).write_text(text)
    monkeypatch.chdir(tmp_path)
    helpers.repository()
    monkeypatch.chdir("challenges/toy")
    snapshot.must(*snapshot.DVC, "init", "--subdir")
    helpers.git("add", "-A")
    helpers.git("commit", "-q", "-m", "a project of DVC")


def test_a_study_below_the_root_runs_shows_and_applies_its_best(below, toy):
    file, params = Path("rates.yaml"), Path("params.yaml")
    outcome = verbs.run(toy, file, params, jobs=2, say=print)
    assert (sorted(outcome.done), outcome.failed) == (["toy-rates-high", "toy-rates-low"], [])
    assert calls.git("status", "--short") == ""
    shown = verbs.show(toy, file, params, picture=Path("curves.png"))
    assert [line[:2] for line in shown.lines] == [["high", "0.5000"], ["low", "0.2500"]]
    assert Path("curves.png").stat().st_size > 1000
    revision = experiments.finished()["toy-rates-high"][1]
    assert experiments.curve(revision, "val/gain") == {0: 0.25, 1: 0.5}
    listing = snapshot.must(*snapshot.DVC, "exp", "show", "--csv")
    assert "toy-rates-high" in listing
    before = params.read_text()
    assert verbs.best(toy, file, params)[0] == "high is best: gain 0.5000"
    assert params.read_text() == before.replace("lr: 1e-3", "lr: 0.5")


def test_a_wrong_key_is_named_before_anything_runs(project, params_file):
    file = Path("rates.yaml")
    file.write_text(STUDY.replace("train.lr: 0.5", "train.rate: 0.5"))
    with pytest.raises(UserError, match=r"'rates-high' cannot be used:\n  train\.rate: unknown key"):
        verbs.run(project, file, params_file, jobs=1, say=print)
    file.write_text(STUDY)
    with pytest.raises(UserError, match="has a result: run 'toys study run"):
        verbs.best(project, file, params_file)
