"""Scores of a trained model on tiles: one confusion matrix over the ground, each pixel of it once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine import folder as folders
from hsengine.base.errors import UserError
from hsengine.base.files import write_json, write_text
from hsengine.evaluate import shown
from hsengine.predict.views import DIHEDRAL
from hstasks.landcover import ground, split
from hstasks.landcover.classes import BACKGROUND, CLASSES, NAMES
from hstasks.landcover.params import Params
from hstasks.landcover.samples import samples
from hstasks.landcover.scores import measures
from hstasks.landcover.seams import seam_errors
from hstasks.metrics import confusion
from hstasks.prediction import Masks, opened

MATRIX, REPORT = "confusion_matrix.png", "evaluation_report.txt"
PICTURES = {"class_iou_scores.png": "per_class_iou", "class_f1_scores.png": "per_class_f1"}


@dataclass
class Tally:
    """What predictions of tiles add up to.

    Attributes:
        matrix: (6, 6) counts, rows are the truth.
        seams: pixels and errors near class seams and away from them.
    """

    matrix: NDArray[np.int64] = field(default_factory=lambda: np.zeros((CLASSES, CLASSES), dtype=np.int64))
    seams: dict[str, int] = field(default_factory=dict)


def model_of(folder: Path, params: Params, division: split.Division) -> tuple[Masks, dict[str, Any]]:
    """A trained model of the target's classes, of the present split.

    Raises:
        UserError: see `suits`.
    """
    suits(folder, division)
    views = DIHEDRAL if params.predict.views else ()
    ensemble, records = opened([folder], views, which=params.predict.checkpoint)
    return ensemble, records[0]


def suits(folder: Path, division: split.Division) -> None:
    """See that a folder holds a model of the target's classes that has seen nothing of what is held out now.

    Raises:
        UserError: there is none; it is a teacher of other classes; or it is of another split.
    """
    record = folders.record(folder)
    told = record.get("model", {}).get("out_channels")
    if record.get("challenge") != "landcover" or told != CLASSES or record.get("learns", "target") != "target":
        raise UserError(
            f"The model in {folder} says {told} classes of '{record.get('learns') or record.get('challenge')}', and "
            f"the target has {CLASSES}: a teacher is no student; name a model that learned the target."
        )
    split.check(record.get("split"), f"The model in {folder}", division)


def scored(ensemble: Masks, record: dict[str, Any], rows: pd.DataFrame, params: Params, label: str) -> dict[str, Any]:
    """The measures of a model on tiles with masks.

    Args:
        ensemble: what predicts.
        record: of its training: it says what the model sees of an image.
        rows: of the catalog.
        params: resolved; `predict.batch` and `evaluate.seam` are read.
        label: of the progress.

    Returns:
        `hstasks.landcover.measures`, `confusion_matrix`, `seam_error` and `interior_error` (None without such
        pixels), `tiles`.
    """
    told = Params.model_validate(record["params"])
    tiles = samples(rows, told.data, told.input)
    owned = ground.owned(rows)
    tally = Tally()
    predictions = ensemble.over(tiles, batch=params.predict.batch, label=label)
    for found, mine in zip(predictions, owned, strict=True):
        add(tally, found.picture, found.probabilities, mine, params.evaluate.seam)
    return summed(tally) | {"tiles": len(rows)}


def add(tally: Tally, picture: Any, shares: NDArray[np.float32], owned: NDArray[np.bool_], seam: float) -> None:
    """Add a tile's prediction (6, H, W), where its pixels are scored in it."""
    truth = np.where(picture.valid, picture.mask, BACKGROUND).astype(np.int64)
    said = shares.argmax(axis=0)
    tally.matrix += confusion(np.where(owned, truth, BACKGROUND), said, CLASSES, ignore=BACKGROUND)
    for name, count in seam_errors(truth, said, seam, scored=owned).items():
        tally.seams[name] = tally.seams.get(name, 0) + count


def summed(tally: Tally) -> dict[str, Any]:
    """Measures of a tally."""
    near, far = ((tally.seams.get(f"{k}_wrong", 0), tally.seams.get(f"{k}_pixels", 0)) for k in ("near", "far"))
    return measures(tally.matrix) | {
        "confusion_matrix": tally.matrix.tolist(),
        "seam_error": near[0] / near[1] if near[1] else None,
        "interior_error": far[0] / far[1] if far[1] else None,
    }


def write(folder: Path, metrics: dict[str, Any]) -> None:
    """Write `metrics.json`, the report and the pictures of one checkpoint into a folder that is there."""
    write_json(folder / "metrics.json", metrics)
    write_text(folder / REPORT, report(metrics))
    _draw_matrix(np.array(metrics["confusion_matrix"]), folder / MATRIX)
    for name, key in PICTURES.items():
        _draw_bars(metrics[key], key, folder / name)


def report(metrics: dict[str, Any]) -> str:
    """The measures as text; what is not defined says so."""
    lines = [f"{metrics['checkpoint']} on {metrics['split']}", ""]
    leading = ("mIoU_excluding_bg", "mF1_excluding_bg", "OA", "kappa", "seam_error", "interior_error")
    lines += [f"{name:20} {shown(metrics[name])}" for name in leading]
    lines += ["", f"{'class':24}{'IoU':>10}{'F1':>10}{'precision':>11}{'recall':>10}{'pixels':>10}"]
    for number, name in enumerate(NAMES):
        if number != BACKGROUND:
            kinds = ("iou", "f1", "precision", "recall")
            values = [shown(metrics[f"per_class_{kind}"][number]) for kind in kinds]
            row = f"{values[0]:>10}{values[1]:>10}{values[2]:>11}{values[3]:>10}"
            lines.append(f"{name:24}{row}{metrics['support'][number]:>10}")
    return "\n".join([*lines, ""])


def _draw_matrix(matrix: NDArray[np.int64], path: Path) -> None:
    counts = matrix[1:].astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    figure, axes = _figure((6.4, 5.2))
    axes.imshow(shares, vmin=0.0, vmax=1.0, cmap="Blues")
    for row in range(len(shares)):
        for column in range(shares.shape[1]):
            if np.isfinite(shares[row, column]):
                axes.text(column, row, f"{shares[row, column]:.2f}", ha="center", va="center", fontsize=8)
    axes.set_xticks(range(CLASSES), NAMES, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(CLASSES - 1), NAMES[1:], fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth (rows sum to 1)")
    figure.savefig(path, dpi=100, bbox_inches="tight", metadata={"Software": None})


def _draw_bars(values: Sequence[float | None], title: str, path: Path) -> None:
    figure, axes = _figure((6.0, 3.2))
    known = [0.0 if value is None else value for value in values[1:]]
    axes.bar(range(len(known)), known, color=_colours())
    for place, value in enumerate(values[1:]):
        axes.text(place, known[place] + 0.01, shown(value), ha="center", fontsize=8)
    axes.set_ylim(0.0, 1.1)
    axes.set_xticks(range(len(known)), NAMES[1:], rotation=20, ha="right", fontsize=8)
    axes.set_title(title)
    figure.savefig(path, dpi=100, bbox_inches="tight", metadata={"Software": None})


def _colours() -> list[tuple[float, ...]]:
    from hstasks.landcover.classes import PALETTE

    return [tuple(value / 255 for value in PALETTE[number]) for number in range(1, CLASSES)]


def _figure(size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    return figure, figure.subplots()
