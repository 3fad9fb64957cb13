"""The models, by name: one file a family, a registry, and an example to copy (`example.py`)."""

from hsmodels.zoo.basis import basis_of
from hsmodels.zoo.published import import_checkpoint
from hsmodels.zoo.registry import (
    base_of,
    build,
    fit,
    for_track,
    inner,
    is_closed_form,
    is_trained,
    names,
    target_of,
    title,
)

__all__ = [
    "base_of",
    "basis_of",
    "build",
    "fit",
    "for_track",
    "import_checkpoint",
    "inner",
    "is_closed_form",
    "is_trained",
    "names",
    "target_of",
    "title",
]
