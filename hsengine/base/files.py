"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from hsengine.base import locks
from hsengine.base.errors import UserError
from hsengine.base.wording import some

SCRATCH = ".part-"
"""Begins the names of scratch folders."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What systems say of a disk that takes no more."""
PLACES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What systems say of a path where something else stands."""
_ASIDE = "replaced-"
_ATTEMPTS = 3
# Folders in which this process has cleared what dead writers left.
_cleared: set[Path] = set()


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a scratch path beside `path`; on success it takes the place of `path`.

    The caller may make a file or a folder there. On any error the scratch is removed and
    what stood at `path` before stays as it was. The old file is unlinked, never written
    into: it may be a hard link to a cached copy. Scratch that killed writers left beside `path` goes.

    Raises:
        UserError: the disk is full or the place cannot be written.
    """
    target = Path(path)
    with contextlib.ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if (parent := target.parent.absolute()) not in _cleared:
                _cleared.add(parent)
                clear_beside(target)
            scratch = stack.enter_context(scratch_in(target.parent)) / target.name
            yield scratch
            _put(scratch, target)
        except OSError as error:
            raise _explained(error, target) from error


@contextmanager
def scratch_in(parent: Path) -> Iterator[Path]:
    """A scratch folder, locked as long as its writer lives; one of a dead writer is cleared by the next.

    Raises:
        UserError: others remove what is made there.
    """
    for _ in range(_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
        handle: int | None = None
        try:
            with contextlib.suppress(locks.UnsupportedError, PermissionError, FileNotFoundError):
                handle = os.open(folder, os.O_RDONLY)
                # Someone who clears may have come first; a folder that is gone still can be locked.
                if not locks.taken(handle):
                    continue
            if folder.is_dir():
                yield folder
                return
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if handle is not None:
                os.close(handle)
    raise UserError(f"{parent} cannot be written: another program removes what is made there.")


def clear_beside(path: str | os.PathLike[str]) -> None:
    """Remove scratch that killed writers left beside `path`, for whoever may find that it need not be written again."""
    _clear(Path(path).parent.glob(f"{SCRATCH}*"))


def _clear(leavings: Iterable[Path]) -> None:
    """Remove scratch folders whose writers are dead."""
    for folder in leavings:
        with contextlib.suppress(OSError, locks.UnsupportedError):
            handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
            try:
                if locks.taken(handle):
                    _finish(folder)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _finish(scratch: Path) -> None:
    """Put the new folder in its place where its writer died between taking the old one away and that."""
    if any(scratch.glob(f"{_ASIDE}*")):
        for new in scratch.iterdir():
            if not new.name.startswith(_ASIDE) and not (scratch.parent / new.name).exists():
                new.rename(scratch.parent / new.name)


def _put(scratch: Path, target: Path) -> None:
    for attempt in itertools.count():
        # A folder cannot replace a folder: the old one steps aside.
        if scratch.is_dir() and target.is_dir() and not target.is_symlink():
            target.rename(scratch.parent / f"{_ASIDE}{attempt}")
        try:
            scratch.replace(target)
            return
        except OSError as error:
            # The worker of a killed run can put the same folder there in between.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt >= _ATTEMPTS:
                raise


@contextmanager
def explaining(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn a full disk or missing permission met while writing `path` into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise _explained(error, Path(path)) from error


def _explained(error: OSError, target: Path) -> Exception:
    if error.errno in FULL:
        return UserError(f"No space left on the disk of {target}: free some and run the command again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"{target} cannot be written ({error.strerror}): check the permissions of {target.parent}.")
    if error.errno in PLACES:
        return UserError(f"{target} cannot be written ({error.strerror}: {error.filename}): name another place.")
    return error


def check_own(folder: str | os.PathLike[str], record: str, what: str, holds: Collection[str] = ()) -> None:
    """Refuse to replace anything but a folder of the kind that the command writes.

    Args:
        folder: what would be replaced; it may be missing or empty.
        record: a file that every folder of the kind holds.
        what: the kind, such as "a model's folder".
        holds: patterns of all names that such folders hold beside the record; empty: anything.

    Raises:
        UserError: it is a file, or a folder without the record or with something else in it.
    """
    place = Path(folder)
    if not place.is_dir():
        if os.path.lexists(place):
            raise UserError(f"{place} is no folder and would be replaced by {what}: name another place.")
        return
    with explaining(place):
        names = sorted(path.name for path in place.iterdir() if not path.name.startswith(SCRATCH))
    if names and record not in names:
        raise UserError(f"{place} holds something else than {what}: name a new folder, or remove it first.")
    other = [name for name in names if name != record and not any(fnmatch(name, pattern) for pattern in holds)]
    if holds and other:
        raise UserError(
            f"{place} is {what} but holds {some(other)} too, which would be lost: name a new folder, or move them away."
        )


def remove_scratch(folder: str | os.PathLike[str]) -> None:
    """Remove what killed writers left anywhere under `folder` (see `replacing`)."""
    for place, names, _ in os.walk(folder):
        inside = [name for name in names if name.startswith(SCRATCH)]
        names[:] = sorted(set(names).difference(inside))
        _clear(Path(place, name) for name in inside)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, whole or not at all.

    Raises:
        UserError: it holds the name of a file that is not UTF-8; or see `replacing`.
    """
    check_text(text, path)
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")


def check_text(text: str, path: str | os.PathLike[str]) -> None:
    """Refuse to record names of files that no text can hold.

    Raises:
        UserError: a name in `text` is not UTF-8.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        near = text[max(0, error.start - 40) : error.end + 40].encode("utf-8", "backslashreplace").decode()
        raise UserError(
            f"{path} cannot record the name of a file that is not UTF-8 (...{near}...): rename it."
        ) from None


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_array(path: str | os.PathLike[str], array: Any, *, header: bool = True) -> None:
    """Write a NumPy array of numbers to a scratch path, as `.npy` or its bare numbers in C order.

    NumPy's own writers do not say why they fail: a full disk could not be told from any other fault.
    """
    import numpy as np

    values = np.ascontiguousarray(array)
    with Path(path).open("wb") as stream:
        if header:
            np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(values))
        stream.write(values.reshape(-1).view(np.uint8).data)


def file_hash(path: str | os.PathLike[str], algorithm: Literal["blake2b", "sha256"] = "blake2b") -> str:
    """BLAKE2b-128 or SHA-256 of the file's bytes, in hexadecimal; most processors have instructions for the latter."""
    with Path(path).open("rb") as stream:
        if algorithm == "sha256":
            return hashlib.file_digest(stream, algorithm).hexdigest()
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
