"""Strong gravitational lenses: five bands of one object, classified as lens or not."""

from hstasks.lenses.cutout import open_cutout
from hstasks.lenses.preprocess import preprocess_published

__all__ = ["open_cutout", "preprocess_published"]
