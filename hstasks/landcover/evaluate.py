"""The stage `evaluate`: a stage's model on the validation tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hsengine.base import paths
from hsengine.base.files import replacing, write_json
from hsengine.evaluate import SEEN, Summary, same_division
from hstasks.landcover import scoring, split, stages
from hstasks.landcover.classes import BACKGROUND
from hstasks.landcover.params import Params
from hstasks.landcover.scores import measures
from hstasks.landcover.task import MEASURE

EVALUATION = paths.EVALUATION.name


def run(params: Params, *, stage: str | None = None, model: Path | None = None, file: Path | None = None) -> Summary:
    """Score a stage's model on the validation tiles, each pixel of ground once.

    Writes `metrics.json`, `evaluation_report.txt` and the pictures into `outputs/stages/<stage>/evaluation`, and for
    the stage that `params.stage` names the metrics to `outputs/metrics.json` too.

    Args:
        params: of the file.
        stage: its name; None: `params.stage`.
        model: another folder than the stage's.
        file: another place for the second copy of the metrics.

    Raises:
        UserError: there is no model, it learned other classes, or it belongs to another split.
    """
    chosen = stages.resolved(params, stage)
    division = split.load()
    source, place = model or stages.model(chosen), stages.place(chosen) / EVALUATION
    ensemble, record = scoring.model_of(source, chosen, division)
    rows = split.rows(split.VAL, division)
    metrics: dict[str, Any] = {
        "checkpoint": f"{chosen.stage or stages.ALONE}/{chosen.predict.checkpoint}",
        "split": split.VAL,
        "ignore_index": BACKGROUND,
        **scoring.scored(ensemble, record, rows, chosen, f"scoring {chosen.stage or ''}".strip()),
    }
    metrics["baseline"] = {"majority": {MEASURE: _majority(metrics)}}
    metrics["run"] = {
        "leading": MEASURE,
        "model": record["model"]["name"],
        "checkpoint": chosen.predict.checkpoint,
        "members": 1,
        "tta": chosen.predict.views,
        "stage": chosen.stage,
        "split": division.hash,
        "strategy": division.strategy,
        "training": record.get("training"),
        "same_division": same_division([record.get("split")], division.hash),
    }
    for line in division.reasons:
        if line.startswith("warning") and "ground" in line:
            metrics["run"]["warning"] = line
    with replacing(place) as scratch:
        scratch.mkdir()
        scoring.write(scratch, metrics)
    if stage is None or stage == params.stage:
        write_json(file or paths.METRICS, metrics)
    return _Summary(metrics, place / "metrics.json", place, "tiles")


class _Summary(Summary):
    """With what the split flatters."""

    def __str__(self) -> str:
        warning = self.metrics["run"].get("warning")
        leading = self.metrics["run"]["leading"]
        told = self.metrics[leading]
        first = (
            f"{self.metrics['checkpoint']}: {leading} {'undefined' if told is None else f'{told:.4f}'} on "
            f"{self.metrics[self.count]} validation tiles, each pixel of ground once"
        )
        seen = [SEEN] if self.metrics["run"]["same_division"] is False else []
        return "\n".join([first, *([warning] if warning else []), *seen, f"wrote {self.folder}"])


def _majority(metrics: dict[str, Any]) -> float | None:
    """The measure of a map of the commonest class."""
    matrix = np.array(metrics["confusion_matrix"])
    constant = np.zeros_like(matrix)
    constant[:, int(matrix.sum(axis=1).argmax())] = matrix.sum(axis=1)
    found: float | None = measures(constant)[MEASURE]
    return found
