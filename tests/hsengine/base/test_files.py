import errno

import pytest

from hsengine.base import files
from hsengine.base.errors import UserError


def test_a_failed_write_leaves_the_old_file_and_no_scratch(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), files.replacing(target) as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "store"
    target.mkdir()
    (target / "old").write_text("x")
    with files.replacing(target) as scratch:
        scratch.mkdir()
        (scratch / "new").write_text("y")
    assert _names(target) == ["new"]


def test_a_hard_link_of_the_old_file_keeps_its_content(tmp_path):
    target, cached = tmp_path / "a", tmp_path / "cached"
    target.write_text("old")
    cached.hardlink_to(target)
    files.write_text(target, "new")
    assert (target.read_text(), cached.read_text()) == ("new", "old")


def test_a_full_disk_is_an_error_for_the_user(tmp_path):
    with pytest.raises(UserError, match="No space left"), files.replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert _names(tmp_path) == []


def test_a_place_that_cannot_be_written_is_an_error_for_the_user(tmp_path):
    with pytest.raises(UserError, match="permissions"), files.replacing(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_json_with_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert _names(tmp_path) == []


def test_what_killed_writers_left_is_removed(tmp_path):
    (tmp_path / "split" / ".part-xyz").mkdir(parents=True)
    (tmp_path / "split" / "kept").write_text("")
    files.remove_scratch(tmp_path)
    assert _names(tmp_path / "split") == ["kept"]


def _names(folder):
    return [path.name for path in folder.iterdir()]
