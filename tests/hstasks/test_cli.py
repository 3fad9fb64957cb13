"""The command line as a user has it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hsengine.base.params import read_yaml
from hstasks import challenge, cli, new
from hstasks.salt.params import Params

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "challenges" / "salt"
RUNNER = CliRunner()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder: the salt challenge's, without data."""
    for name in new.FILES:
        source = FOLDER / name
        _ = shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["hstasks", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, capsys.readouterr()


def test_help_does_without_torch():
    said = (
        "import sys\nsys.argv = ['hstasks', '--help']\nfrom hstasks.cli import main\n"
        "try: main()\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", said], capture_output=True, check=False).returncode == 0


def test_sample_tiles_go_through_the_data_stages(folder):
    assert RUNNER.invoke(cli.app, ["sample", "data"]).exit_code == 0
    for verb, said in (
        ("catalog", "300 samples"),
        ("mosaic", "mosaics"),
        ("split", "held out"),
        ("pseudo", "no pseudo"),
    ):
        done = RUNNER.invoke(cli.app, [verb])
        assert done.exit_code == 0, done.output
        assert said in done.output


def test_without_data_a_stage_ends_with_what_to_do(folder, monkeypatch, capsys):
    ended, _ = _run(monkeypatch, capsys, "catalog")
    assert str(ended).startswith("error: There is no data folder data")


def test_out_of_a_challenges_folder_the_message_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in (["train"], ["recipe", "list"], ["study", "show", "studies/grid.yaml"]):
        ended, _ = _run(monkeypatch, capsys, *arguments)
        assert "params.yaml" in str(ended)


def test_recipes_are_those_of_the_challenge(folder):
    listed = RUNNER.invoke(cli.app, ["recipe", "list"]).output
    assert "published" in listed
    assert "ours" in listed
    assert "network" in RUNNER.invoke(cli.app, ["recipe", "apply", "published"]).output
    assert read_yaml("params.yaml")["model"]["network"] == "seed_unet"


@pytest.mark.parametrize("name", ["published", "ours"])
def test_a_recipe_is_a_training_that_can_be_made(folder, name):
    assert RUNNER.invoke(cli.app, ["recipe", "apply", name]).exit_code == 0
    found, params = challenge.load("params.yaml")
    found.project.check(params)


@pytest.mark.parametrize("name", ["grid", "ablations"])
def test_the_studies_of_the_challenge_are_valid(folder, name):
    from hsengine.study import plan

    study = plan.load(Path(f"studies/{name}.yaml"), Path("params.yaml"), challenge.named("salt").project, "salt-")
    for one in study.experiments():
        challenge.named("salt").project.check(study.parameters(one))


def test_a_table_is_refused_where_the_models_use_none(folder, monkeypatch, capsys):
    from hsengine import folder as models

    monkeypatch.setattr(models, "record", lambda place: {"challenge": "salt"})
    ended, _ = _run(monkeypatch, capsys, "predict", "--input", "a", "--output", "b", "--table", "c.csv")
    assert "--table" in str(ended)


def test_a_model_of_another_program_is_refused(folder, monkeypatch, capsys):
    from hsengine import folder as models

    monkeypatch.setattr(models, "record", lambda place: {"model": {"name": "mst"}})
    ended, _ = _run(monkeypatch, capsys, "predict", "--input", "a", "--output", "b")
    assert "no challenge" in str(ended)


def test_a_challenge_of_ones_own_is_complete(tmp_path):
    said = new.run("salt", tmp_path / "mine")
    assert "hstasks sample data" in said
    for name in new.FILES:
        assert (tmp_path / "mine" / name).exists()
    assert (tmp_path / "mine" / ".dvc" / "config").is_file()


def test_the_committed_parameters_are_the_defaults_or_valid():
    _, params = challenge.load(FOLDER / "params.yaml")
    given = read_yaml(FOLDER / "params.yaml")
    assert set(given) == set(Params.model_fields)
    assert params.challenge == "salt"


STAGES = read_yaml(FOLDER / "dvc.yaml")["stages"]


def test_the_pipeline_has_the_stages_of_the_challenge_in_their_order():
    assert [stage for stage in STAGES if stage != "code"] == list(challenge.named("salt").stages)
    for stage, said in STAGES.items():
        assert said["cmd"] == f"hstasks {stage}"
        assert stage == "code" or said["deps"][0] == f"derived/code/{stage}"


def test_the_pipeline_names_every_section_but_the_machines():
    named = {key.partition(".")[0] for stage in STAGES.values() for key in stage.get("params", [])}
    assert set(Params.model_fields) - named == {"machine", "challenge"}


def test_the_last_scores_are_shown_as_a_table(folder, monkeypatch, capsys):
    ended, _ = _run(monkeypatch, capsys, "summary")
    assert "hstasks evaluate" in str(ended)
    values = {"metric": 0.51234, "tiles": 3, "coverage": {"10": {"metric": 0.1}, "2": {"metric": None}}}
    values["run"] = {"leading": "metric", "model": "unet_small", "checkpoint": "last"}
    Path("outputs").mkdir()
    Path("outputs/metrics.json").write_text(json.dumps(values))
    shown = RUNNER.invoke(cli.app, ["summary"]).output
    assert "0.5123" in shown
    assert shown.index("coverage 2") < shown.index("coverage 10")
    assert "report.html" not in shown
    Path("outputs/report.html").write_text("")
    assert "outputs/report.html" in RUNNER.invoke(cli.app, ["summary"]).output
    Path("outputs/metrics.json").write_text("{}")
    ended, _ = _run(monkeypatch, capsys, "summary")
    assert "dvc repro" in str(ended)
