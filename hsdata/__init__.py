"""Hyperspectral data: what a sample is, and where it comes from."""

from hsdata.cube import BAND_GRID, Cube
from hsdata.formats import open_cube
from hsengine.base.errors import UserError

__all__ = ["BAND_GRID", "Cube", "UserError", "open_cube"]
