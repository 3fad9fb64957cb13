"""The verb `folds`: train and evaluate every fold, and score their out-of-fold predictions pooled."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsengine.base import paths
from hsengine.base.files import replacing, write_json
from hsengine.evaluate import shown
from hstasks.biomass import baselines, evaluate, split, train
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.params import Params
from hstasks.images import split as splits

FOLDER = paths.OUTPUTS / "folds"
HISTORY = "cv_history.json"
"""The measures of each fold by epoch, by the published system's name."""


@dataclass(frozen=True)
class Summary:
    """The pooled metrics, and where they are."""

    metrics: dict[str, Any]
    folder: Path

    def __str__(self) -> str:
        others = ", ".join(f"{name} {shown(value)}" for name, value in self.metrics["baseline"].items())
        inputs = ", ".join(f"{name} {shown(said['R2'])}" for name, said in self.metrics["inputs"].items())
        return (
            f"R2 {shown(self.metrics['R2'])}, pooled over {self.metrics['images']} images out of fold\n"
            f"by inputs: {inputs}\nclosed forms: {others}\nwrote {self.folder}"
        )


def run(params: Params, *, folder: Path = FOLDER) -> Summary:
    """Train every fold, one after the other, and pool their predictions.

    `outputs/folds/fold-K/` keeps each model and its evaluation. The fold of `split.fold` comes last, so that
    `outputs/model` and `outputs/metrics.json` end as `params.yaml` says.

    Raises:
        UserError: see `train.prepare` and `evaluate.run`.
    """
    decision = splits.load()
    numbers = sorted(set(decision.folds.values()) - {params.split.fold})
    tables, courses = [], {}
    inputs: dict[str, list[pd.DataFrame]] = {}
    for number in [*numbers, params.split.fold]:
        one = params.model_copy(update={"split": params.split.model_copy(update={"fold": number})})
        train.run(one)
        evaluate.run(one)
        with replacing(folder / f"fold-{number}") as scratch:
            shutil.copytree(paths.MODEL, scratch / "model")
            shutil.copytree(paths.EVALUATION, scratch / "evaluation")
        courses[f"fold-{number}"] = evaluate.history(paths.CURVES)
        tables.append(_read(paths.EVALUATION / evaluate.OUT_OF_FOLD))
        for file in sorted(paths.EVALUATION.glob(evaluate.by_input("*"))):
            inputs.setdefault(file.stem.partition("-")[2], []).append(_read(file))
    metrics = pooled(pd.concat(tables, ignore_index=True))
    metrics["inputs"] = {
        name: {"R2": pooled(pd.concat(parts, ignore_index=True))["R2"]} for name, parts in inputs.items()
    } or {"image_only": {"R2": metrics["R2"]}}
    rows = split.training_rows()
    metrics["baseline"] = baselines.scores(rows, [decision.folds[name] for name in rows["id"]])
    metrics["strategy"] = params.split.strategy
    # A fold of an earlier division would be taken for one of these.
    for stale in folder.glob("fold-*"):
        if stale.name not in courses:
            shutil.rmtree(stale)
    write_json(folder / HISTORY, courses)
    write_json(folder / "metrics.json", metrics)
    return Summary(metrics, folder)


def _read(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype={"id": "str"})


def pooled(rows: pd.DataFrame) -> dict[str, Any]:
    """The measures of all out-of-fold rows at once; not the mean of the folds' scores."""
    truth = rows[[f"{name}_truth" for name in TARGETS]].to_numpy(dtype=np.float64)
    raw = rows[[f"{name}_raw" for name in TARGETS]].to_numpy(dtype=np.float64)
    final = rows[list(TARGETS)].to_numpy(dtype=np.float64)
    found = evaluate.measures(truth, final, rows)
    return found | {"repair": {"raw": evaluate.errors(truth, raw), "repaired": evaluate.errors(truth, final)}}
