import errno
import subprocess
import sys

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


WRITE = """
import sys, time
from hsengine.base import files
with files.replacing(sys.argv[1]) as scratch:
    scratch.mkdir()
    print("begun", flush=True)
    time.sleep(60)
"""


def _writer(path):
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    return process


def test_leavings_of_a_dead_writer_go_and_those_of_a_live_one_stay(tmp_path):
    live, dead = _writer(tmp_path / "live"), _writer(tmp_path / "dead")
    dead.kill()
    dead.wait()
    try:
        files.write_text(tmp_path / "mine", "x")
        assert [path.name for path in tmp_path.glob(".part-*/*")] == ["live"]
        files.remove_scratch(tmp_path)
        assert [path.name for path in tmp_path.glob(".part-*/*")] == ["live"]
    finally:
        live.kill()
        live.wait()
    files.remove_scratch(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_was_being_put_in_place_is_put_there(tmp_path):
    scratch = tmp_path / ".part-xyz"
    (scratch / "replaced-0").mkdir(parents=True)
    (scratch / "place").mkdir()
    (scratch / "place" / "new").write_text("x")
    files.remove_scratch(tmp_path)
    assert (tmp_path / "place" / "new").read_text() == "x"
    assert not scratch.exists()


@pytest.mark.parametrize("names", [[], ["record.json"], ["record.json", "a.bin", ".part-left"]])
def test_a_folder_of_ones_own_may_be_replaced(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("")
    files.check_own(tmp_path, "record.json", "a made thing", ["*.bin"])
    files.check_own(tmp_path / "new", "record.json", "a made thing")


@pytest.mark.parametrize(
    ("names", "said"),
    [(["diary.txt"], "something else than a made thing"), (["record.json", "diary.txt"], "holds diary.txt too")],
)
def test_a_folder_with_something_else_in_it_is_not_replaced(tmp_path, names, said):
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match=said):
        files.check_own(tmp_path, "record.json", "a made thing", ["*.bin"])


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "loop"):
        with pytest.raises(UserError, match="is no folder"):
            files.check_own(tmp_path / name, "record.json", "a made thing")


@pytest.mark.parametrize("parent", ["file", "loop"])
def test_a_place_under_a_file_or_a_link_to_itself_is_explained(tmp_path, parent):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="name another place"):
        files.write_text(tmp_path / parent / "inner" / "new", "x")
