"""The published system's log of a training, from the curves."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from hsengine.base.files import write_text

LOG = "training_log.csv"

_COLUMNS = {
    "train_loss": "train/loss",
    "train_acc": "train/accuracy",
    "val_loss": "val/loss",
    "val_acc": "val/accuracy",
    "val_auc": "val/auc",
    "lr": "train/learning_rate",
}


def write_log(curves: str | os.PathLike[str]) -> None:
    """Write `training_log.csv` into a folder of curves: epoch (from 1), losses, accuracies at 0.5, AUC and rate.

    With mixup, what is of training is of mixed samples. What was not measured in an epoch is empty.
    """
    columns = [_values(Path(curves, "plots", "metrics", f"{curve}.tsv")) for curve in _COLUMNS.values()]
    epochs = sorted(set().union(*columns))
    rows = [["epoch", *_COLUMNS]]
    rows += [[str(epoch + 1), *(values.get(epoch, "") for values in columns)] for epoch in epochs]
    write_text(Path(curves, LOG), "".join(",".join(row) + "\n" for row in rows))


def _values(file: Path) -> dict[int, str]:
    """Epoch -> value, as it is written."""
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as stream:
        first, *rows = list(csv.reader(stream, delimiter="\t")) or [[]]
    return {int(row[first.index("step")]): row[1 - first.index("step")] for row in rows}
