import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_lenses import small
from typer.testing import CliRunner

from hsengine.base import code
from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml
from hstasks import challenge, cli, new
from hstasks.lenses import leak, split

FOLDER = Path(__file__).resolve().parents[3] / "challenges" / "lenses"
RUNNER = CliRunner()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder: the challenge's, without data."""
    for name in new.FILES:
        source = FOLDER / name
        _ = shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_verb_is_a_module_with_run():
    found = challenge.named("lenses")
    for verb in [*found.stages, *found.tools]:
        assert callable(found.run(verb))


def test_parameters_are_read_without_torch():
    said = "import sys; from hstasks import challenge; challenge.named('lenses'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0


def test_the_parameter_file_says_everything_that_is_by_default(folder):
    found, params = challenge.load()
    defaults = found.project.schema().model_dump()
    said = read_yaml("params.yaml")
    assert {name for name in defaults if name != "machine"} <= set(said)
    for section in (
        "data",
        "split",
        "preprocess",
        "predict",
        "ensemble",
        "evaluate",
        "submission",
        "input",
        "take",
        "regress",
    ):
        assert set(said[section]) == set(defaults[section])
    found.project.check(params)


@pytest.mark.parametrize("name", ["published", "ours", "parameters"])
def test_a_recipe_is_a_training_that_can_be_made(folder, name):
    models = set(read_yaml("params.yaml")["models"])
    assert RUNNER.invoke(cli.app, ["recipe", "apply", name]).exit_code == 0
    found, params = challenge.load()
    found.project.check(params)
    assert params.split.strategy == "grouped"
    assert set(read_yaml("params.yaml")["models"]) == models


def test_an_edit_of_the_network_leaves_the_data_stages_alone():
    stages = challenge.named("lenses").stages
    touched = {stage for stage, module in stages.items() if "hstasks.networks.cnn_small" in code.closure(module)}
    assert touched == {"train", "evaluate", "submit", "report"}


def test_the_leak_of_a_split_of_files_is_said_by_one_command(trained):
    Path("params.yaml").write_text("challenge: lenses\nsplit: {strategy: published}\n")
    said = RUNNER.invoke(cli.app, ["split"]).output
    assert "of the test files show an object whose other bands are trained on" in " ".join(said.split())


def test_a_split_of_files_is_compared_with_a_grouped_one_on_the_same_files(trained):
    found = leak.run(small(leak={"objects": 6, "updates": 2, "draws": 2}))
    shared = {row.strategy: row.shared for row in found.rows}
    assert shared["grouped"] == 0.0 and shared["published"] > 0.5
    assert {row.count for row in found.rows} == {30} and all(len(row.scores) == 2 for row in found.rows)
    assert "The published split says" in str(found) and f"on the same {found.measured} files" in str(found)


def test_what_leaks_is_not_asked_of_a_split_of_files(trained):
    split.run(small(split={"strategy": "published"}))
    with pytest.raises(UserError, match=r"split\.strategy to 'grouped'"):
        leak.run(small())


def test_a_checkpoint_is_imported_by_one_command(trained):
    import torch

    from hstasks.networks.convnextv2 import ConvNeXtV2

    Path("params.yaml").write_text("challenge: lenses\npreprocess: {published: {sigma: 0.8}}\n")
    torch.save(ConvNeXtV2(1, 1, (1, 1, 1, 1), (4, 4, 4, 4)).state_dict(), "best.pt")
    done = RUNNER.invoke(cli.app, ["import-checkpoint", "best.pt", "--to", "imported"])
    assert done.exit_code == 0, done.output
    assert '"sigma": 0.8' in RUNNER.invoke(cli.app, ["info", "imported"]).output
