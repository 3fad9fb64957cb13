"""One study from its file to its winner, with DVC's own queue, on a pipeline that only writes numbers."""

import subprocess
from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hsengine.study import calls, experiments, verbs

SCRIPT = """\
import json, pathlib, sys
from ruamel.yaml import YAML
params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
if params["track"] == 1:
    sys.exit("no mosaics here")
value = params["train"]["lr"] + 0.01 * params["seed"]
folder = pathlib.Path("outputs/curves/plots/metrics/val")
folder.mkdir(parents=True)
(folder / "SSC.tsv").write_text(f"step\\tSSC\\n0\\t{value / 2}\\n1\\t{value}\\n")
pathlib.Path("outputs/metrics.json").write_text(json.dumps({"SSC": value}))
"""
PIPELINE = """\
stages:
  evaluate:
    cmd: python score.py
    deps: [score.py]
    params: [seed, track, train.lr]
    outs: [outputs/curves]
    metrics: [{outputs/metrics.json: {cache: false}}]
"""
STUDY = """\
name: rates
base: {model: example}
variants:
  low: {train.lr: 0.25}
  high: {train.lr: 0.5}
  broken: {track: 1}
"""


@pytest.fixture
def project(tmp_path, monkeypatch, params_file):
    """A tiny project of git and DVC in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("score.py", SCRIPT),
        ("dvc.yaml", PIPELINE),
        ("params.yaml", params_file.read_text()),
        (".gitignore", "/outputs/*\n!/outputs/metrics.json\n"),
        ("studies/rates.yaml", STUDY),
    ):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    subprocess.run(["git", "init", "-q", "."], check=True)
    subprocess.run(["git", "config", "user.email", "test@example.org"], check=True)
    subprocess.run(["git", "config", "user.name", "Test"], check=True)
    calls.dvc("init")
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "commit", "-q", "-m", "a project"], check=True)
    yield tmp_path
    calls.dvc("queue", "stop", check=False)


def test_a_study_runs_resumes_shows_and_applies_its_best(project, params_file):
    file, params = Path("studies/rates.yaml"), Path("params.yaml")
    said = []
    outcome = verbs.run(file, params, jobs=2, say=said.append)
    assert said[0] == "3 experiments: 0 done, 0 queued or running already, 3 to queue"
    assert (sorted(outcome.done), outcome.failed) == (["rates-high", "rates-low"], ["rates-broken"])
    assert "no mosaics here" in calls.dvc("queue", "logs", "rates-broken")[1]
    assert params.read_text() == params_file.read_text()

    # What failed is tried again, with the project's uncommitted changes.
    Path("score.py").write_text(SCRIPT.replace('sys.exit("no mosaics here")', "pass"))
    said.clear()
    assert verbs.run(file, params, jobs=1, say=said.append).failed == []
    assert said[0] == "3 experiments: 2 done, 0 queued or running already, 1 to queue"

    shown = verbs.show(file, params, picture=Path("curves.png"))
    assert [line[0] for line in shown.lines] == ["high", "low", "broken"]
    assert [line[1] for line in shown.lines] == ["0.5000", "0.2500", "0.0010"]
    assert Path("curves.png").stat().st_size > 1000
    assert experiments.curve(experiments.finished()["rates-high"], "val/SSC") == {0: 0.25, 1: 0.5}

    lines = verbs.best(file, params)
    assert lines[0] == "high is best: SSC 0.5000"
    expected = params_file.read_text().replace("model: mstpp  ", "model: example").replace("lr: 1e-3", "lr: 0.5")
    assert params.read_text() == expected

    with pytest.raises(UserError, match=r"(?s)there with other parameters.*train\.lr is 0\.001, not 0\.5"):
        verbs.run(file, params, jobs=1, say=said.append)


def test_a_wrong_key_is_named_before_dvc_is_asked(project):
    Path("studies/rates.yaml").write_text(STUDY.replace("train.lr: 0.5", "train.rate: 0.5"))
    with pytest.raises(UserError, match=r"'rates-high' cannot be used:\n  train\.rate: unknown key"):
        verbs.run(Path("studies/rates.yaml"), Path("params.yaml"), jobs=1, say=print)
    with pytest.raises(UserError, match="has a result: run 'hsmodels study run"):
        Path("studies/rates.yaml").write_text(STUDY)
        verbs.best(Path("studies/rates.yaml"), Path("params.yaml"))
