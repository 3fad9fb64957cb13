"""How good predictions are: masks by one confusion matrix, scores of labels by ranks and calibration.

None stands for what is not defined, such as a ranking of one class.
"""

from hsengine.bootstrap import interval
from hstasks.metrics.binary import (
    auroc,
    average_precision,
    binary_measures,
    brier,
    counts_at,
    ece,
    from_counts,
    tpr0,
    tpr10,
    tpr_with_false_positives,
    youden,
    youden_index,
)
from hstasks.metrics.matrix import confusion, per_class

__all__ = [
    "auroc",
    "average_precision",
    "binary_measures",
    "brier",
    "confusion",
    "counts_at",
    "ece",
    "from_counts",
    "interval",
    "per_class",
    "tpr0",
    "tpr10",
    "tpr_with_false_positives",
    "youden",
    "youden_index",
]
