"""The stage `evaluate`: the scores of the held-out tiles, and what each rule of post-processing is worth."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsengine import evaluate as engine
from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json
from hsengine.evaluate import Scored, Summary
from hstasks.images import split as splits
from hstasks.salt import drawing
from hstasks.salt.neighbours import below_known
from hstasks.salt.params import Params
from hstasks.salt.postprocess import BARE, Rules, Tile, fitted, mask_of, out_of_fit, save
from hstasks.salt.prediction import masks, tiles
from hstasks.salt.samples import IOU, MEASURE, image_of, measured, samples
from hstasks.salt.train import data_hash, divided

TILES, RULES, OUT_OF_FOLD, PICTURES = "tiles.csv", "rules.csv", "out_of_fold.npz", "tiles.png"
PLAIN = "plain"


def run(
    params: Params, *, model: Path = paths.MODEL, file: Path = paths.METRICS, folder: Path = paths.EVALUATION
) -> Summary:
    """Score a trained model on the held-out tiles.

    Threshold, gate and least size that are `fitted` are found, for each half of the held-out tiles, on the other
    half, and so is what `metrics.json` reports; those found on all serve the submission. The measures called
    `plain` are of a threshold of 0.5 and no rule. The probabilities are written too, for rules of one's own and for
    a stack.

    Args:
        params: how to predict, which rules.
        model: what training wrote.
        file: for `metrics.json`.
        folder: for tables, out-of-fold probabilities and pictures, replaced as a whole.

    Raises:
        UserError: there is no model, catalog or split, or they do not belong together.
    """
    training, held_out = divided(params)
    ensemble, records = masks([model], params.predict)
    chosen = list(tiles(ensemble, samples(held_out, params.input), params.predict, "scoring", below_known()))
    halves = _halves(held_out)
    rules = out_of_fit(chosen, halves, params.postprocess)
    rows = [
        _sample(tile, rule, row) for tile, rule, row in zip(chosen, rules, held_out.to_dict("records"), strict=True)
    ]
    metrics = engine.metrics(rows, MEASURE, count="tiles")
    metrics["baseline"] = _baselines(chosen)
    final = fitted(chosen, params.postprocess)
    now = data_hash(training, held_out)
    metrics["run"] = {
        "leading": MEASURE,
        "model": records[0]["model"]["name"],
        "checkpoint": params.predict.checkpoint,
        "members": 1,
        "flip": params.predict.flip,
        "fold": params.split.fold,
        "split": splits.load().hash,
        "rules": final.plain(),
        "rules_of_halves": [rule.plain() for rule in dict.fromkeys(rules)],
        "same_division": engine.same_division([records[0]["data"].get("hash")], now),
    }
    with replacing(folder) as scratch:
        scratch.mkdir()
        engine.write_table(engine.table(rows, MEASURE), scratch / TILES)
        engine.write_table(_worth(chosen, halves, params), scratch / RULES)
        np.savez_compressed(
            scratch / OUT_OF_FOLD,
            ids=np.array([tile.id for tile in chosen]),
            probabilities=np.stack([tile.probability for tile in chosen]).astype(np.float16),
            presence=np.array([tile.presence for tile in chosen]),
        )
        save(final, records[0]["training"], scratch)
        if params.evaluate.pictures:
            _draw(chosen, rules, held_out, params.evaluate.pictures, scratch / PICTURES)
    write_json(file, metrics)
    return Summary(metrics, file, folder, "tiles")


def _sample(tile: Tile, rules: Rules, row: dict[Any, Any]) -> Scored:
    assert tile.truth is not None
    values: dict[str, float | None] = dict(measured(tile.truth, mask_of(tile, rules)))
    values |= {f"{PLAIN}_{name}": value for name, value in measured(tile.truth, tile.probability > 0.5).items()}
    return Scored(tile.id, values, {"coverage": int(row["coverage_class"])}, {})


def _halves(held_out: pd.DataFrame) -> list[int]:
    """0 or 1 for each held-out tile: whole mosaics, the classes of coverage spread evenly."""
    try:
        folds = splits.decide(held_out, splits.Split(strategy="grouped", folds=2, fold=0, seed=0)).folds
    except UserError:
        # There are too few mosaics to take them whole.
        return [place % 2 for place in range(len(held_out))]
    return [folds[name] for name in held_out["id"]]


def _baselines(chosen: list[Tile]) -> dict[str, dict[str, float]]:
    """What masks that look at nothing score."""
    return {"all_empty": _means(chosen, [replace(BARE, gate=math.inf)] * len(chosen))}


def _worth(chosen: list[Tile], halves: list[int], params: Params) -> pd.DataFrame:
    """The metric with each rule left out, the others as they are: what the rule is worth on these tiles."""
    settings = params.postprocess
    other = "without the tiles above" if settings.mosaic else "with the tiles above"
    off: dict[str, dict[str, Any]] = {
        "all rules": {},
        "threshold 0.5": {"threshold": 0.5},
        "without gate": {"gate": 0.0},
        "without least size": {"least": 0},
        "without components": {"component": 0},
        "without filling": {"fill": False},
        "full stays full": {"full_to_empty": False},
        "black may be salt": {"black_to_empty": False},
        other: {"mosaic": not settings.mosaic},
    }
    found = {
        name: _means(chosen, out_of_fit(chosen, halves, settings.model_copy(update=change)))
        for name, change in off.items()
    }
    found["none"] = _means(chosen, [BARE] * len(chosen))
    return pd.DataFrame([{"rules": name, **values} for name, values in found.items()])


def _means(chosen: list[Tile], rules: list[Rules]) -> dict[str, float]:
    rows = [measured(t.truth, mask_of(t, r)) for t, r in zip(chosen, rules, strict=True) if t.truth is not None]
    return {name: float(np.mean([row[name] for row in rows])) for name in (MEASURE, IOU)}


def _draw(chosen: list[Tile], rules: list[Rules], held_out: pd.DataFrame, count: int, file: Path) -> None:
    masks_of = [mask_of(tile, rule) for tile, rule in zip(chosen, rules, strict=True)]
    scores = [measured(t.truth, mask)[MEASURE] for t, mask in zip(chosen, masks_of, strict=True) if t.truth is not None]
    drawn = []
    for place in drawing.chosen(scores, count):
        tile, image = chosen[place], image_of(held_out["image"][place])
        assert tile.truth is not None
        title = f"{tile.id}\n{MEASURE} {scores[place]:.1f}"
        drawn.append(drawing.Drawn(title, image[0], tile.truth, tile.probability, masks_of[place]))
    drawing.draw(drawn, file)
