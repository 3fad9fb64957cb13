"""Readers and writers, one module a file format."""

from __future__ import annotations

import os

from hsdata.cube import Cube


def open_cube(path: str | os.PathLike[str]) -> Cube:
    """Read a cube, whatever its format."""
    raise NotImplementedError(path)
