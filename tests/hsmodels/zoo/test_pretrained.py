import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from hsdata import paths
from hsengine.base.errors import UserError
from hsmodels import train
from hsmodels.params import Params
from hsmodels.zoo import pretrained


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pretrained._of_revision.cache_clear()
    return tmp_path


def _run(*command):
    subprocess.run(command, check=True, capture_output=True)


def _commit(value, tag):
    """Commit a model of one weight and give it a tag."""
    paths.MODEL.mkdir(parents=True, exist_ok=True)
    (paths.MODEL / pretrained.FILE).unlink(missing_ok=True)
    _write(paths.MODEL / pretrained.FILE, value)
    _run(sys.executable, "-m", "dvc", "add", "-q", str(paths.MODEL))
    _run("git", "add", ".")
    _run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", tag)
    _run("git", "tag", "-f", tag)


def _write(file, value):
    safetensors.torch.save_file({"weight": torch.tensor([value])}, file)


def _repository():
    _run("git", "init", "-q")
    _run(sys.executable, "-m", "dvc", "init", "-q")


def test_missing_and_damaged_weights_are_named(here):
    Path("empty").mkdir()
    Path("damaged").write_bytes(b"no weights")
    for name in ("empty", "damaged"):
        with pytest.raises(UserError, match=f"'pretrained' names {name}, whose weights cannot be read"):
            pretrained.weights(name)


def test_the_folder_that_the_training_writes_is_refused(here):
    paths.MODEL.mkdir(parents=True)
    _write(paths.MODEL / pretrained.FILE, 1.0)
    for name in (paths.MODEL, here / paths.MODEL / pretrained.FILE):
        with pytest.raises(UserError, match="where this training writes its own model"):
            pretrained.weights(str(name))


def test_a_name_without_a_repository_is_explained(here):
    with pytest.raises(UserError, match="names nowhere, but there is no such file or folder, and no such experiment"):
        pretrained.weights("nowhere")


def test_weights_come_from_revisions_also_in_the_copies_that_queued_experiments_run_in(here, monkeypatch):
    _repository()
    _commit(1.0, "first-stage")
    assert pretrained.weights("first-stage")["weight"] == 1.0
    with pytest.raises(UserError, match=r"names nowhere, but .* no such experiment, branch or tag"):
        pretrained.weights("nowhere")
    copy = here / ".dvc" / "tmp" / "exps" / "copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    _repository()
    assert pretrained.weights("first-stage")["weight"] == 1.0


def test_a_revision_whose_model_is_lost_is_explained(here):
    _repository()
    _commit(1.0, "first-stage")
    for file in (here / ".dvc" / "cache").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.unlink()
    with pytest.raises(UserError, match=r"outputs/model/model\.safetensors of that revision cannot be read"):
        pretrained.weights("first-stage")


def test_saved_state_belongs_to_the_content_of_the_weights_wherever_they_are(here):
    def key(source):
        given = {"model": "revsci_mstpp", "models": {"revsci_mstpp": {"pretrained": source}}}
        return train.configuration(Params(track=1, **given))["files"]["pretrained"]

    Path("first").mkdir()
    _write("first/model.safetensors", 1.0)
    before = key("first")
    Path("first/config.json").write_text("{}")
    assert key("first") == before
    _write("first/model.safetensors", 2.0)
    assert key("first") != before
    _repository()
    _commit(1.0, "stage")
    before = key("stage")
    _commit(2.0, "stage")
    pretrained._of_revision.cache_clear()
    assert key("stage") != before
