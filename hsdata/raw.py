"""The raw cubes that a catalog lists, as the stages that derive something from them meet them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hsdata.formats import hdf5
from hsdata.formats.access import is_url
from hsengine.base.errors import UserError

Row = Mapping[Any, Any]
"""A row of a catalog, by column."""

Shape = tuple[int, int, int]
"""(bands, height, width)."""


def shape_of(row: Row) -> Shape:
    """The shape that the catalog says a cube has."""
    return int(row["bands"]), int(row["height"]), int(row["width"])


def content_of(row: Row) -> str:
    """The content hash of a row's cube.

    Raises:
        UserError: the catalog has none.
    """
    if not row["cube_hash"]:
        raise UserError(f"The catalog has no content hash for {row['cube']}: make it again with 'hsdata catalog'.")
    return str(row["cube_hash"])


def location(path: str | os.PathLike[str], scheduler: str | None = None) -> str:
    """A path as a worker finds it: those of a cluster start in other folders than this process."""
    if is_url(path) or scheduler is None:
        return str(path)
    return str(Path(path).absolute())


@contextmanager
def opened(path: str, shape: Shape) -> Iterator[hdf5.Opened]:
    """Open a raw cube to read it by strips, once it is known to have the shape that the catalog says.

    Raises:
        UserError: it cannot be read, or has another shape.
    """
    with hdf5.opened(path) as cube:
        if cube.shape != shape:
            raise UserError(
                f"{path} has (bands, height, width) {cube.shape}, but the catalog says {shape}: "
                "make the catalog again with 'hsdata catalog'."
            )
        yield cube
