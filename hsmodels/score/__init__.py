"""The challenge's score, SSC, and the errors that the field reports beside it."""

from hsmodels.score.errors import cube_errors, spectral_errors
from hsmodels.score.measure import ssc, ssc_batch, ssc_regions
from hsmodels.score.scale import NAMES

__all__ = ["NAMES", "cube_errors", "spectral_errors", "ssc", "ssc_batch", "ssc_regions"]
