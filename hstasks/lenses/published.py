"""The published system's files by name, for comparison: its results, its scores, its threshold."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json, write_text
from hstasks import metrics

RESULTS = "results.json"
THRESHOLD = "threshold.txt"


def write_results(folder: str | os.PathLike[str], frame: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """Write `results.json`: the best epoch's validation, and the test scores at a threshold of 0.5.

    Args:
        folder: where to.
        frame: one row a test file, with `label` and `prob`.
        record: of the model; one that was imported has no validation.
    """
    best = record.get("checkpoints", {}).get("best", {}).get("measures", {})
    label, prob = frame["label"].to_numpy(np.float64), frame["prob"].to_numpy(np.float64)
    sure = np.clip(prob, 1e-12, 1.0 - 1e-12)
    results = {
        "best_val_loss": best.get("val/loss"),
        "best_val_auc": best.get("val/auc"),
        "monitor": record.get("watch"),
        "test_loss": float(-np.mean(label * np.log(sure) + (1.0 - label) * np.log(1.0 - sure))),
        "test_acc": float(np.mean((prob >= 0.5) == (label > 0.5))),
        "test_auc": metrics.auroc(label.astype(np.int64), prob),
        "config": record.get("params", {}),
    }
    write_json(Path(folder, RESULTS), results)


def read_threshold(path: str | os.PathLike[str]) -> float:
    """The threshold in a `threshold.txt`: its first number.

    Raises:
        UserError: there is none between 0 and 1.
    """
    try:
        found = re.search(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): write the threshold into it as a number.") from None
    value = float(found[0]) if found else math.nan
    if not 0.0 <= value <= 1.0:
        raise UserError(f"{path} holds no threshold between 0 and 1: write the number alone into it, or remove it.")
    return value


def write_scores(
    folder: str | os.PathLike[str],
    frame: pd.DataFrame,
    *,
    part: str,
    threshold: float,
    tag: str | None = None,
) -> None:
    """Write what it says of a part: `pred_{part}.csv` and `.npy`, `metrics_{tag}.json`, `threshold.txt`.

    Args:
        folder: where to.
        frame: one row a file, with `path`, `domain`, `label` (-1: not known) and `prob`.
        part: `val` or `test`.
        threshold: t*.
        tag: of the measures; None: the part.
    """
    place = Path(folder)
    table = frame[["path", "domain", "label", "prob"]].assign(pred=(frame["prob"] >= threshold).astype(int))
    write_text(place / f"pred_{part}.csv", str(table.to_csv(index=False, lineterminator="\n")))
    with replacing(place / f"pred_{part}.npy") as scratch:
        np.save(scratch, frame["prob"].to_numpy(np.float64))
    known = frame[frame["label"] >= 0]
    if len(known):
        content = {"global": _published(known, threshold)}
        for name in sorted(known["domain"].unique()):
            content[f"domain::{name}"] = _published(known[known["domain"] == name], threshold)
        write_json(place / f"metrics_{tag or part}.json", content)
    write_text(place / "threshold.txt", f"{threshold!r}\n")


def _published(part: pd.DataFrame, threshold: float) -> dict[str, Any]:
    found = metrics.binary_measures(part["label"].to_numpy(np.int64), part["prob"].to_numpy(np.float64), threshold)
    names = {"samples": "n", "auroc": "auc"}
    return {names.get(name, name): value for name, value in found.items()}
