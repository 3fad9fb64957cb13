"""A project folder of one's own, made of the files that a package brings along."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hsengine.base.errors import UserError
from hsengine.base.files import clear_beside, explaining, replacing, scratch_in, write_text
from hsengine.base.filling import filling

# What git and DVC see nothing of.
_LISTS = (".dvcignore", ".gitignore")
_MADE = {".git": "git repository", ".dvc": "DVC project"}
# What git and DVC put into a folder, and what makes nobody's files.
_NOT_FILES = (*_MADE, *_LISTS)
_CONFIG = Path(".dvc", "config")
# Without it no verb takes a folder for a project.
_LAST = "params.yaml"


def place_of(package: Path, names: Iterable[str], inside: str = ".") -> Path:
    """The folder that holds a project's files: the repository's own, or the copy in an installed package.

    Args:
        package: the folder of the package.
        names: files and folders that belong to the project.
        inside: the project's folder relative to the root of the repository, and below `template` in the package.

    Raises:
        UserError: neither has them all.
    """
    for place in (package.parent / inside, package / "template" / inside):
        if all((place / name).exists() for name in names):
            return place
    raise UserError(f"{package} came without the files of a project: install it again.")


def make(source: Path, names: Iterable[str], folder: str | Path) -> list[str]:
    """Make a project folder with git and DVC, or complete an empty one.

    A new folder appears whole. Into one that exists the parts are moved, each of them whole and the parameters last:
    no verb takes a part for a project, and a run that was killed is taken up by the next.

    Args:
        source: the folder that the files are copied from, see `place_of`.
        names: files and folders to copy.
        folder: where; git and DVC may be there already.

    Returns:
        What was made, a line each.

    Raises:
        UserError: the folder holds files of the user's, or git or DVC fails; nothing is overwritten.
    """
    target, files = Path(folder), list(names)
    inside = _is_inside(target)
    own = [name for name, given in ((".git", inside), (".dvc", (target / ".dvc").is_dir())) if not given]
    said = [f"{', '.join(files)} in {target}"]
    said += [words for name, words in _MADE.items() if name in own]
    if inside and ".dvc" in own and _git("check-ignore", "--quiet", str((target / ".dvc").absolute()), folder=target):
        raise UserError(f"git ignores what would be made in {target}: name another folder, or change its .gitignore.")
    clear_beside(target)
    if not target.exists():
        with replacing(target) as scratch:
            scratch.mkdir()
            _build(source, files, scratch)
            if inside:
                shutil.rmtree(scratch / ".git")
        return said
    what = f"a project as in {source}"
    with filling(target, what, beside=_NOT_FILES, force=None), explaining(target), scratch_in(target) as scratch:
        _build(source, files, scratch)
        for name in sorted([*own, *files], key=lambda name: name == _LAST):
            _move(scratch / name, target / name)
    return said


def _build(source: Path, names: Sequence[str], scratch: Path) -> None:
    """Make a project in an empty folder, in a git repository of its own: DVC tells that around it nothing yet."""
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source / name, scratch / name)
    _call(["git", "init", "--quiet"], scratch)
    _call([sys.executable, "-m", "dvc", "init", "--quiet"], scratch)
    if (source / _CONFIG).is_file():
        shutil.copyfile(source / _CONFIG, scratch / _CONFIG)


def _move(new: Path, target: Path) -> None:
    """Move what is not there yet; a list of what git or DVC shall not see gets the lines that it lacks."""
    if not os.path.lexists(target):
        new.rename(target)
    elif target.name in _LISTS:
        given = target.read_text(encoding="utf-8")
        lacking = [line for line in new.read_text(encoding="utf-8").splitlines() if line not in given.splitlines()]
        if lacking:
            write_text(target, "".join(f"{line}\n" for line in [*given.splitlines(), *lacking]))


def _is_inside(folder: Path) -> bool:
    """Whether a folder is, or would be, in a git repository."""
    return _git("rev-parse", "--is-inside-work-tree", folder=folder)


def _git(*words: str, folder: Path) -> bool:
    """Whether git says yes in a folder, or where it would be made."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), Path())
    try:
        return subprocess.run(["git", *words], cwd=there, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        raise UserError("git is not installed: it keeps the project's versions.") from None


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"{' '.join(command)} failed in {folder}: {done.stderr.strip() or done.stdout.strip()}")
