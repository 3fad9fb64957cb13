"""The folder of a trained model, whatever the model."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from hsengine import folder
from hsengine.base.errors import UserError

CONFIG = {"model": {"name": "line"}}


@pytest.fixture
def line():
    return nn.Linear(2, 1)


def test_every_checkpoint_has_a_file_and_comes_back(tmp_path, line):
    states = {which: {name: value + k for name, value in line.state_dict().items()} for k, which in enumerate("ab")}
    weights = {"best": line.state_dict(), "last": states["a"], "snapshot-1": states["b"]}
    folder.save(tmp_path / "model", weights, CONFIG)
    names = {"config.json", "model.safetensors", "last.safetensors", "snapshot-1.safetensors"}
    assert {file.name for file in (tmp_path / "model").iterdir()} == names
    for which, given in weights.items():
        folder.fill(line, folder.state(tmp_path / "model", which), "the file", "line")
        torch.testing.assert_close(line.state_dict(), dict(given))


def test_a_model_replaces_a_model_and_an_empty_folder(tmp_path, line):
    (tmp_path / "model").mkdir()
    for _ in range(2):
        folder.save(tmp_path / "model", {"best": line.state_dict()}, CONFIG)
    assert folder.record(tmp_path / "model") == CONFIG


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "mine"},
        {"weights.safetensors": "mine"},
        {"config.json": '{"model_type": "bert"}', "model.safetensors": "mine"},
        {"config.json": json.dumps(CONFIG), "notes.txt": "mine"},
    ],
)
def test_what_is_not_a_models_is_never_replaced(tmp_path, line, files):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, text in files.items():
        (mine / name).write_text(text)
    with pytest.raises(UserError, match=r"mine.*(new folder|another place)"):
        folder.save(mine, {"best": line.state_dict()}, CONFIG)
    assert {file.name: file.read_text() for file in mine.iterdir()} == files


def test_a_file_is_never_replaced(tmp_path, line):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="is no folder"):
        folder.save(tmp_path / "mine", {"best": line.state_dict()}, CONFIG)


def test_weights_of_another_kind_of_numbers_are_named(line):
    state = dict(line.state_dict()) | {"weight": torch.zeros(1, 2, dtype=torch.int32)}
    with pytest.raises(UserError, match=r"1 of another type \(weight int32 instead of float32\)"):
        folder.fill(line, state, "the file", "line")


def test_a_record_is_checked_entry_by_entry(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model": {"name": 3}, "checkpoints": [], "more": 1}))
    with pytest.raises(UserError, match=r"model\.name: 3 is not allowed(.|\n)*checkpoints: \[\] is not allowed"):
        folder.read(tmp_path, folder.Record)


def test_weights_that_may_not_be_read_are_told_from_damaged_ones(tmp_path, line, monkeypatch):
    folder.save(tmp_path / "model", {"best": line.state_dict()}, CONFIG)

    def refused(file):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\): check its permissions"):
        folder.state(tmp_path / "model")
