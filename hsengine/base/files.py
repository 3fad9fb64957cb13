"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from hsengine.base.errors import UserError

_ATTEMPTS = 3


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a scratch path beside `path`; on success it takes the place of `path`.

    The caller may make a file or a folder there. On any error the scratch is removed and
    what stood at `path` before stays as it was. The old file is unlinked, never written
    into: it may be a hard link to a cached copy.

    Raises:
        UserError: the disk is full or the place cannot be written.
    """
    target = Path(path)
    scratch_parent: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch_parent = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
        scratch = scratch_parent / target.name
        yield scratch
        _put(scratch, target)
    except OSError as error:
        raise _explained(error, target) from error
    finally:
        if scratch_parent is not None:
            shutil.rmtree(scratch_parent, ignore_errors=True)


def _put(scratch: Path, target: Path) -> None:
    for attempt in itertools.count():
        # A folder cannot replace a folder: the old one steps aside.
        if scratch.is_dir() and target.is_dir() and not target.is_symlink():
            target.rename(scratch.parent / f"replaced-{attempt}")
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
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"No space left on the disk of {target}: free some and run the command again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(f"{target} cannot be written ({error.strerror}): check the permissions of {target.parent}.")
    return error


def remove_scratch(folder: str | os.PathLike[str]) -> None:
    """Remove what killed writers left behind under `folder` (see `replacing`)."""
    for leftover in Path(folder).rglob(".part-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def file_hash(path: str | os.PathLike[str], algorithm: Literal["blake2b", "sha256"] = "blake2b") -> str:
    """BLAKE2b-128 or SHA-256 of the file's bytes, in hexadecimal; most processors have instructions for the latter."""
    with Path(path).open("rb") as stream:
        if algorithm == "sha256":
            return hashlib.file_digest(stream, algorithm).hexdigest()
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
