"""A small project in a git repository, and a stand-in for DVC that runs experiments in a fraction of a second."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from pydantic import Field, model_validator

from hsengine.base.errors import UserError
from hsengine.base.params import Section
from hsengine.base.settings import TrainingParams
from hsengine.project import Project
from hsengine.study import snapshot

STAGE = """\
import json, pathlib, signal, sys, time
from ruamel.yaml import YAML
params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
signal.signal(signal.SIGTERM, lambda *_: sys.exit("state saved"))
if params["fail"]:
    sys.exit("no mosaics here")
value = params["train"]["lr"] + 0.01 * params["seed"] + float(pathlib.Path("offset.txt").read_text())
folder = pathlib.Path("outputs/curves/plots/metrics/val")
folder.mkdir(parents=True)
(folder / "gain.tsv").write_text(f"step\\tgain\\n0\\t{value / 2}\\n1\\t{value}\\n")
time.sleep(params["sleep"])
pathlib.Path("outputs/metrics.json").write_text(json.dumps({"gain": value}))
"""
# What DVC does with an experiment, as far as a study sees it.
STAND_IN = """\
import os, pathlib, subprocess, sys
from ruamel.yaml import YAML
words = sys.argv[1:]
if words == ["cache", "dir"]:
    sys.exit(print(os.path.abspath(".dvc/cache")))
yaml, file = YAML(typ="safe"), pathlib.Path("params.yaml")
params = yaml.load(file)
for change in [words[i + 1] for i, word in enumerate(words) if word == "-S"]:
    key, value = change.removeprefix("++").split("=", 1)
    *parents, last = key.split(".")
    place = params
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = yaml.load(value)
yaml.dump(params, file)
head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
if subprocess.run([sys.executable, "stage.py"]).returncode:
    sys.exit("ERROR: failed to reproduce 'evaluate'")
name = words[words.index("--name") + 1]
update = f"git update-ref refs/exps/{head[:2]}/{head[2:]}/{name} HEAD"
for command in ("git add -A", "git add -f outputs", "git commit -q -m x", update):
    subprocess.run(command.split(), check=True)
"""
PARAMS = """\
seed: 0  # of everything
model: small
fail: false
sleep: 0
train:
  lr: 1e-3
split: {folds: 5, fold: 0}
augment: {noise: 0.0, steps: {}}
"""


class Split(Section):
    """Who is held out."""

    folds: int = 5
    fold: int = 0

    @model_validator(mode="after")
    def _sound(self):
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist")
        return self


class Augment(Section):
    """How samples are changed."""

    noise: float = 0.0
    steps: dict[int, int] = Field(default_factory=dict)


class Toy(TrainingParams):
    """All parameters of the small project."""

    tables: ClassVar[tuple[str, ...]] = ("augment.steps",)

    model: str = "small"
    fail: bool = False
    sleep: float = 0
    split: Split = Split()
    augment: Augment = Augment()


def _check(params):
    if params.model not in ("small", "large"):
        raise UserError(f"there is no model '{params.model}'")


@pytest.fixture
def toy():
    """A project whose models are 'small' and 'large', and whose measure is 'gain'."""
    return Project(
        name="toy",
        place="nowhere:TOY",
        program="toys",
        schema=Toy,
        measure="gain",
        direction="max",
        prepare=lambda params: None,
        check=_check,
    )


def make_project(folder):
    """Write the files of the small project into a folder."""
    for name, text in (
        ("stage.py", STAGE),
        ("offset.txt", "0"),
        ("params.yaml", PARAMS),
        (".gitignore", "/outputs\n"),
        (".dvc/.gitignore", "/tmp\n/cache\n/config.local\n"),
    ):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)


def git(*words):
    """Run git in the current folder."""
    subprocess.run(["git", *words], check=True, capture_output=True)


def repository():
    """Make the current folder a git repository with all of its files committed."""
    git("init", "-q", ".")
    git("config", "user.email", "test@example.org")
    git("config", "user.name", "Test")
    git("add", "-A")
    git("commit", "-q", "-m", "a project")


@pytest.fixture
def project(tmp_path, monkeypatch, toy):
    """The small project, committed, in the current folder, with the stand-in for DVC."""
    stand_in = tmp_path / "stand_in.py"
    stand_in.write_text(STAND_IN)
    folder = tmp_path / "project"
    make_project(folder)
    monkeypatch.chdir(folder)
    repository()
    monkeypatch.setattr(snapshot, "DVC", (sys.executable, str(stand_in)))
    return toy


@pytest.fixture
def raw():
    """The content of the small project's params.yaml."""
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(PARAMS)


@pytest.fixture
def params_file():
    """The small project's params.yaml, where `project` has made it."""
    return Path("params.yaml")


@pytest.fixture
def helpers():
    """`make_project`, `git` and `repository`."""
    return SimpleNamespace(make_project=make_project, git=git, repository=repository)
