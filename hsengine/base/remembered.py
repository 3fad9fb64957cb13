"""What was found out about files, remembered between runs for as long as the files stay as they are.

It only saves time and lies in the user's state folder, which can be deleted at any time. A store that is damaged is
begun anew; one that cannot be opened or written is done without.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

from hsengine.base import locks
from hsengine.base.paths import state_folder

# A file changed again within this time of its last change could keep its time stamp on coarse file systems.
_SETTLED_SECONDS = 2.0
_BATCH = 64
# For another run that writes; its batches take milliseconds.
_WAIT_SECONDS = 30.0


class Stamp(NamedTuple):
    """What changes when a file does."""

    path: str
    size: int
    mtime_ns: int
    inode: int

    @property
    def settled(self) -> bool:
        """Whether another change of the file would show in the stamp."""
        return time.time() - self.mtime_ns / 1e9 > _SETTLED_SECONDS


def stamp(path: str | os.PathLike[str]) -> Stamp | None:
    """The stamp of a file's real path; None where there is no such file."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return Stamp(os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ino)


def _has_locks(folder: Path) -> bool:
    """Whether the file system knows locks: where it does not, SQLite takes that for a lock that another holds."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        locks.taken(handle)
    except locks.UnsupportedError:
        return False
    finally:
        os.close(handle)
    return True


def store_path(name: str) -> Path:
    """Where a store of that name is."""
    return state_folder() / f"{name}.sqlite"


class Store:
    """Values that JSON can write, by file stamp and kind; one for each path and kind.

    Args:
        name: of the store; another one where the values come to mean something else.
    """

    def __init__(self, name: str) -> None:
        self._path = store_path(name)
        self._connection: sqlite3.Connection | None = None
        self._pending: list[tuple[Any, ...]] = []

    def __enter__(self) -> Store:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        if self._connection is not None:
            self._connection.close()

    def get(self, file: Stamp | None, kind: str = "") -> Any:
        """The value of a file; None where none is known."""
        if file is None or self._connection is None:
            return None
        question = "SELECT value FROM known WHERE path=? AND size=? AND mtime_ns=? AND inode=? AND kind=?"
        try:
            row = self._connection.execute(question, (*file, kind)).fetchone()
            return json.loads(row[0]) if row else None
        except sqlite3.OperationalError:
            self._do_without()
            return None
        except sqlite3.DatabaseError:
            self._begin_anew()
            return None
        except (ValueError, TypeError):
            return None

    def put(self, file: Stamp | None, value: Any, kind: str = "") -> None:
        """Remember the value of a file, in place of an older one."""
        if file is not None:
            self._pending.append((*file, kind, json.dumps(value)))
            if len(self._pending) >= _BATCH:
                self._flush()

    def _open(self, again: bool = True) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not _has_locks(self._path.parent):
                return
            self._connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS)
            # A store that a crash damages is begun anew: nothing waits for the disk.
            self._connection.execute("PRAGMA synchronous=OFF")
            with self._connection:
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS known (path TEXT, size INTEGER, mtime_ns INTEGER, inode INTEGER,"
                    " kind TEXT, value TEXT, PRIMARY KEY (path, kind))"
                )
        except (OSError, sqlite3.OperationalError):
            self._do_without()
        except sqlite3.DatabaseError:
            self._begin_anew(again)

    def _do_without(self) -> None:
        """Give the store up for this run: each further question would wait as long as the one that failed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin_anew(self, again: bool = True) -> None:
        self._do_without()
        if again:
            for leftover in self._path.parent.glob(self._path.name + "*"):
                leftover.unlink(missing_ok=True)
            self._open(again=False)

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if self._connection is None or not pending:
            return
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?, ?)", pending)
        except sqlite3.OperationalError:
            self._do_without()
        except sqlite3.DatabaseError:
            self._begin_anew()
