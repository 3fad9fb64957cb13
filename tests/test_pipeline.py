"""The pipeline file, the parameters and the command lines agree with each other, and DVC runs what it should."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import hsdata.cli
import hsmodels.cli
from hsdata import paths
from hsdata.params import MODEL_SECTIONS, DataParams
from hsengine.base import code
from hsengine.base.errors import UserError
from hsengine.base.params import Section, read_yaml
from hsmodels import new
from hsmodels.code import STAGES as CODE
from hsmodels.params import Params, load_params

ROOT = Path(__file__).resolve().parents[1]
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]


def _keys(schema: type[Section], prefix: str = "") -> set[str]:
    found = set()
    for name, field in schema.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found |= _keys(field.annotation, f"{prefix}{name}.")
        else:
            found.add(f"{prefix}{name}")
    return found


def _read_by(stage: str) -> set[str]:
    return {key.replace(".${model}", "") for key in STAGES[stage].get("params", [])}


NAMED = set().union(*map(_read_by, STAGES)) | {
    dep[2:-1] for stage in STAGES.values() for dep in stage.get("deps", []) if dep.startswith("${")
}


def test_the_committed_parameters_are_valid_and_complete():
    raw = read_yaml(ROOT / "params.yaml")
    load_params(ROOT / "params.yaml")

    def given(values: object, prefix: str = "") -> set[str]:
        return {f"{prefix}{key}" for key in values} | {
            inner for key, part in values.items() if isinstance(part, dict) for inner in given(part, f"{prefix}{key}.")
        }

    assert _keys(Params) - given(raw) == set()


def test_a_stage_names_every_parameter_but_those_of_the_machine():
    def covered(key: str) -> bool:
        parts = key.split(".")
        return any(".".join(parts[:length]) in NAMED for length in range(1, len(parts) + 1))

    assert {key.partition(".")[0] for key in _keys(Params) if not covered(key)} == {"machine"}
    assert not {key for key in NAMED if key.partition(".")[0] == "machine"}


def test_no_stage_names_a_parameter_that_does_not_exist():
    for key in NAMED:
        value = read_yaml(ROOT / "params.yaml")
        for part in key.split("."):
            assert part in value, key
            value = value[part]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_a_verb_of_its_command_line(stage):
    program, *words = shlex.split(STAGES[stage]["cmd"])
    group = typer.main.get_command({"hsdata": hsdata.cli.app, "hsmodels": hsmodels.cli.app}[program])
    for word in words:
        if word.startswith("-"):
            break
        group = group.commands[word]


def test_the_outputs_are_where_the_code_writes_them():
    outputs = {
        next(iter(out)) if isinstance(out, dict) else out
        for stage in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for out in stage.get(kind, [])
    }
    for place in (
        paths.CATALOG,
        paths.INDEX,
        paths.ZARR,
        paths.RENDERED,
        paths.MODEL,
        paths.METRICS,
        paths.SUBMISSION,
        paths.REPORT,
    ):
        assert str(place) in outputs


def test_the_sections_of_hsmodels_are_those_that_hsdata_leaves_alone():
    assert set(Params.model_fields) - set(DataParams.model_fields) == set(MODEL_SECTIONS)


def test_every_stage_depends_on_the_code_that_it_runs_through():
    assert list(CODE) == [stage for stage in STAGES if stage != "code"]
    for stage, (module,) in CODE.items():
        assert STAGES[stage]["deps"][0] == f"derived/code/{stage}"
        program, verb, *_ = shlex.split(STAGES[stage]["cmd"])
        assert module == f"{program}.{verb}"


# An edit of each reruns these stages at least, and leaves those alone.
@pytest.mark.parametrize(
    ("module", "reruns", "leaves"),
    [
        ("hsmodels.score.scale", {"train", "evaluate"}, {"catalog", "index", "convert", "render", "smote"}),
        ("hsmodels.losses", {"train"}, {"catalog", "submit"}),
        ("hsmodels.zoo.mst", {"train", "evaluate", "submit"}, {"catalog", "smote"}),
        ("hsengine.train.loop", {"train"}, {"catalog", "convert", "submit"}),
        ("hsdata.batches.augment", {"train"}, {"catalog", "convert", "render"}),
        ("hsdata.batches.dataset", {"train", "evaluate"}, {"catalog", "convert", "render"}),
        ("hsdata.layout", {"catalog", "index", "smote-plan", "smote", "train", "evaluate", "submit"}, set()),
        ("hsdata/tables/cie.csv", {"render", "smote", "train", "evaluate"}, {"convert"}),
        ("hsdata.convert", {"convert"}, {"catalog", "train", "evaluate"}),
        ("hsdata.formats.envi", set(), {"catalog", "convert", "train", "evaluate"}),
        ("hsdata/view/assets/cubes.js", {"report"}, {"train", "evaluate", "submit"}),
        ("hsengine/report/templates/page.html", {"report"}, {"train", "evaluate", "submit"}),
        ("hsdata.cli", set(), set(CODE)),
        ("hsmodels.cli", set(), set(CODE)),
        ("hsengine.study.plan", set(), set(CODE)),
    ],
)
def test_an_edited_module_reruns_the_stages_that_run_through_it(module, reruns, leaves):
    found = {stage for stage, modules in CODE.items() if any(module in code.closure(entry) for entry in modules)}
    assert reruns <= found
    assert not leaves & found


SMALL = {
    "model": "example",
    "residual": "none",
    "stripes": "false",
    "train.epochs": "1",
    "evaluate.pictures": "0",
    "evaluate.baselines": "false",
    "machine.workers": "1",
}


class Copy:
    """A project as `hsmodels new` makes it, and a copy of the packages that its commands run."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.project, self.sources = folder / "project", folder / "sources"
        for package in ("hsengine", "hsdata", "hsmodels"):
            shutil.copytree(ROOT / package, self.sources / package, ignore=shutil.ignore_patterns("__pycache__"))
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = os.environ | {
            "PYTHONPATH": str(self.sources),
            "PATH": path,
            "HYPEROBJECT_STATE": str(state),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        new.run(self.project)
        tiny = "sample data --size 16 --train 6 --test-public 2 --test-private 1 --workers 1"
        self("hsdata", *tiny.split())
        self("git", "config", "user.email", "a@example.org")
        self("git", "config", "user.name", "a")
        self("dvc", "add", "-q", "data")

    def __call__(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.project, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ran(self, *command: str) -> list[str]:
        """The stages that a command of DVC ran, but for the one that looks at the code."""
        return [stage for stage in re.findall(r"Running stage '([\w-]+)'", self(*command)) if stage != "code"]

    def commit(self) -> None:
        self("git", "add", "-A")
        self("git", "commit", "-qm", "as it is")


@pytest.mark.timeout(900)
def test_dvc_runs_what_changed_and_nothing_else(tmp_path):
    copy = Copy(tmp_path, tmp_path / "state")
    sets = [word for key, value in SMALL.items() for word in ("-S", f"{key}={value}")]
    copy.commit()
    assert copy.ran("dvc", "exp", "run", *sets) == [stage for stage in STAGES if stage != "code"]
    assert "SSC" in json.loads((copy.project / paths.METRICS).read_text())
    copy.commit()
    assert copy.ran("dvc", "repro") == []
    assert copy("git", "status", "--porcelain") == ""
    assert copy.ran("dvc", "exp", "run", "-S", "machine.pictures=2") == []
    assert copy.ran("dvc", "exp", "run", "--temp", "-S", "evaluate.pictures=1") == ["evaluate"]
    scale = copy.sources / "hsmodels" / "score" / "scale.py"
    text = scale.read_text()
    scale.write_text(text + "\n\n# A comment.\n")
    assert copy.ran("dvc", "repro") == []
    scale.write_text(text + "\n\nANOTHER = 1\n")
    # Not only looked at: run, so that what is in the model's record is of the new code.
    assert copy.ran("dvc", "repro", "train") == ["train"]


def test_a_folder_with_files_of_the_user_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt already"):
        new.run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_project_below_a_repository_has_a_dvc_of_its_own_and_keeps_what_is_ignored(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    place = tmp_path / "inside"
    place.mkdir()
    (place / ".gitignore").write_text("mine\n")
    new.run(place)
    assert (place / ".dvc" / "config").read_text() == (ROOT / ".dvc" / "config").read_text()
    assert not (place / ".git").exists()
    assert {"mine", "/data", "/derived"} <= set((place / ".gitignore").read_text().splitlines())
