"""What a study leaves to hand on, with DVC itself, on a pipeline that only writes numbers and a model."""

import json
import zipfile
from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hsengine.study import snapshot, verbs

STAGE = """\
import json, pathlib
from ruamel.yaml import YAML
params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
value = params["train"]["lr"]
for folder, name, text in (
    ("outputs/curves/plots/metrics/val", "gain.tsv", f"step\\tgain\\n0\\t{value / 2}\\n1\\t{value}\\n"),
    ("outputs/model", "config.json", json.dumps(value)),
    ("outputs/submission", "submission.csv", f"id,gain\\na,{value}\\n"),
):
    pathlib.Path(folder).mkdir(parents=True)
    pathlib.Path(folder, name).write_text(text)
pathlib.Path("outputs/metrics.json").write_text(json.dumps({"gain": value}))
"""
PIPELINE = """\
stages:
  evaluate:
    cmd: python stage.py
    deps: [stage.py]
    params: [train.lr]
    outs: [outputs/curves, outputs/model, outputs/submission]
    metrics: [{outputs/metrics.json: {cache: false}}]
"""
STUDY = """\
name: grid
published: {low: 0.125}
note: Others' figures are of other data.
variants:
  low: {train.lr: 0.25}
  high: {train.lr: 0.5}
"""
FILE, PARAMS = Path("grid.yaml"), Path("params.yaml")


@pytest.fixture
def grid(tmp_path, monkeypatch, helpers):
    """The small project with a pipeline that makes a model and a submission, in the current folder."""
    helpers.make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    FILE.write_text(STUDY)
    Path("stage.py").write_text(STAGE)
    Path("dvc.yaml").write_text(PIPELINE)
    Path(".gitignore").write_text("/outputs/*\n!/outputs/metrics.json\n")
    for file in (Path(".dvc/.gitignore"), Path(".dvc")):
        file.unlink() if file.is_file() else file.rmdir()
    helpers.git("init", "-q", ".")
    snapshot.must(*snapshot.DVC, "init")
    helpers.repository()


def test_a_study_is_packed_with_the_best_model_of_each_variant_and_the_best_ones_submission(grid, toy, tmp_path):
    verbs.run(toy, FILE, PARAMS, jobs=1, say=print)
    lines = verbs.pack(toy, FILE, PARAMS, picture="comparison.png")
    folder = Path("outputs/grid")
    assert lines[0] == "high is best: gain 0.5000"
    models = {label: folder / "models" / f"best_model_{label}" / "config.json" for label in ("low", "high")}
    assert {label: json.loads(file.read_text()) for label, file in models.items()} == {"low": 0.25, "high": 0.5}
    assert (folder / "submission" / "submission.csv").read_text() == "id,gain\na,0.5\n"
    text = (folder / "results" / "table.md").read_text()
    assert "| published |" in text
    assert "| 0.1250 |" in text
    assert "Others' figures are of other data." in text
    record = json.loads((folder / "pack.json").read_text())
    assert record["best"] == "high"
    assert record["experiments"]["low"]["name"] == "grid-low"
    names = {name: zipfile.ZipFile(folder / name).namelist() for name in ("models.zip", "results.zip")}
    assert names["models.zip"] == [f"models/best_model_{label}/config.json" for label in ("high", "low")]
    assert names["results.zip"] == ["results/comparison.png", "results/table.md"]
    before = (folder / "models.zip").read_bytes()
    verbs.pack(toy, FILE, PARAMS, picture="other.png")
    assert (folder / "models.zip").read_bytes() == before
    assert not (folder / "results" / "comparison.png").exists()


def test_a_study_that_has_not_run_and_a_folder_of_something_else_are_named(grid, toy):
    with pytest.raises(UserError, match=r"No experiment of study 'grid' has a result: run 'toys study run'"):
        verbs.pack(toy, FILE, PARAMS, picture="a.png")
    with pytest.raises(UserError, match=r"'a/b\.png' is no name of a PNG file"):
        verbs.pack(toy, FILE, PARAMS, picture="a/b.png")
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="mine"):
        verbs.pack(toy, FILE, PARAMS, Path("mine"), picture="a.png")
    assert not Path("outputs/grid").exists()


def test_a_published_figure_of_no_variant_is_refused(grid, toy):
    FILE.write_text(STUDY.replace("low: 0.125", "lowest: 0.125"))
    with pytest.raises(UserError, match=r"published: the study has no lowest; it has low, high"):
        verbs.show(toy, FILE, PARAMS)
