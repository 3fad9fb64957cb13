"""From a model and an input to a cube: tiles, test-time augmentation, ensembles, floor and ceiling."""

from hsengine.predict import Ensemble, device_of
from hsmodels.inference.cubes import finish, finished, predict, reconstruct, seam_error

__all__ = ["Ensemble", "device_of", "finish", "finished", "predict", "reconstruct", "seam_error"]
