"""The competition's files from a stand-in on this machine."""

import shutil
from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hstasks.biomass import fetch
from hstasks.images import fetch as downloads


@pytest.fixture
def bundle(pastures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files as Kaggle gives them."""
    folder = tmp_path / "bundle"
    shutil.copytree(pastures, folder)
    monkeypatch.setattr(downloads, "_downloaded", lambda name, again: folder)
    return folder


def test_the_competitions_files_are_copied_into_the_layout(bundle: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    train, test = (len(list((bundle / split).iterdir())) for split in ("train", "test"))
    assert fetch.run(root) == f"{train} training and {test} test pictures in {root}"
    assert (root / "sample_submission.csv").read_bytes() == (bundle / "sample_submission.csv").read_bytes()


def test_data_that_are_there_are_left_alone(bundle: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    fetch.run(root)
    (root / "train.csv").write_text("own")
    with pytest.raises(UserError, match="--again"):
        fetch.run(root)
    assert (root / "train.csv").read_text() == "own"
    fetch.run(root, again=True)
    assert (root / "train.csv").read_bytes() == (bundle / "train.csv").read_bytes()
