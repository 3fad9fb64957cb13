"""The stage `report`: grams by target with the pictures at hand, raw against repaired, and by kind of folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.report import content
from hsengine.report.page import Block, Note, Section, Table
from hsengine.report.pictures import picture
from hsengine.study import experiments
from hstasks.biomass import baselines, compare, evaluate, folds, split
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.params import Params
from hstasks.biomass.score import WEIGHTS
from hstasks.biomass.train import MEASURE
from hstasks.images import readers
from hstasks.report import page as pages
from hstasks.report.page import PARAMS, Own, Summary

SHOWN: Final = 96
"""Images whose pictures the page holds."""

_SIDE = 320
_FORMS = ("means", "colour_ridge", "measured_ridge", "table_ridge")
_KINDS = {
    "image": "image by image: siblings of a day are learned from",
    "group": "whole groups of state and date",
    "state": "whole states",
}

__loads__ = ("hstasks/report/templates/values.html", "hstasks/report/assets/values.js")


def run(
    params: Params,
    *,
    model: Path = paths.MODEL,
    file: Path = paths.REPORT,
    metrics: Path = paths.METRICS,
    table: Path = paths.EVALUATION / evaluate.OUT_OF_FOLD,
    pooled: Path = folds.FOLDER / "metrics.json",
    params_file: Path = PARAMS,
) -> Summary:
    """Write the page of the last training and evaluation.

    Args:
        params: how the images are divided.
        model: what training wrote.
        file: the HTML file.
        metrics: what `hstasks evaluate` wrote.
        table: the predictions that it wrote.
        pooled: what `hstasks folds` wrote; left out where it is not there.
        params_file: the parameters, as they are compared with the last commit's.

    Raises:
        UserError: an earlier stage's result is missing or damaged.
    """
    found = content.read_json(metrics, "evaluate")
    columns = [f"{name}{kind}" for name in TARGETS for kind in ("_truth", "_raw", "")]
    rows = pd.DataFrame(content.read_table(table, ["id", "state", *columns])).astype(dict.fromkeys(columns, float))
    lost = losses(rows)
    order = np.argsort(-lost, kind="stable").tolist()
    known = split.training_rows().set_index("id")
    files = {str(name): str(path) for name, path in known["image"].items()}
    return pages.make(
        _project(),
        found,
        "images",
        own(rows, order, files, found),
        content.ranked(_samples(rows, order, lost), f"{table}, ordered by what each image costs of {MEASURE}"),
        lead=(
            f"{MEASURE} is the competition's, pooled over all targets of {found['images']} held-out images, with "
            "metadata as the test has them: none. Below: every prediction with its picture, then all scores, what was "
            "run and what it cost."
        ),
        further=[_by_folds(params, found, pooled)],
        file=file,
        params_file=params_file,
    )


def _project() -> Any:
    from hstasks.biomass.challenge import PROJECT

    return PROJECT


def _grams(rows: pd.DataFrame, kind: str) -> NDArray[np.float64]:
    return rows[[f"{name}{kind}" for name in TARGETS]].to_numpy(dtype=np.float64)


def losses(rows: pd.DataFrame) -> NDArray[np.float64]:
    """The share of each image in the weighted squared errors, of which the score is made."""
    off = _grams(rows, "") - _grams(rows, "_truth")
    squares: NDArray[np.float64] = (np.array([WEIGHTS[name] for name in TARGETS]) * off**2).sum(axis=1)
    return squares / (float(squares.sum()) or 1.0)


def _samples(rows: pd.DataFrame, order: Sequence[int], lost: NDArray[np.float64]) -> list[dict[str, str]]:
    columns = [name for target in TARGETS[-2:] for name in (f"{target}_truth", target)]
    return [
        {"id": str(rows["id"][place]), "state": str(rows["state"][place]), "share of the loss": str(lost[place])}
        | {name: str(rows[name][place]) for name in columns}
        for place in order
    ]


def own(rows: pd.DataFrame, order: Sequence[int], files: Mapping[str, str], found: Mapping[str, Any]) -> Own:
    """The page's part with the predictions by target.

    Raises:
        UserError: a picture is missing or cannot be read.
    """
    lacking = [name for name in rows["id"] if name not in files]
    if lacking:
        raise UserError(f"The catalog has no image '{lacking[0]}' of the evaluation: run 'dvc repro evaluate'.")
    shown = pages.chosen(order, SHOWN)
    items = []
    for place in shown:
        image = readers.to_float(readers.read(files[str(rows["id"][place])]))
        step = -(-max(image.shape[1:]) // _SIDE)
        small = image[:, ::step, ::step]
        drawn = picture(small[:3] if len(small) >= 3 else small[:1], _SIDE, lossless=0)
        items.append({"row": place, "size": [int(side) for side in small.shape[1:]], "picture": drawn})
    about = {
        "targets": TARGETS,
        "weights": [WEIGHTS[name] for name in TARGETS],
        "unit": "g",
        "measure": MEASURE,
        "first": list(TARGETS).index("Dry_Total_g"),
        "ids": [str(name) for name in rows["id"]],
        "groups": [str(name) for name in rows["state"]],
        "truth": _grams(rows, "_truth").tolist(),
        "raw": _grams(rows, "_raw").tolist(),
        "repaired": _grams(rows, "").tolist(),
        "items": items,
    }
    part = pages.part(
        "values.html",
        about=about,
        lead=(
            "Choose a target, and what the network says itself (raw) or what is submitted (repaired: GDM is green and "
            "clover, the total that and dead matter, nothing below 0)."
        ),
        source=(
            f"Computed from {evaluate.OUT_OF_FOLD}, {len(rows)} held-out images of fold {found['run']['fold']}, folds "
            f"by {found['run']['strategy']}; repaired by '{found['run']['repair']}'."
        ),
        shown=f"{len(items)} of {len(rows)} held-out images, from the costliest to the cheapest",
    )
    return Own(Section("Values", [part]), "values.js", {}, len(items))


def _by_folds(params: Params, found: Mapping[str, Any], pooled: Path) -> Section:
    """What is known under each kind of folds: of closed forms, of this model, of experiments."""
    run = found["run"]
    rows = [[run["strategy"], f"{run['model']} (this run), fold {run['fold']}", content.number(found[MEASURE]),
             str(found["images"])]]  # fmt: skip
    if pooled.is_file():
        every = content.read_json(pooled, "evaluate")
        rows.append([str(every.get("strategy")), f"all folds pooled, {pooled}", content.number(every.get(MEASURE)),
                     str(every.get("images"))])  # fmt: skip
    for name, record in experiments.read(experiments.finished()).items():
        divided = record.params.get("split", {}).get("strategy")
        if divided:
            value = record.measure(paths.METRICS.as_posix(), MEASURE)
            count = record.measure(paths.METRICS.as_posix(), "images")
            rows.append([str(divided), f"experiment {name}", content.number(value), f"{count or 0:.0f}"])
    order = {kind: place for place, kind in enumerate(_KINDS)}
    rows.sort(key=lambda row: order.get(row[0], len(order)))
    source = f"{paths.METRICS} of each: held-out images without metadata; scores of other kinds of folds do not compare"
    blocks: list[Block] = [Table(["folds by", "model", MEASURE, "images"], rows, source, "Models"), *_forms(params)]
    return Section("By kind of folds", blocks)


def _forms(params: Params) -> list[Block]:
    forms = {name: baselines.FORMS[name] for name in _FORMS}
    try:
        scores = compare.compared(split.training_rows(), params.split, forms)
    except UserError as error:
        return [Note(f"Closed forms are not compared: {error}")]
    rows = [
        [f"{kind}: {said}", *(content.number(scores[kind][form]) for form in _FORMS)] for kind, said in _KINDS.items()
    ]
    source = (
        f"{MEASURE} pooled out of fold over all training images, computed for this page; {', '.join(_FORMS[2:])} use "
        "metadata, which the test does not have"
    )
    return [Table(["folds by", *_FORMS], rows, source, "Closed forms")]
