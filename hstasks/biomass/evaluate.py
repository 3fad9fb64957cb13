"""The stage `evaluate`: the official score of the held-out images, with closed forms beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine import evaluate as engine
from hsengine.base import paths
from hsengine.base.files import replacing, write_json
from hsengine.evaluate import Summary
from hsengine.train.identity import content
from hstasks.biomass import baselines, metadata, pseudo
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.params import Params
from hstasks.biomass.prediction import predicted, repaired
from hstasks.biomass.samples import CONTENT, blank, encoder_of
from hstasks.biomass.score import weighted_r2
from hstasks.biomass.train import MEASURE, divided
from hstasks.images import split as splits

Floats = NDArray[np.float64]

AS_TEST = "as_test"
OUT_OF_FOLD, CONSTRAINTS = "out_of_fold.csv", "validation_constraint_metrics.json"
METADATA, CONFIG, HISTORY = "metadata_info.json", "config.json", "history.json"
TRAINED = "train_metadata.csv"
"""Names that users of the published system know: what metadata are made into, the parameters, measures by epoch, and
the training images' metadata and grams, one row an image."""


def run(
    params: Params, *, model: Path = paths.MODEL, file: Path = paths.METRICS, folder: Path = paths.EVALUATION
) -> Summary:
    """Score a trained model on the held-out images: pooled weighted R², errors by target, raw and repaired, by state.

    The leading score is of images as the test has them, without metadata; a model with metadata is scored with the
    true ones and with those guessed from the picture too.

    Args:
        params: how to predict.
        model: what training wrote.
        file: for `metrics.json`.
        folder: for the out-of-fold predictions and tables, replaced as a whole.

    Raises:
        UserError: there is no model, catalog or split, or they do not belong together.
    """
    training, held_out = divided(params)
    truth = held_out[list(TARGETS)].to_numpy(dtype=np.float64)
    raw, records = predicted([model], blank(held_out), params.predict)
    final = repaired(raw, params.predict)
    metrics: dict[str, Any] = measures(truth, final, held_out)
    metrics["repair"] = {"raw": errors(truth, raw), "repaired": errors(truth, final)}
    metrics["inputs"] = {"image_only" if params.fusion == "none" else AS_TEST: {MEASURE: metrics[MEASURE]}}
    told = {AS_TEST: final}
    modes = {} if params.fusion == "none" else {
        "mean_metadata": (blank(held_out), False), "predicted_metadata": (blank(held_out), True),
        "true_metadata": (held_out, False),
    }  # fmt: skip
    for name, (rows, guess) in modes.items():
        found, _ = predicted([model], rows, params.predict, guess=guess)
        told[name] = repaired(found, params.predict)
        metrics["inputs"][name] = {MEASURE: weighted_r2(truth, told[name], TARGETS)}
    metrics["baseline"] = {
        name: {MEASURE: weighted_r2(truth, form(training, held_out), TARGETS)} for name, form in baselines.FORMS.items()
    }
    learnt = pd.concat([training, pseudo.rows(held_out)], ignore_index=True)
    now = content(learnt, held_out, CONTENT)
    metrics["run"] = {
        "leading": MEASURE,
        "model": records[0].get("title", records[0]["model"]["name"]),
        "checkpoint": params.predict.checkpoint,
        "members": 1,
        "tta": params.predict.flips,
        "repair": params.predict.repair,
        "strategy": params.split.strategy,
        "fold": params.split.fold,
        "split": splits.load().hash,
        "same_division": engine.same_division([records[0]["data"].get("hash")], now),
    }
    with replacing(folder) as scratch:
        scratch.mkdir()
        engine.write_table(table(held_out, params.split.fold, raw, final), scratch / OUT_OF_FOLD)
        for name, grams in told.items():
            if modes:
                engine.write_table(table(held_out, params.split.fold, grams, grams), scratch / by_input(name))
        write_json(scratch / CONSTRAINTS, metrics["repair"])
        write_json(scratch / METADATA, records[0]["fitted"]["metadata"])
        write_json(scratch / CONFIG, records[0]["params"])
        known = encoder_of(records[0])
        engine.write_table(metadata.described(training, known), scratch / TRAINED)
        if paths.CURVES.is_dir():
            write_json(scratch / HISTORY, history(paths.CURVES))
    write_json(file, metrics)
    return Summary(metrics, file, folder, "images")


def by_input(name: str) -> str:
    """The file of out-of-fold predictions with metadata of a kind; of models that take metadata alone."""
    return f"out_of_fold-{name}.csv"


def measures(truth: Floats, grams: Floats, rows: pd.DataFrame) -> dict[str, Any]:
    """The pooled score, errors by target, and the score by state, of (n, 5) grams."""
    found: dict[str, Any] = {MEASURE: weighted_r2(truth, grams, TARGETS), "images": len(rows)}
    found["targets"] = errors(truth, grams)["targets"]
    states = rows["state"].to_numpy()
    found["state"] = {
        str(state): {
            MEASURE: weighted_r2(truth[states == state], grams[states == state], TARGETS),
            "images": int((states == state).sum()),
        }
        for state in sorted(set(states))
    }
    return found


def errors(truth: Floats, grams: Floats) -> dict[str, Any]:
    """The score, and root mean square and mean absolute error in grams, over all targets and of each."""
    off = grams - truth
    by_target = {
        name: {
            MEASURE: weighted_r2(truth[:, [column]], grams[:, [column]], [name]),
            "RMSE": float(np.sqrt((off[:, column] ** 2).mean())),
            "MAE": float(np.abs(off[:, column]).mean()),
        }
        for column, name in enumerate(TARGETS)
    }
    overall = {"RMSE": float(np.sqrt((off**2).mean())), "MAE": float(np.abs(off).mean())}
    return {MEASURE: weighted_r2(truth, grams, TARGETS), **overall, "targets": by_target}


def history(curves: Path) -> list[dict[str, float]]:
    """The measures of each epoch, such as `train/loss` and `val/R2`, from the curves that training wrote."""
    epochs: dict[int, dict[str, float]] = {}
    root = curves / "plots/metrics"
    for file in sorted(root.rglob("*.tsv")):
        name = file.relative_to(root).with_suffix("").as_posix()
        for step, value in pd.read_csv(file, sep="\t")[["step", file.stem]].itertuples(index=False):
            epochs.setdefault(int(step), {"epoch": int(step)})[name] = float(value)
    return [epochs[step] for step in sorted(epochs)]


def table(rows: pd.DataFrame, fold: int, raw: Floats, final: Floats) -> pd.DataFrame:
    """A row an image: id, fold, state, and of each target truth, raw and repaired grams."""
    columns: dict[str, Any] = {"id": list(rows["id"]), "fold": fold, "state": list(rows["state"])}
    for column, name in enumerate(TARGETS):
        columns |= {
            f"{name}_truth": rows[name].to_numpy(),
            f"{name}_raw": raw[:, column],
            name: final[:, column],
        }
    return pd.DataFrame(columns)
