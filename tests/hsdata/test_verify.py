import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hsdata import verify
from hsengine.base.errors import UserError


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A project in git and DVC whose data folder is recorded and committed."""
    place = tmp_path_factory.mktemp("project")
    before = Path.cwd()
    os.chdir(place)
    try:
        from dvc.repo import Repo

        run("git", "init", "-q")
        run("git", "config", "user.email", "a@b")
        run("git", "config", "user.name", "a")
        with Repo.init(str(place)):
            pass
        for name in ("track1/a.npy", "track2/train/b.png", "track2/train/c.png"):
            file = place / "data" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
        with Repo(str(place)) as repo:
            repo.add("data")
        run("git", "add", "-A")
        run("git", "commit", "-qm", "data")
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def project(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    run("cp", "-a", f"{prepared}/.", str(tmp_path / "copy"))
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def test_untouched_files_are_as_recorded(project):
    difference = verify.verify("data")
    assert not difference and str(difference) == "data is what data.dvc recorded"
    assert verify.require_recorded("data") == difference


def test_each_added_missing_and_changed_file_is_named(project):
    (project / "data/track2/train/new.png").write_text("new")
    (project / "data/track1/a.npy").unlink()
    (project / "data/track2/train/b.png").write_text("other")
    difference = verify.verify("data")
    assert difference
    assert difference.added == ["data/track2/train/new.png"]
    assert difference.removed == ["data/track1/a.npy"]
    assert difference.changed == ["data/track2/train/b.png"]
    with pytest.raises(UserError, match=r"changed: data/track2/train/b\.png") as refused:
        verify.require_recorded("data")
    assert "dvc add data" in str(refused.value) and "dvc checkout data.dvc" in str(refused.value)


def test_a_renamed_file_is_missing_and_added(project):
    (project / "data/track1/a.npy").rename(project / "data/track1/z.npy")
    difference = verify.verify("data")
    assert (difference.added, difference.removed) == (["data/track1/z.npy"], ["data/track1/a.npy"])


def test_a_difference_is_seen_without_the_cache(project):
    run("rm", "-r", ".dvc/cache")
    (project / "data/track1/a.npy").write_text("other")
    difference = verify.verify("data")
    assert difference and "which files cannot be told" in str(difference)


def test_what_was_once_seen_to_be_as_recorded_is_told_by_file_later(project):
    cache = project / ".dvc/cache"
    shutil.rmtree(cache)
    assert not verify.verify("data")
    lists = [path for path in cache.rglob("*") if path.is_file()]
    assert [path.suffix for path in lists] == [".dir"]
    (project / "data/track2/train/b.png").write_text("other")
    assert verify.verify("data").changed == ["data/track2/train/b.png"]
    from dvc.repo import Repo

    with Repo(str(project)) as repo:
        repo.add("data")
    [note] = verify.require_recorded("data").notes
    assert "1 changed (data/track2/train/b.png)" in note


def test_it_is_the_same_from_another_folder(project, monkeypatch):
    (project / "data/track1/a.npy").write_text("other")
    monkeypatch.chdir(project / "data")
    assert len(verify.verify("../data").changed) == 1


def test_a_record_that_was_rewritten_since_the_commit_is_noted(project):
    from dvc.repo import Repo

    (project / "data/track1/a.npy").write_text("other")
    with Repo(str(project)) as repo:
        repo.add("data")
    difference = verify.require_recorded("data")
    assert not difference
    assert "data.dvc differs from the committed one: 1 changed (data/track1/a.npy)" in difference.notes[0]


def test_links_to_folders_are_noted(project):
    (project / "data/track2/test-public").symlink_to(project / "data/track2/train")
    difference = verify.verify("data")
    assert not difference
    assert difference.notes == ["DVC records nothing behind links to folders: data/track2/test-public"]


def test_a_linked_data_folder_with_other_files_is_refused_with_what_dvc_takes(project):
    (project / "data").rename(project / "real")
    (project / "real/track1/a.npy").write_text("other")
    (project / "data").symlink_to("real")
    with pytest.raises(UserError, match="which takes no link"):
        verify.require_recorded("data")


def test_a_folder_that_is_not_tracked_passes(project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    difference = verify.require_recorded(tmp_path / "elsewhere")
    assert not difference and not difference.recorded and "not recorded" in str(difference)


def test_a_missing_record_is_an_error_for_who_asks(project):
    (project / "data.dvc").unlink()
    with pytest.raises(UserError, match=r"There is no data\.dvc: record the data with 'dvc add data'"):
        verify.verify("data")
    assert not verify.require_recorded("data")


def test_a_missing_folder_is_an_error_for_who_asks(project):
    run("rm", "-r", "data")
    with pytest.raises(UserError, match="dvc checkout"):
        verify.verify("data")


def test_a_broken_pipeline_file_is_no_traceback(project):
    (project / "dvc.yaml").write_text("stages: [")
    with pytest.raises(UserError, match=r"dvc\.yaml"):
        verify.verify("data")


def test_outside_a_dvc_project_nothing_is_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data.dvc").write_text("outs: []\n")
    assert not verify.verify("data").recorded
