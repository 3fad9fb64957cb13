import subprocess
from pathlib import Path

import pytest

from hsengine.base import template
from hsengine.base.errors import UserError

NAMES = ("params.yaml", "recipes", ".gitignore", ".dvcignore")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The files of a project."""
    for name, text in (
        ("params.yaml", "seed: 0\n"),
        ("recipes/short.yaml", "seed: 1\n"),
        (".gitignore", "/data\n/derived\n"),
        (".dvcignore", "*.tmp\n"),
        (".dvc/config", "[core]\n    autostage = false\n"),
    ):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_text(text)
    return tmp_path / "source"


def _files(folder: Path) -> dict[str, bytes]:
    """All files but those of git."""
    files = [file for file in folder.rglob("*") if file.is_file() and ".git" not in file.parts]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_a_project_is_the_same_new_in_an_empty_folder_and_in_a_repository(tmp_path: Path, source: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "repository/empty").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(tmp_path / "repository")], check=True)
    new = tmp_path / "new"
    assert template.make(source, NAMES, new)[1:] == ["git repository", "DVC project"]
    for place in ("empty", "repository/new", "repository/empty"):
        said = template.make(source, NAMES, tmp_path / place)
        assert said[1:] == ["git repository", "DVC project"][place != "empty" :]
        assert _files(tmp_path / place) == _files(new)
        assert (tmp_path / place / ".git").exists() == (place == "empty")
    assert (new / ".dvc/config").read_bytes() == (source / ".dvc/config").read_bytes()
    status = subprocess.run(["dvc", "status"], cwd=tmp_path / "repository/new", capture_output=True, text=True)
    assert status.returncode == 0, status.stderr


def test_what_was_moved_before_a_run_was_killed_stays_and_the_rest_is_added(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / ".gitignore").write_text("mine")
    move, moved = template._move, []

    def killed(new: Path, target: Path) -> None:
        if len(moved) == 3:
            raise KeyboardInterrupt
        moved.append(target.name)
        move(new, target)

    with monkeypatch.context() as patch:
        patch.setattr(template, "_move", killed)
        with pytest.raises(KeyboardInterrupt):
            template.make(source, NAMES, folder)
    assert moved == [".git", ".dvc", "recipes"]
    with pytest.raises(UserError, match=r"holds recipes of a run that did not end"):
        template.make(tmp_path / "other", NAMES, folder)
    template.make(source, NAMES, folder)
    assert (folder / ".gitignore").read_text() == "mine\n/data\n/derived\n"
    assert sorted(path.name for path in folder.iterdir()) == sorted([".git", ".dvc", *NAMES])
    with pytest.raises(UserError, match=r"holds params\.yaml, recipes already: name a folder that is new or empty\."):
        template.make(source, NAMES, folder)


def test_where_git_ignores_a_project_none_is_made(tmp_path: Path, source: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("/ignored\n")
    with pytest.raises(UserError, match="git ignores"):
        template.make(source, NAMES, tmp_path / "ignored")
    assert not (tmp_path / "ignored").exists()
