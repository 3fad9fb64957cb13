"""Applying a trained model: whole images by tiles, averages over views, several models as one."""

from hsengine.predict.ensemble import Ensemble, Moments
from hsengine.predict.run import apply, device_of, seam_error
from hsengine.predict.views import DIHEDRAL, View

__all__ = ["DIHEDRAL", "Ensemble", "Moments", "View", "apply", "device_of", "seam_error"]
