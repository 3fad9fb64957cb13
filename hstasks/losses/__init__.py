"""What the image tasks minimise.

Every function takes `each`: False gives one number for the batch, True one for each image. `Loss` puts several
together by name and weight.
"""

from hstasks.losses.binary import (
    bce,
    bce_dice,
    dice,
    focal,
    lovasz_elu,
    lovasz_hinge,
    lovasz_symmetric,
)
from hstasks.losses.combined import KINDS, Loss, Supervision
from hstasks.losses.multiclass import (
    cross_entropy,
    lovasz_softmax,
    multiclass_dice,
    multiclass_focal,
    ohem,
)
from hstasks.losses.regression import (
    focal_regression,
    gaussian_nll,
    huber,
    l1,
    quantile,
    squared,
    weighted_r2_loss,
)
from hstasks.losses.soft import distillation, possible_classes, set_label

__all__ = [
    "KINDS",
    "Loss",
    "Supervision",
    "bce",
    "bce_dice",
    "cross_entropy",
    "dice",
    "distillation",
    "focal",
    "focal_regression",
    "gaussian_nll",
    "huber",
    "l1",
    "lovasz_elu",
    "lovasz_hinge",
    "lovasz_softmax",
    "lovasz_symmetric",
    "multiclass_dice",
    "multiclass_focal",
    "ohem",
    "possible_classes",
    "quantile",
    "set_label",
    "squared",
    "weighted_r2_loss",
]
