"""What every reader of a file needs: it is a file, its text is text, its sizes are believable, its errors are told."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hsengine.base.errors import UserError
from hsengine.base.memory import installed

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# Arrays below this are made whatever the file's size says, and above it up to so many bytes for one of the file:
# more than deflate can pack, so that only an array that was never written is refused.
_SMALL = 64 << 20
_MOST_PACKED = 2000


def check_kind(path: str | os.PathLike[str], *, folder: bool = False) -> None:
    """Refuse what cannot be read as a file: opening a pipe would wait for ever. What is missing is no fault here.

    Args:
        path: the file.
        folder: whether it may be a folder.

    Raises:
        UserError: something else stands there, or the path leads nowhere.
    """
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path and its permissions.") from None
    if not (stat.S_ISREG(mode) or (folder and stat.S_ISDIR(mode))):
        kind = next((name for test, name in _KINDS if test(mode)), "no file")
        raise UserError(f"{path} is {kind}, not a file: name another one.")


def check_size(source: object, needed: int, stored: int, *, whole: bool = True) -> None:
    """Refuse an array before memory is taken for it, where neither the file nor the machine can hold it.

    Args:
        source: the file, for the message.
        needed: bytes of the array in memory.
        stored: bytes of the file, packed or not.
        whole: whether all of the array will be in memory at once.

    Raises:
        UserError: the array is larger than the machine's memory, or than so small a file can unpack to.
    """
    if needed > _SMALL and needed > stored * _MOST_PACKED:
        raise UserError(
            f"{source} declares an array of {needed:,} bytes but has only {stored:,}: it is damaged or was never "
            "written to its end; get the file again."
        )
    if whole and needed > installed():
        raise UserError(
            f"{source} declares an array of {needed:,} bytes, more than the {installed():,} of this machine's memory: "
            "cut it into smaller images, or use another machine."
        )


def text(path: str | os.PathLike[str], what: str, remedy: str | None = None) -> str:
    """The content of a text file in UTF-8, without a byte order mark.

    Args:
        path: the file.
        what: it is, such as "a list of wavelengths".
        remedy: what to do where it cannot be used, a sentence's end with its full stop.

    Raises:
        UserError: it is missing, no file, or no such text.
    """
    ending = f": {remedy}" if remedy else "."
    check_kind(path)
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"There is no {path}, {what}: {remedy or 'check the path.'}") from None
    except UnicodeDecodeError as error:
        where = f"byte {error.start}"
        raise UserError(f"{path} is no text in UTF-8 ({where}), but {what} is needed there{ending}") from None
    except OSError as error:
        either = f", or {remedy}" if remedy else "."
        raise UserError(f"{path} cannot be read ({error.strerror}): check its permissions{either}") from None
    if "\0" in content:
        raise UserError(f"{path} holds zero bytes, but {what} is needed there, which is text{ending}")
    return content


def parsed_json(path: str | os.PathLike[str], what: str, remedy: str | None = None) -> Any:
    """The value in a JSON file; the arguments are those of `text`.

    Raises:
        UserError: see `text` and `json_value`.
    """
    return json_value(text(path, what, remedy), f"{path} cannot be read as JSON, which {what} is", remedy)


def json_value(written: str | bytes, fault: str, remedy: str | None = None) -> Any:
    """The value of a text of JSON.

    Args:
        written: the text.
        fault: what to say where it is no such text.
        remedy: see `text`.

    Raises:
        UserError: it is no JSON, or nests too deep.
    """
    try:
        return json.loads(written)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{fault}: {reason(error)}{f'; {remedy}' if remedy else '.'}") from None


@contextmanager
def explaining(source: object, kind: str) -> Iterator[None]:
    """Turn whatever a library raises about a file into a `UserError`.

    Args:
        source: the file.
        kind: the format that it is read as.
    """
    try:
        yield
    except UserError:
        raise
    # Libraries of formats have no common base of what they raise about damaged files.
    except Exception as error:
        raise UserError(f"{source} cannot be read as {kind}: {reason(error)}; get the file again.") from error


def reason(error: BaseException) -> str:
    """What an error of a library says, on one line."""
    if isinstance(error, RecursionError):
        return "it nests without end"
    if isinstance(error, MemoryError):
        return f"it does not fit into memory ({error})" if str(error) else "it does not fit into memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".;") if lines else type(error).__name__
