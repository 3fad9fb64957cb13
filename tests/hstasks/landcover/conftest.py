"""Small made-up landscapes, and a project with models of two stages, that tests may spoil."""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from hstasks.landcover import catalog, relabel, replicate, sample, split, train

sys.path.insert(0, str(Path(__file__).parent))

from small_landcover import SITES, parameters


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A project with its derived data, a baseline and a teacher."""
    folder = tmp_path_factory.mktemp("landcover")
    sample.make(folder / "data", seed=1, sites=SITES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HYPEROBJECT_STATE", str(folder / "state"))
        torch.set_num_threads(1)
        params = parameters()
        for stage in (catalog, split, replicate, relabel):
            stage.run(params)
        train.run(params)
        train.run(params, stage="teacher")
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch) -> Path:
    """The current folder: a copy of that project."""
    shutil.copytree(trained, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"
