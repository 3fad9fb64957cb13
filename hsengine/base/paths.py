"""Where the stages of any project's `dvc.yaml` leave what they make, relative to the project's folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

DERIVED = Path("derived")
CATALOG = DERIVED / "catalog.csv"
CODE = DERIVED / "code"

OUTPUTS = Path("outputs")
MODEL = OUTPUTS / "model"
CURVES = OUTPUTS / "curves"
EVALUATION = OUTPUTS / "evaluation"
METRICS = OUTPUTS / "metrics.json"
THROUGHPUT = OUTPUTS / "throughput.json"
SUBMISSION = OUTPUTS / "submission"
REPORT = OUTPUTS / "report.html"


def state_folder() -> Path:
    """The folder outside the workspace for resume state and remembered file facts.

    `HYPEROBJECT_STATE` names another; by default it is in the user's cache folder.
    """
    chosen = os.environ.get("HYPEROBJECT_STATE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("hyperobject")
