"""Salt bodies in seismic images: the data, metric and submission of the TGS Salt Identification Challenge."""

# The function `score` takes the place of the module of its name, which stays importable by its path.
from hstasks.salt.rle import rle_decode, rle_encode
from hstasks.salt.score import iou, iou_smoothed, score

__all__ = ["iou", "iou_smoothed", "rle_decode", "rle_encode", "score"]
