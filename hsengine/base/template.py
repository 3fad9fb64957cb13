"""A project folder of one's own, made of the files that a package brings along."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from hsengine.base.errors import UserError
from hsengine.base.files import clear_beside, explaining, replacing

# What git and DVC put into a folder, and what makes nobody's files.
_NOT_FILES = {".git", ".dvc", ".dvcignore", ".gitignore"}
_CONFIG = Path(".dvc", "config")


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

    Args:
        source: the folder that the files are copied from, see `place_of`.
        names: files and folders to copy.
        folder: where; git and DVC may be there already.

    Returns:
        What was made, a line each.

    Raises:
        UserError: the folder holds files of the user's, or git or DVC fails; nothing is overwritten.
    """
    target = Path(folder)
    present = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: name a folder to make.")
    held = [name for name in present if name not in _NOT_FILES]
    if held:
        raise UserError(f"{target} holds files already ({', '.join(held[:3])}): name a folder that is new or empty.")
    clear_beside(target)
    if target.exists() or _is_inside(target):
        return _made(source, names, target, target)
    # A new one appears whole; inside another repository DVC notes there where it is made.
    with replacing(target) as scratch:
        return _made(source, names, scratch, target)


def _made(source: Path, names: Iterable[str], target: Path, shown: Path) -> list[str]:
    with explaining(target):
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (source / name).is_dir():
                shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                _complete(source / name, target / name)
    said = [f"{', '.join(names)} in {shown}"]
    inside = _is_inside(target)
    if not inside:
        _call(["git", "init", "--quiet"], target)
        said.append("git repository")
    if not (target / ".dvc").is_dir():
        apart = inside and not (target / ".git").exists()
        _call([sys.executable, "-m", "dvc", "init", "--quiet", *(["--subdir"] if apart else [])], target)
        if (source / _CONFIG).is_file():
            shutil.copyfile(source / _CONFIG, target / _CONFIG)
        said.append("DVC project")
    return said


def _is_inside(folder: Path) -> bool:
    """Whether a folder is, or would be, in a git repository."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), Path())
    return _succeeds(["git", "rev-parse", "--is-inside-work-tree"], there)


def _complete(source: Path, target: Path) -> None:
    """Copy a file; to one that is there the missing lines are added."""
    lines = source.read_text(encoding="utf-8").splitlines()
    given = target.read_text(encoding="utf-8").splitlines() if target.exists() else []
    target.write_text("".join(f"{line}\n" for line in [*given, *(x for x in lines if x not in given)]), newline="\n")


def _succeeds(command: list[str], folder: Path) -> bool:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not installed: it keeps the project's versions.") from None


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"{' '.join(command)} failed in {folder}: {done.stderr.strip() or done.stdout.strip()}")
