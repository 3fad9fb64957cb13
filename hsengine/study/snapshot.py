"""The project as it stands when a study begins, and copies of it in which experiments run.

DVC would take an experiment's files when that experiment begins, and puts the user's uncommitted changes aside
meanwhile. From copies of one snapshot, all experiments of a run start from the same files, however long they wait,
and nobody touches the user's own.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from hsengine.base.errors import UserError
from hsengine.study.calls import DVC, git, must


@dataclass(frozen=True)
class Snapshot:
    """The committed files of a git repository, with the changes of those that git knows.

    Attributes:
        head: the commit.
        changes: a commit of the changes, or "".
        prefix: the project's folder in the repository, such as `challenges/salt/`, or "".
        objects: git's objects of the repository.
        shallow: which commits are its first, if it is a shallow clone: a file, which need not exist.
        identity: who commits: lines such as `user.name Ann`.
        cache: DVC's cache of the project.
    """

    head: str
    changes: str
    prefix: str
    objects: Path
    shallow: Path
    identity: str
    cache: Path

    @classmethod
    def take(cls) -> Snapshot:
        """The project in the current folder.

        Raises:
            UserError: git or DVC refuses.
        """
        # A stash takes files that were touched or copied, and not changed, for changed ones, and fails without a word.
        git("update-index", "-q", "--refresh")
        return cls(
            must("git", "rev-parse", "HEAD"),
            must("git", "stash", "create"),
            must("git", "rev-parse", "--show-prefix"),
            Path(must("git", "rev-parse", "--git-path", "objects")).resolve(),
            Path(must("git", "rev-parse", "--git-path", "shallow")).resolve(),
            git("config", "--get-regexp", r"^user\.(name|email)$") or "",
            Path(must(*DVC, "cache", "dir")).resolve(),
        )

    def reference(self, name: str) -> str:
        """Where DVC keeps the experiment of a name in git."""
        return f"refs/exps/{self.head[:2]}/{self.head[2:]}/{name}"

    def copy(self, root: Path) -> Path:
        """Make a copy at `root`, in place of what is there, that shares git's objects and DVC's cache.

        Returns:
            The project's folder in it.

        Raises:
            UserError: git refuses.
        """
        from configobj import ConfigObj

        shutil.rmtree(root, ignore_errors=True)
        must("git", "init", "-q", str(root))
        (root / ".git" / "objects" / "info" / "alternates").write_text(f"{self.objects}\n")
        if self.shallow.is_file():
            shutil.copy(self.shallow, root / ".git" / "shallow")
        for line in self.identity.splitlines():
            must("git", "config", *line.split(" ", 1), folder=root)
        must("git", "checkout", "-q", "--detach", self.head, folder=root)
        if self.changes:
            must("git", "stash", "apply", "-q", "--index", self.changes, folder=root)
        project = root / self.prefix
        settings = ConfigObj(str(Path(".dvc", "config.local")))
        settings.filename = str(project / ".dvc" / "config.local")
        settings.setdefault("cache", {})["dir"] = str(self.cache)
        settings.write()
        return project

    def command(self, name: str, changes: list[str], target: str) -> list[str]:
        """What runs an experiment in a copy."""
        return [*DVC, "exp", "run", "--temp", "--name", name, *(w for c in changes for w in ("-S", c)), target]

    def collect(self, root: Path, name: str) -> bool:
        """Fetch an experiment from a copy, and whether it has ended there with a result."""
        place = self.reference(name)
        # Named, since git looks further up where a killed run left half of a repository.
        if git(f"--git-dir={root / '.git'}", "rev-parse", "--verify", "-q", place) is None:
            return False
        must("git", "fetch", "-q", "--no-write-fetch-head", "--no-auto-gc", str(root.resolve()), f"{place}:{place}")
        return True


def check() -> None:
    """See that experiments can be made in the current folder.

    Raises:
        UserError: this is not the folder of a project of DVC and git with a commit.
    """
    if not Path(".dvc").is_dir():
        raise UserError("This folder has no .dvc: run the command in the project's folder, or make one by 'dvc init'.")
    if git("rev-parse", "--verify", "--quiet", "HEAD") is None:
        raise UserError("Experiments start from a git commit, and there is none: commit the project first.")
