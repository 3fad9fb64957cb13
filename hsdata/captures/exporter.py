"""Cubes out of the project: ENVI images for other programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hsdata.formats import envi, open_cube
from hsengine.base.errors import UserError

# How the descriptions of exported images begin, by which they are known again.
_MARK = "reflectance, from"


def export_cubes(
    sources: Sequence[str | os.PathLike[str]], to: str | os.PathLike[str], *, interleave: envi.Interleave = "bil"
) -> list[Path]:
    """Write cubes of any format as ENVI images, with their wavelengths in the headers.

    Args:
        sources: files or stores that `open_cube` reads.
        to: a folder, or for a single cube the header to write (`.hdr`).
        interleave: order of the numbers.

    Returns:
        The headers, in the order of the sources.

    Raises:
        UserError: a source cannot be read, two have one name, the place holds an image that no export wrote, or
            it cannot be written.
    """
    target = Path(to)
    if not sources:
        raise UserError("Name at least one cube to export.")
    if target.suffix.lower() == ".hdr":
        if len(sources) > 1:
            raise UserError(f"{len(sources)} cubes cannot all be written to {target}: name a folder.")
        headers = [target]
    else:
        headers = [target / f"{Path(source).stem}.hdr" for source in sources]
    double = sorted({header.name for header in headers if headers.count(header) > 1})
    if double:
        raise UserError(f"Two cubes would be written to {double[0]}: export them into different folders.")
    for source, header in zip(sources, headers, strict=True):
        if header.exists() and _same(source, header):
            raise UserError(f"{source} would be replaced by its own export: name another folder.")
        _check_own(header)
    for source, header in zip(sources, headers, strict=True):
        envi.write(header, open_cube(source), interleave=interleave, description=f"{_MARK} {source}")
    return headers


def _check_own(header: Path) -> None:
    """Refuse to replace an image that no export wrote."""
    data = header.with_suffix(".img")
    if not header.exists() and not data.exists():
        return
    described = envi.read_header(header).get("description", "") if header.is_file() else ""
    if not (described if isinstance(described, str) else ", ".join(described)).startswith(_MARK):
        there = header if header.exists() else data
        raise UserError(f"{there} was not written by 'hsdata export' and would be replaced: name another place.")


def _same(source: str | os.PathLike[str], header: Path) -> bool:
    return Path(source).exists() and Path(source).with_suffix("").resolve() == header.with_suffix("").resolve()
