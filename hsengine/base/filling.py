"""Folders that are filled file by file: a mark in the folder says so until the last file is there."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from hsengine.base.errors import UserError
from hsengine.base.files import SCRATCH, explaining, remove_scratch, write_text
from hsengine.base.wording import some

MARK = ".unfinished"
"""Says in a folder that not all of its files are there, and which they are to be."""


@contextmanager
def filling(
    folder: str | os.PathLike[str],
    what: str,
    names: Collection[str] = (),
    *,
    beside: Collection[str] = (),
    force: bool | None = False,
) -> Iterator[None]:
    """Write many files into a folder that holds no others; what a killed writer left is begun again by the same one.

    Args:
        folder: where the files go; it may be missing.
        what: all that decides the files, in words.
        names: of what is made in the folder, which may hold anything else; empty: it may hold nothing but `beside`.
        beside: names of what may be there.
        force: it may hold them, and those of the same names are replaced; None: the caller cannot allow it.

    Raises:
        UserError: it is a file, it holds such files and `force` is off, or it cannot be written.
    """
    place = Path(folder)
    if os.path.lexists(place) and not place.is_dir():
        raise UserError(f"{place} is a file: name a folder to make.")
    other, own = begun(place), _own(place, names, beside)
    if own and not force and other != what:
        which = f"{some(own)} of a run that did not end and made other files ({other})" if other else some(own)
        allowing = "" if force is None else ", or allow with 'force' that files of the same names in it are replaced"
        raise UserError(f"{place} holds {which} already: name a folder that is new or empty{allowing}.")
    with _marked(place, what, names, beside):
        yield


@contextmanager
def completing(folder: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Write files into a folder that may hold some of them and others, as `filling` does.

    Args:
        folder: where the files go; it may be missing.
        what: whose files they are, in words.

    Raises:
        UserError: another run began to fill the folder and did not end, or it cannot be written.
    """
    place = Path(folder)
    if begun(place) not in (None, what):
        check_filled(place)
    with _marked(place, what):
        yield


def check_filled(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that a run began to fill and did not end.

    Raises:
        UserError: says which run, and what to do.
    """
    place = Path(folder)
    what = begun(place)
    if what is not None:
        raise UserError(
            f"{place} is not complete: a run that was to make {what} there did not end. Run that command again; or, "
            f"if all files are there, remove {place / MARK}."
        )


def begun(folder: str | os.PathLike[str]) -> str | None:
    """What a run began to fill a folder with that did not end; None where there was none.

    Raises:
        UserError: the folder cannot be read.
    """
    mark = Path(folder) / MARK
    with explaining(folder):
        return mark.read_text(encoding="utf-8", errors="replace") if mark.is_file() else None


@contextmanager
def _marked(place: Path, what: str, names: Collection[str] = (), beside: Collection[str] = ()) -> Iterator[None]:
    write_text(place / MARK, what)
    try:
        remove_scratch(place)
        yield
    except BaseException:
        # What was not begun need not be ended.
        if not _own(place, names, beside):
            _unmark(place)
        raise
    _unmark(place)


def _own(place: Path, names: Collection[str], beside: Collection[str]) -> list[str]:
    with explaining(place):
        held = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    return [
        name
        for name in held
        if not name.startswith((SCRATCH, MARK)) and name not in beside and (name in names or not names)
    ]


def _unmark(place: Path) -> None:
    with explaining(place):
        (place / MARK).unlink(missing_ok=True)
