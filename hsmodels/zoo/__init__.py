"""The models, by name: one file a family, a registry, and an example to copy (`example.py`)."""

from hsmodels.zoo.registry import build, for_track, inner, names, target_of

__all__ = ["build", "for_track", "inner", "names", "target_of"]
