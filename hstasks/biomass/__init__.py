"""Pasture biomass: five weights of dry matter from a picture of a quadrat."""

from hstasks.biomass.repair import repair, repair_published
from hstasks.biomass.score import WEIGHTS, weighted_r2

__all__ = ["WEIGHTS", "repair", "repair_published", "weighted_r2"]
