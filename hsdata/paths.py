"""Where the stages of the flagship's `dvc.yaml` leave what they make, relative to the project's folder."""

from __future__ import annotations

from hsengine.base.paths import (
    CATALOG,
    CURVES,
    DERIVED,
    EVALUATION,
    METRICS,
    MODEL,
    OUTPUTS,
    SUBMISSION,
    THROUGHPUT,
    state_folder,
)

__all__ = [
    "CATALOG",
    "CURVES",
    "DECISION",
    "DERIVED",
    "EVALUATION",
    "HELD_OUT",
    "INDEX",
    "METRICS",
    "MODEL",
    "OUTPUTS",
    "RENDERED",
    "SMOTE",
    "SMOTE_PLAN",
    "SMOTE_PLANNING",
    "SUBMISSION",
    "THROUGHPUT",
    "TRAINING",
    "ZARR",
    "state_folder",
]

INDEX = DERIVED / "index"
HELD_OUT = INDEX / "held_out.txt"
TRAINING = INDEX / "train.txt"
DECISION = INDEX / "decision.json"
ZARR = DERIVED / "hsi_61_zarr"
RENDERED = DERIVED / "rgb_full"
SMOTE_PLANNING = DERIVED / "smote_plan"
SMOTE_PLAN = SMOTE_PLANNING / "smote_plan.csv"
SMOTE = DERIVED / "smote"
