"""Whether the raw files are those that DVC recorded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsdata.params import DataParams
from hsengine.base.errors import UserError
from hsengine.base.wording import listed, some


@dataclass(frozen=True)
class Difference:
    """What separates the raw files on disk from what DVC recorded; true where anything does.

    Attributes:
        root: the data folder.
        record: the file with what DVC recorded.
        recorded: whether DVC tracks the folder at all.
        differs: whether its content is another than the recorded one.
        added: files that are not recorded.
        removed: recorded files that are missing.
        changed: files with other content.
        notes: what is odd but no difference.
    """

    root: str
    record: str
    recorded: bool = True
    differs: bool = False
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.differs

    def __str__(self) -> str:
        if not self.recorded:
            lines = [f"{self.root} is not recorded by DVC, so nothing says whether it changed"]
        elif not self.differs:
            lines = [f"{self.root} is what {self.record} recorded"]
        else:
            lines = [f"{self.root} is not what {self.record} recorded:", self.files]
        return "\n".join(lines + [f"note: {note}" for note in self.notes])

    @property
    def files(self) -> str:
        """The files that differ, one a line."""
        kinds = (("added", self.added), ("missing", self.removed), ("changed", self.changed))
        lines = [f"{kind}: {name}" for kind, names in kinds for name in names]
        return listed(lines or ["which files cannot be told: the record of them is not in DVC's cache ('dvc fetch')"])


def run(params: DataParams) -> Difference:
    """Compare the project's raw files with what DVC recorded of them; see `verify`."""
    return verify(params.data.root)


def verify(root: str | os.PathLike[str], dvc_file: str | os.PathLike[str] | None = None) -> Difference:
    """Compare the raw files with what DVC recorded of them.

    DVC remembers the hashes of files that have not changed, so that only new and changed ones are read. The
    list of recorded files goes into DVC's cache when nothing differs, so that a later difference can be told by
    file even where the files themselves were never in the cache.

    Args:
        root: the data folder.
        dvc_file: DVC's record of it; by default `<root>.dvc`.

    Raises:
        UserError: there is no record, the folder is missing, or DVC cannot compare them.
    """
    record = Path(dvc_file) if dvc_file is not None else _record_of(root)
    if not Path(root).is_dir():
        raise UserError(f"There is no data folder at {root}: 'dvc checkout {record}' or 'dvc pull' brings it back.")
    if not record.is_file():
        raise UserError(f"There is no {record}: record the data with 'dvc add {root}'.")
    return _compared(Path(root), record)


def require_recorded(root: str | os.PathLike[str]) -> Difference:
    """Refuse raw files that differ from what DVC recorded; a folder that DVC does not track passes.

    While `dvc repro` runs, DVC has already recorded the files as it found them. The difference from the
    record that is committed in git is then in the notes.

    Raises:
        UserError: lists what differs and says how to go on.
    """
    folder, record = Path(root), _record_of(root)
    if not folder.is_dir() or not record.is_file():
        return Difference(folder.as_posix(), str(record), recorded=False)
    difference = _compared(folder, record)
    if not difference:
        return difference
    add = f"'dvc add {folder}'"
    if folder.is_symlink():
        add += f" (which takes no link: put a folder there, of hard links for instance: 'cp -rlL {folder}/. FOLDER')"
    raise UserError(
        f"{folder} is not what {record} recorded:\n{difference.files}\n"
        f"If this is meant, run {add}; if not, 'dvc checkout {record}' brings the recorded files back."
    )


def _record_of(root: str | os.PathLike[str]) -> Path:
    folder = Path(root)
    return folder.with_name(folder.name + ".dvc")


def _compared(folder: Path, record: Path) -> Difference:
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(str(record.absolute().parent)) as repo:
            target = os.path.relpath(folder.absolute(), repo.root_dir)
            status = repo.data_status(targets=[target], granular=True)
            added, removed, changed = _files(status["uncommitted"])
            # An entry of the folder itself is there whenever its content differs, even where its files are unknown.
            differs = bool(added or removed or changed or status["uncommitted"].get("modified"))
            if not differs:
                _keep_list(repo, folder)
    except NotDvcRepoError:
        notes = ["this is no DVC project: 'dvc init' makes it one"]
        return Difference(folder.as_posix(), str(record), recorded=False, notes=notes)
    except DvcException as error:
        raise UserError(f"DVC cannot compare {folder} with {record}: {error}") from None
    notes = _committed_note(record, status["committed"]) + _link_notes(folder)
    return Difference(folder.as_posix(), str(record), True, differs, added, removed, changed, notes)


def _keep_list(repo: Any, folder: Path) -> None:
    """Put the list of the recorded files into DVC's cache, unless it is there; not their contents."""
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.build import build

    # It serves later messages only.
    with contextlib.suppress(DvcException, OSError, LookupError):
        [out] = repo.find_outs_by_path(str(folder.absolute()))
        recorded = out.hash_info
        if recorded and recorded.isdir and not out.cache.exists(recorded.value):
            _, _, found = build(out.cache, out.fs_path, out.fs, out.hash_name, ignore=out.dvcignore)
            if found.hash_info == recorded:
                out.cache.add(found.path, found.fs, found.oid)


def _files(changes: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """Files (not folders) that were added, removed and changed."""
    renamed = changes.get("renamed", [])
    added = [*changes.get("added", []), *(entry["new"] for entry in renamed)]
    removed = [*changes.get("deleted", []), *(entry["old"] for entry in renamed)]
    return _sorted(added), _sorted(removed), _sorted(changes.get("modified", []))


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(Path(name).as_posix() for name in names if not name.endswith("/"))


def _committed_note(record: Path, changes: Mapping[str, Any]) -> list[str]:
    """What the record says otherwise than the one in git; nothing where git has none."""
    if not changes.get("modified"):
        return []
    added, removed, changed = _files(changes)
    parts = [
        f"{len(names)} {kind} ({some(names, 3)})"
        for kind, names in (("added", added), ("removed", removed), ("changed", changed))
        if names
    ]
    detail = f": {', '.join(parts)}" if parts else ""
    return [
        f"{record} differs from the committed one{detail}; 'git diff {record}' shows it, 'git add {record}' keeps it"
    ]


def _link_notes(folder: Path) -> list[str]:
    links = [
        (Path(place) / name).as_posix()
        for place, folders, _ in os.walk(folder)
        for name in sorted(folders)
        if (Path(place) / name).is_symlink()
    ]
    if not links:
        return []
    return [f"DVC records nothing behind links to folders: {some(links)}"]
