"""A tiny made-up data folder, in the competition's layout, in a project's folder."""

import sys
from pathlib import Path

import pytest

from hstasks.biomass import catalog, sample, split
from hstasks.biomass.params import Params

sys.path.insert(0, str(Path(__file__).parent))

from small_biomass import SMALL


@pytest.fixture(scope="session")
def pastures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pastures") / "data"
    sample.run(root, groups=3, images=3, width=64)
    return root


@pytest.fixture
def project(pastures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Parameters of a project in the working folder, whose catalog and split are made."""
    monkeypatch.chdir(tmp_path)
    params = Params.model_validate({**SMALL, "data": {"root": str(pastures)}})
    catalog.run(params)
    split.run(params)
    return params
