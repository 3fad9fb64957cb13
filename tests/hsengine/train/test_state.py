import errno
import json
import os
import time

import pytest
import torch

from hsengine.base.errors import UserError
from hsengine.train.state import Identity, StateFolder


def _identity(code="code", **configuration):
    return Identity(configuration, code, "data")


@pytest.fixture
def said():
    return []


@pytest.fixture
def opened(tmp_path, said):
    """Opens state folders below `tmp_path`, and closes them at the end."""
    folders = []

    def open_one(identity=None):
        folder = StateFolder(tmp_path / "runs", identity or _identity(lr=1), said.append)
        folders.append(folder)
        return folder

    yield open_one
    for folder in folders:
        folder.close()


def _states(folder):
    return sorted(folder.folder.glob("*.pt"))


def test_two_generations_are_kept_and_the_newest_comes_back(opened, said):
    folder = opened()
    assert folder.load() is None
    for epoch in range(4):
        assert folder.save({"epoch": epoch, "weights": torch.full((3,), float(epoch))})
    assert len(_states(folder)) == 2
    state = folder.load()
    assert state["epoch"] == 3
    assert torch.equal(state["weights"], torch.full((3,), 3.0))
    assert said == []


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "nonsense"])
def test_a_damaged_state_gives_way_to_the_one_before_it_and_then_to_the_beginning(opened, said, damage):
    folder = opened()
    for epoch in range(2):
        folder.save({"epoch": epoch, "weights": torch.arange(100.0)})

    def spoil(file):
        content = bytearray(file.read_bytes())
        if damage == "flip":
            content[content.index(torch.arange(100.0).numpy().tobytes()[100:120])] ^= 1
        kept = {"cut": content[: len(content) // 2], "flip": content, "empty": b"", "nonsense": b"x" * 100}
        file.write_bytes(kept[damage])

    spoil(_states(folder)[1])
    assert folder.load()["epoch"] == 0
    assert "going on from the one before it" in said[0]
    spoil(_states(folder)[0])
    assert folder.load() is None
    assert "going on from the beginning" in said[-1]


def test_a_state_of_another_configuration_put_there_by_hand_is_not_used(opened, said):
    folder, other = opened(), opened(_identity(lr=2))
    other.save({"epoch": 7})
    _states(other)[0].rename(folder.folder / "00000000.pt")
    assert folder.load() is None
    assert "belongs to another configuration" in said[0]


def test_a_changed_configuration_starts_afresh_names_what_changed_and_loses_nothing(opened, said):
    first = opened(_identity(lr=1, model={"name": "a"}))
    first.save({"epoch": 5})
    first.close()
    changed = opened(_identity("other code", lr=2, model={"name": "a"}))
    assert changed.load() is None
    assert "lr, the code differ" in said[0]
    assert "starting afresh" in said[0]
    changed.close()
    assert opened(_identity(lr=1, model={"name": "a"})).load()["epoch"] == 5


def test_a_full_disk_is_told_once_and_the_last_good_state_stays(opened, said, monkeypatch):
    folder = opened()
    folder.save({"epoch": 0})

    def full(self, data):
        with self.open("wb") as stream:
            stream.write(bytes(data)[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", full)
        assert not folder.save({"epoch": 1})
        assert not folder.save({"epoch": 2})
    assert len(said) == 1
    assert "No space left" in said[0]
    assert folder.load()["epoch"] == 0
    assert folder.save({"epoch": 3})
    assert folder.load()["epoch"] == 3
    assert not list(folder.folder.glob("*.part"))


def test_the_same_training_twice_in_one_project_is_refused(opened):
    opened()
    with pytest.raises(UserError, match=rf"already runs here, as process {os.getpid()}"):
        opened()


def test_the_same_training_in_another_project_has_a_state_of_its_own(opened, tmp_path, monkeypatch):
    first = opened()
    first.save({"epoch": 1})
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    second = opened()
    assert second.folder != first.folder
    assert second.load() is None


def test_a_finished_training_leaves_nothing(opened, tmp_path):
    folder = opened()
    folder.save({"epoch": 1})
    folder.remove()
    assert list((tmp_path / "runs").iterdir()) == []


def test_states_that_nobody_came_back_for_are_removed(opened, tmp_path):
    old = opened(_identity(lr=9))
    old.save({"epoch": 1})
    old.close()
    for file in old.folder.iterdir():
        os.utime(file, (time.time() - 40 * 86400,) * 2)
    opened()
    assert not old.folder.exists()


def test_what_a_killed_writer_left_is_removed(opened):
    folder = opened()
    (folder.folder / "00000009.part").write_bytes(b"half")
    folder.close()
    assert not list(opened().folder.glob("*.part"))


def test_a_broken_record_is_no_obstacle(opened):
    folder = opened()
    folder.save({"epoch": 1})
    folder.close()
    (folder.folder / "about.json").write_text("{")
    assert opened().load()["epoch"] == 1
    assert json.loads((folder.folder / "about.json").read_text())["process"] == os.getpid()


def test_the_key_follows_the_configuration_the_code_and_the_data():
    keys = {_identity(lr=1).key, _identity(lr=2).key, _identity("x", lr=1).key, Identity({"lr": 1}, "code", "x").key}
    assert len(keys) == 4
    assert Identity({"a": 1, "b": 2}, "c", "d").key == Identity({"b": 2, "a": 1}, "c", "d").key
