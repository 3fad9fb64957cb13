"""Where the stages of the flagship's `dvc.yaml` leave what they make, relative to the project's folder."""

from __future__ import annotations

from hsengine.base.paths import CATALOG as CATALOG
from hsengine.base.paths import CURVES as CURVES
from hsengine.base.paths import DERIVED as DERIVED
from hsengine.base.paths import EVALUATION as EVALUATION
from hsengine.base.paths import METRICS as METRICS
from hsengine.base.paths import MODEL as MODEL
from hsengine.base.paths import OUTPUTS as OUTPUTS
from hsengine.base.paths import REPORT as REPORT
from hsengine.base.paths import SUBMISSION as SUBMISSION
from hsengine.base.paths import THROUGHPUT as THROUGHPUT
from hsengine.base.paths import state_folder as state_folder

INDEX = DERIVED / "index"
HELD_OUT = INDEX / "held_out.txt"
TRAINING = INDEX / "train.txt"
DECISION = INDEX / "decision.json"
ZARR = DERIVED / "hsi_61_zarr"
RENDERED = DERIVED / "rgb_full"
SMOTE_PLANNING = DERIVED / "smote_plan"
SMOTE_PLAN = SMOTE_PLANNING / "smote_plan.csv"
SMOTE = DERIVED / "smote"
