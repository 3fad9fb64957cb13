"""How good scores are: over all objects, by domain, band, magnitude and Einstein radius, with intervals and plots."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.base.files import replacing
from hsengine.bootstrap import RESAMPLES
from hstasks import metrics
from hstasks.lenses.layout import BANDS, DOMAINS

# Edges of the bins: Einstein radius in arcsec, magnitude of the lens galaxy in band i.
REIN_EDGES = (0.0, 0.7, 1.0, 1.5, np.inf)
MAGNITUDE_EDGES = (-np.inf, 19.5, 20.5, 21.5, np.inf)

_RANKED: dict[str, Callable[..., float | None]] = {
    "auroc": metrics.auroc,
    "average_precision": metrics.average_precision,
    "tpr0": metrics.tpr0,
    "tpr10": metrics.tpr10,
    "brier": metrics.brier,
    "ece": metrics.ece,
}


def measures(
    frame: pd.DataFrame, threshold: float | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """All measures of scored objects (or files) and of their parts.

    Args:
        frame: one row a score, with `label` (0 or 1) and `prob`; where there are columns `domain`, `band`,
            `mag_lens_i` or `rein`, also by these; `group` names what is drawn together for intervals.
        threshold: t*, found on validation; None leaves out what needs one.
        resamples: of the bootstrap; 0: no intervals.
        seed: of the bootstrap.

    Returns:
        Part (`all`, `domain::hsc`, `band::g`, `mag_lens_i::19.5..20.5`, `rein::0.7..1`) -> the measures of
        `hstasks.metrics.binary_measures` with `youden` and `youden_index` of that part, and `interval`: measure ->
        [low, high] at 95 %. A bin of Einstein radii has its lenses and all non-lenses. What is not
        defined in a part, such as a ranking of one class, is None.

    Raises:
        UserError: there is no row, or a score is no probability.
    """
    if frame.empty:
        raise UserError("There is no scored object with a label: nothing can be measured.")
    return {name: _part(part, threshold, resamples, seed) for name, part in _parts(frame).items()}


def _parts(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    parts = {"all": frame}
    for column, names in (("domain", DOMAINS), ("band", tuple(BANDS))):
        if column in frame and frame[column].nunique() > (1 if column == "band" else 0):
            parts |= {f"{column}::{name}": frame[frame[column] == name] for name in names}
    if "mag_lens_i" in frame:
        parts |= _bins(frame, "mag_lens_i", MAGNITUDE_EDGES, np.zeros(len(frame), bool))
    if "rein" in frame:
        parts |= _bins(frame, "rein", REIN_EDGES, np.asarray(frame["label"] == 0))
    return {name: part for name, part in parts.items() if len(part)}


def _bins(
    frame: pd.DataFrame, column: str, edges: Sequence[float], always: NDArray[np.bool_]
) -> dict[str, pd.DataFrame]:
    values = frame[column].to_numpy(np.float64)
    found = {}
    for low, high in itertools.pairwise(edges):
        inside = (values >= low) & (values < high)
        if inside.any():
            found[f"{column}::{low:g}..{high:g}"] = frame[inside | always]
    return found


def _part(part: pd.DataFrame, threshold: float | None, resamples: int, seed: int) -> dict[str, Any]:
    truth, score = part["label"].to_numpy(np.int64), part["prob"].to_numpy(np.float64)
    found = metrics.binary_measures(truth, score, threshold)
    found |= {"youden": metrics.youden(truth, score), "youden_index": metrics.youden_index(truth, score)}
    if resamples:
        wanted = dict(_RANKED) | ({"accuracy": partial(_accuracy, threshold)} if threshold is not None else {})
        groups = part["group"].tolist() if "group" in part else None
        draw = partial(metrics.interval, groups=groups, resamples=resamples, seed=seed)
        ends = {name: draw(measure, truth, score) for name, measure in wanted.items()}
        found["interval"] = {name: None if pair is None else list(pair) for name, pair in ends.items()}
    return found


def _accuracy(threshold: float, truth: NDArray[Any], score: NDArray[Any]) -> float:
    return float(np.mean((score >= threshold) == truth))


def plot(folder: str | os.PathLike[str], frame: pd.DataFrame, threshold: float | None = None) -> list[Path]:
    """Draw `roc.png`, `calibration.png` and `scores.png` of scored objects, all and by domain.

    Args:
        folder: where to.
        frame: one row an object, with `label`, `prob` and `domain`.
        threshold: t*, marked in the histogram; None: unmarked.

    Returns:
        The files.
    """
    parts = {"all": frame} | {name: frame[frame["domain"] == name] for name in DOMAINS}
    parts = {name: part for name, part in parts.items() if part["label"].nunique() == 2}
    place = Path(folder)
    draw: dict[str, Callable[[Any], None]] = {
        "roc.png": partial(_draw_roc, parts),
        "calibration.png": partial(_draw_calibration, parts),
        "scores.png": partial(_draw_scores, frame, threshold),
    }
    for name, drawn in draw.items():
        _save(place / name, drawn)
    return [place / name for name in draw]


def _save(path: Path, draw: Callable[[Any], None]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    with replacing(path) as scratch:
        figure.savefig(scratch, dpi=120, metadata={"Software": None})


def _draw_roc(parts: Mapping[str, pd.DataFrame], axes: Any) -> None:
    from sklearn.metrics import roc_curve

    for name, part in parts.items():
        false, true, _ = roc_curve(part["label"], part["prob"])
        score = metrics.auroc(part["label"], part["prob"])
        axes.plot(false, true, label=f"{name}: AUROC {score:.3f}")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right")


def _draw_calibration(parts: Mapping[str, pd.DataFrame], axes: Any) -> None:
    bins = 10
    for name, part in parts.items():
        probability = part["prob"].to_numpy(np.float64)
        place = np.minimum((probability * bins).astype(int), bins - 1)
        table = part.assign(bin=place).groupby("bin")[["prob", "label"]].mean()
        error = metrics.ece(part["label"], part["prob"])
        axes.plot(table["prob"], table["label"], marker="o", label=f"{name}: ECE {error:.3f}")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    axes.set(xlabel="mean probability", ylabel="share of lenses", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="upper left")


def _draw_scores(frame: pd.DataFrame, threshold: float | None, axes: Any) -> None:
    edges = np.linspace(0.0, 1.0, 41)
    for label, name in ((0, "non-lenses"), (1, "lenses")):
        axes.hist(frame.loc[frame["label"] == label, "prob"], bins=edges, alpha=0.6, label=name)
    if threshold is not None:
        axes.axvline(threshold, color="0.2", linestyle="--", label=f"t* = {threshold:.3f}")
    axes.set(xlabel="probability of a lens", ylabel="objects", xlim=(0, 1))
    axes.legend()
