"""One writer at a time in a folder, by the file system's locks, which end with their holder however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsengine.base.errors import UserError

try:
    import fcntl
except ImportError:  # pragma: no cover
    fcntl = None  # type: ignore[assignment]

UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
"""What file systems without locks say."""
# A folder that is replaced each time while its lock is waited for.
_ATTEMPTS = 100


class UnsupportedError(Exception):
    """The file system knows no locks."""


@contextmanager
def alone_in(folder: str | os.PathLike[str], *, wait: bool = False) -> Iterator[None]:
    """Be the only one who writes in an existing folder.

    Where the file system knows no locks a note says so and the work goes on without one.

    Args:
        folder: what is locked; nothing is written there.
        wait: wait for another holder to end, and say whom for, instead of refusing.

    Raises:
        UserError: another process holds the folder, and how to find it.
    """
    place = Path(folder)
    handle: int | None = None
    try:
        handle = _held(place, wait)
    except UnsupportedError:
        print(f"note: {place} lies where files cannot be locked: let no other run write there.", file=sys.stderr)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _held(place: Path, wait: bool) -> int:
    for _ in range(_ATTEMPTS):
        handle = os.open(place, os.O_RDONLY)
        try:
            if not taken(handle):
                if not wait:
                    raise UserError(f"Another run is writing to {place}: {_who(handle)}; wait for it to end.")
                print(f"waiting for another run to end that is writing to {place}: {_who(handle)}", file=sys.stderr)
                awaited(handle)
            # Whoever held it may have put another folder in its place.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), place.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise UserError(f"{place} is replaced by another run again and again: run the command later.")


def taken(handle: int) -> bool:
    """Lock an open file or folder; False where another holds it.

    Raises:
        UnsupportedError: the system or the file system knows no locks.
    """
    try:
        _lock(handle, wait=False)
    except BlockingIOError:
        return False
    return True


def awaited(handle: int) -> None:
    """Lock an open file or folder once no other holds it.

    Raises:
        UnsupportedError: the system or the file system knows no locks.
    """
    _lock(handle, wait=True)


def _lock(handle: int, *, wait: bool) -> None:
    if fcntl is None:
        raise UnsupportedError
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in UNKNOWN:
            raise UnsupportedError from error
        raise


def _who(handle: int) -> str:
    """The process that holds a lock, where the system tells."""
    inode = str(os.fstat(handle).st_ino)
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            # 1: FLOCK ADVISORY WRITE <process> <device>:<inode> <start> <end>
            parts = line.split()
            if parts[1] == "FLOCK" and parts[5].split(":")[-1] == inode:
                command = Path("/proc", parts[4], "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                return f"process {parts[4]} ({command.strip()[:200]})"
    return "a process of this or another machine"
