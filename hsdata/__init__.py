"""Hyperspectral data: what a sample is, and where it comes from."""

from hsdata.cube import BAND_GRID, Cube
from hsdata.errors import UserError
from hsdata.formats import open_cube

__all__ = ["BAND_GRID", "Cube", "UserError", "open_cube"]
