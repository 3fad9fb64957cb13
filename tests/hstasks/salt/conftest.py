"""Sample tiles that tests of the salt challenge may spoil."""

import shutil
import sys
from pathlib import Path

import pytest

from hstasks.salt import evaluate, sample, train

sys.path.insert(0, str(Path(__file__).parent))

from small_salt import divided, small


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("salt") / "data"
    sample.run(folder, train=40, test=12, seed=3)
    return folder


@pytest.fixture
def project(made_once, tmp_path, monkeypatch) -> Path:
    """The current folder: a project whose `data` are 40 training and 12 test tiles."""
    for path in made_once.rglob("*"):
        if path.is_file():
            copy = tmp_path / "data" / path.relative_to(made_once)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def trained_once(made_once, tmp_path_factory):
    """A project whose stages ran up to `evaluate`."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HYPEROBJECT_STATE", str(folder / "state"))
        (folder / "data").symlink_to(made_once)
        divided(small())
        train.run(small())
        evaluate.run(small())
    return folder


@pytest.fixture
def trained(trained_once, tmp_path, monkeypatch) -> Path:
    """The current folder: a copy of that project."""
    shutil.copytree(trained_once, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"
