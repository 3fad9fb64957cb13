"""Land cover: a class for each pixel of aerial pictures, with classes that are rare."""

from hstasks.landcover.sampling import (
    class_balanced_weights,
    class_shares,
    difficulty_weights,
    effective_number_weights,
    hardness_richness_weights,
    rare_class_probabilities,
    share_weights,
)
from hstasks.landcover.scores import measures
from hstasks.landcover.seams import seam_errors

__all__ = [
    "class_balanced_weights",
    "class_shares",
    "difficulty_weights",
    "effective_number_weights",
    "hardness_richness_weights",
    "measures",
    "rare_class_probabilities",
    "seam_errors",
    "share_weights",
]
