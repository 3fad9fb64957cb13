"""Sample tiles that tests of the salt challenge may spoil."""

from pathlib import Path

import pytest

from hstasks.salt import sample


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
