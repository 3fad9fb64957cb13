import pytest

from hsengine.base import files
from hsengine.base.errors import UserError
from hsengine.base.filling import MARK, begun, check_filled, completing, filling
from hsengine.base.params import read_yaml


def _filled(folder, what="seed 0", names=(), *, force=False, ends=True):
    with filling(folder, what, names, force=force):
        files.write_text(folder / "a.txt", what)
        if not ends:
            raise KeyboardInterrupt
        files.write_text(folder / "b.txt", what)


def test_a_folder_that_a_killed_run_began_to_fill_is_filled_by_the_same_run(tmp_path):
    folder = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        _filled(folder, ends=False)
    with pytest.raises(UserError, match=r"holds a\.txt of a run that did not end and made other files \(seed 0\)"):
        _filled(folder, "seed 1")
    _filled(folder)
    assert {path.name for path in folder.iterdir()} == {"a.txt", "b.txt"}


def test_a_folder_that_holds_files_is_not_filled_without_force(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(UserError, match=r"holds a\.txt, notes already"):
        _filled(tmp_path)
    with pytest.raises(UserError, match=r"holds a\.txt already"):
        _filled(tmp_path, names=("a.txt", "b.txt"))
    assert (tmp_path / "a.txt").read_text() == "mine"
    _filled(tmp_path, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "b.txt", "notes"}
    with pytest.raises(UserError, match="is a file"):
        _filled(tmp_path / "notes")


def test_a_folder_that_was_not_filled_to_its_end_is_refused(tmp_path):
    check_filled(tmp_path / "missing")
    with pytest.raises(KeyboardInterrupt):
        _filled(tmp_path, ends=False)
    with pytest.raises(UserError, match=r"not complete: a run that was to make seed 0 .* Run that command again"):
        check_filled(tmp_path)
    with pytest.raises(UserError, match="not complete"):
        read_yaml(tmp_path / "params.yaml")
    _filled(tmp_path)
    check_filled(tmp_path)
    with pytest.raises(UserError, match="run the command in the project's folder"):
        read_yaml(tmp_path / "params.yaml")


def test_a_run_that_fails_before_its_first_file_leaves_no_mark(tmp_path):
    (tmp_path / "kept").write_text("")
    with pytest.raises(KeyboardInterrupt), filling(tmp_path, "seed 0", beside=["kept"]):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_folder_with_files_is_completed_unless_another_run_began_to_fill_it(tmp_path):
    (tmp_path / "kept").write_text("")
    with pytest.raises(KeyboardInterrupt), completing(tmp_path, "the files"):
        raise KeyboardInterrupt
    assert begun(tmp_path) == "the files"
    with pytest.raises(UserError, match="was to make the files there"), completing(tmp_path, "others"):
        pass
    with completing(tmp_path, "the files"):
        assert (tmp_path / MARK).is_file()
    assert begun(tmp_path) is None and [path.name for path in tmp_path.iterdir()] == ["kept"]
