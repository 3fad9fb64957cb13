import sys
import types
import zipfile

import pytest

from hsengine.base.errors import UserError
from hstasks.images import fetch as downloads
from hstasks.salt import fetch, sample


@pytest.fixture
def bundle(tmp_path):
    """The competition's files as Kaggle gives them."""
    data, folder = tmp_path / "made", tmp_path / "bundle"
    sample.run(data, train=20, test=3)
    folder.mkdir()
    for split in ("train", "test"):
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for file in sorted((data / split).rglob("*.png")):
                archive.write(file, file.relative_to(data / split))
    for table in data.glob("*.csv"):
        table.rename(folder / table.name)
    (folder / "competition_data.zip").write_bytes(b"everything once more")
    return folder


def test_the_competitions_files_are_unpacked_into_the_layout(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_downloaded", lambda name, again: bundle)
    assert fetch.run(tmp_path / "data") == f"20 training and 3 test tiles in {tmp_path / 'data'}"
    assert not (tmp_path / "data" / "competition_data.zip").exists()


def test_data_that_are_there_are_left_alone(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_downloaded", lambda name, again: bundle)
    fetch.run(tmp_path / "data")
    with pytest.raises(UserError, match="--again"):
        fetch.run(tmp_path / "data")
    fetch.run(tmp_path / "data", again=True)


def test_a_damaged_archive_is_named(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_downloaded", lambda name, again: bundle)
    (bundle / "train.zip").write_bytes((bundle / "train.zip").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"train\.zip is damaged"):
        fetch.run(tmp_path / "data")
    assert not (tmp_path / "data" / "train").exists()


class RefusedError(Exception):
    """As Kaggle's client raises it."""

    response = types.SimpleNamespace(status_code=403)


def _kaggle(monkeypatch, error):
    class UnauthenticatedError(Exception):
        pass

    def download(name, force_download=False):
        raise UnauthenticatedError if error is None else error

    library = types.ModuleType("kagglehub")
    library.competition_download = download
    errors = types.ModuleType("kagglehub.exceptions")
    errors.UnauthenticatedError = UnauthenticatedError
    monkeypatch.setitem(sys.modules, "kagglehub", library)
    monkeypatch.setitem(sys.modules, "kagglehub.exceptions", errors)


@pytest.mark.parametrize(
    ("error", "said"),
    [(None, "KAGGLE_USERNAME"), (RefusedError(), "accept the rules"), (ConnectionError("no route"), "no route")],
    ids=["no credentials", "refused", "no network"],
)
def test_what_kaggle_refuses_is_explained(tmp_path, monkeypatch, error, said):
    _kaggle(monkeypatch, error)
    with pytest.raises(UserError, match=said):
        fetch.run(tmp_path / "data")
    assert not (tmp_path / "data").exists()
