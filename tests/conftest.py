"""What every test may ask for."""

from pathlib import Path

import pytest
from hypothesis import settings

import hsmodels  # noqa: F401  (says how threads wait, before torch is imported)

# How long an example takes says more of the machine than of the code.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of real captures and reference values beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with reference values and real captures is absent")
    return SHARED


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume state and remembered file facts of a test stay in that test."""
    monkeypatch.setenv("HYPEROBJECT_STATE", str(tmp_path_factory.mktemp("state")))
