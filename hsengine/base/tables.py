"""CSV tables that people edit: read strictly, with each fault by its name, and only ever appended to."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hsengine.base.errors import UserError
from hsengine.base.files import check_text, replacing
from hsengine.base.reading import check_kind
from hsengine.base.wording import some


def read(path: str | os.PathLike[str], needed: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a table in UTF-8 with commas; blank lines, blanks around fields and a byte order mark are no fault.

    Args:
        path: the file.
        needed: columns that must be there; others may be.

    Returns:
        Each line by the names of its columns.

    Raises:
        UserError: the file is missing, a link to nothing, no text or no such table: what is wrong in which line.
    """
    return _parsed(Path(path), needed)[1]


def append(path: str | os.PathLike[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Add lines to a table, which is made where it is missing; what stands in it stays to the byte.

    Args:
        path: the file.
        rows: by column; columns of the table that a row does not name stay empty.

    Raises:
        UserError: see `read`; or it cannot be written.
    """
    file, names = Path(path), list(rows[0]) if rows else []
    text, before = io.StringIO(newline=""), b""
    end = "\n"
    if os.path.lexists(file):
        names, _ = _parsed(file, names)
        before = file.read_bytes()
        end = "\r\n" if b"\r\n" in before else "\n"
        text.write("" if before.endswith(b"\n") else end)
    writer = csv.DictWriter(text, names, restval="", lineterminator=end)
    if not before:
        writer.writeheader()
    writer.writerows(rows)
    check_text(text.getvalue(), file)
    with replacing(file) as scratch:
        scratch.write_bytes(before + text.getvalue().encode("utf-8"))


def _parsed(file: Path, needed: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    text = _text(file)
    first = text.split("\n", 1)[0]
    if first.startswith("#"):
        raise UserError(f"{file} begins with a comment: its first line must name the columns, {','.join(needed)}.")
    for separator, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if separator in first and "," not in first:
            raise UserError(f"{file} separates its columns by {called}: save it with commas.")
    names: list[str] = []
    rows: list[dict[str, str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            values = [field.strip() for field in fields]
            if not any(values) and len(values) < 2:
                continue
            if not names:
                names = values
                _check_names(file, names, needed)
            elif values[0].startswith("#"):
                raise UserError(f"{file}, line {reader.line_num}, is a comment: remove it, tables have none.")
            elif len(values) != len(names):
                trailing = len(values) == len(names) + 1 and not values[-1]
                raise UserError(
                    f"{file}, line {reader.line_num}: {len(values)} fields where the first line names {len(names)} "
                    f"columns{'; there is a comma too many at its end' if trailing else ''}. Mend the line."
                )
            else:
                rows.append(dict(zip(names, values, strict=True)))
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}, cannot be read as CSV: {error}.") from None
    _check_names(file, names, needed)
    return names, rows


def _check_names(file: Path, names: list[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in names]
    double = sorted({name for name in names if name and names.count(name) > 1})
    if missing:
        has = f"has the columns {some(names)}" if names else "is empty"
        raise UserError(f"{file} {has}, but {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} needed.")
    if double:
        raise UserError(f"{file} has two columns {double[0]}: leave one.")


def _text(file: Path) -> str:
    check_kind(file)
    if not file.is_file():
        if file.is_symlink() and not file.exists():
            raise UserError(f"{file} is a link to {file.readlink()}, which is missing: restore it or remove the link.")
        raise UserError(f"{file} is {'no file' if file.exists() else 'missing'}: a CSV table is needed there.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text (byte {error.start}): save it as 'CSV UTF-8'.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): check its permissions.") from None
    if "\0" in text:
        raise UserError(f"{file} is no text: it holds zero bytes; save it as 'CSV UTF-8'.")
    return text
