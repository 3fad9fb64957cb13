"""Strong gravitational lenses: five bands of one object, classified as lens or not."""

from hstasks.lenses.cutout import open_cutout

__all__ = ["open_cutout"]
