"""The stage `report`: what was taken for what, errors near and away from seams, and tiles to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.report import content
from hsengine.report.page import Section, Table, packed
from hsengine.report.pictures import picture
from hstasks.landcover import aggregate, ground, scoring, split, stages
from hstasks.landcover.classes import BACKGROUND, CLASSES, NAMES, PALETTE
from hstasks.landcover.params import Params
from hstasks.landcover.samples import samples
from hstasks.landcover.scores import measures
from hstasks.landcover.seams import on_seam
from hstasks.landcover.task import MEASURE
from hstasks.metrics import confusion
from hstasks.prediction import Prediction
from hstasks.report import page as pages
from hstasks.report.page import PARAMS, Own, Places, Summary

SHOWN: Final = 12
"""Tiles that the page shows."""

STEPS: Final = 64
"""Distances from a seam that the page can be set to: 0.5, 1.0 ... 32 pixels."""

_DISTANCES = (np.arange(STEPS, dtype=np.float64) + 1.0) / 2.0
_UNSCORED = 255
_SIDE = 512
_LISTS = ("confusion_matrix", "per_class_", "support", "predicted", "ignore_index")

__loads__ = ("hstasks/report/templates/maps.html", "hstasks/report/assets/maps.js")


@dataclass
class Tally:
    """What the predictions of tiles add up to.

    Attributes:
        near: for each code of the distance from a seam, pixels and wrong ones, (STEPS + 1, 2).
        sites: confusion matrix by site.
        rows: a tile each.
    """

    near: NDArray[np.int64] = field(default_factory=lambda: np.zeros((STEPS + 1, 2), dtype=np.int64))
    sites: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def matrix(self) -> NDArray[np.int64]:
        """The confusion matrix of all tiles."""
        total: NDArray[np.int64] = np.sum(list(self.sites.values()), axis=0)
        return total


@dataclass(frozen=True)
class Compared:
    """A tile's truth and prediction, (H, W), and the code of each pixel's distance from a seam where it is scored."""

    truth: NDArray[np.uint8]
    said: NDArray[np.uint8]
    distance: NDArray[np.uint8]

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which pixels count in this tile."""
        scored: NDArray[np.bool_] = self.distance != _UNSCORED
        return scored


def compared(prediction: Prediction, owned: NDArray[np.bool_]) -> Compared:
    """A tile as `hstasks.landcover.scoring` scores it."""
    from scipy.ndimage import distance_transform_edt

    picture, valid = prediction.picture, prediction.picture.valid
    assert picture.mask is not None and valid is not None
    truth = np.where(valid, picture.mask, BACKGROUND).astype(np.uint8)
    seams = on_seam(truth)
    far = np.full(truth.shape, np.inf) if not seams.any() else distance_transform_edt(~seams)
    # Below a distance that the page can be set to where the code is at most that distance's number.
    codes = np.searchsorted(_DISTANCES, far, side="right").astype(np.uint8)
    scored = owned & (truth != BACKGROUND)
    return Compared(truth, prediction.probabilities.argmax(axis=0).astype(np.uint8), np.where(scored, codes, _UNSCORED))


def add(tally: Tally, name: str, site: str, tile: Compared) -> None:
    """Count a tile."""
    truth, said = tile.truth[tile.scored], tile.said[tile.scored]
    matrix = confusion(truth, said, CLASSES, ignore=BACKGROUND)
    tally.sites[site] = tally.sites.get(site, np.zeros_like(matrix)) + matrix
    if on_seam(tile.truth).any():
        codes = tile.distance[tile.scored]
        for column, weights in enumerate((None, truth != said)):
            tally.near[:, column] += np.bincount(codes, weights, minlength=STEPS + 1).astype(np.int64)
    found = measures(matrix)
    row = {"id": name, "site": site, "right": found["OA"], MEASURE: found[MEASURE], "pixels": found["pixels"]}
    tally.rows.append(row | {"wrong": int(found["pixels"] - np.trace(matrix))})


def run(
    params: Params,
    *,
    file: Path = paths.REPORT,
    metrics: Path = paths.METRICS,
    summary: Path = aggregate.FILE,
    params_file: Path = PARAMS,
) -> Summary:
    """Write the page of the stage that `params.stage` names.

    The validation tiles are predicted again, for what is counted by tile, by site and by distance from a seam.

    Args:
        params: of the file.
        file: the HTML file.
        metrics: what `hstasks evaluate` wrote.
        summary: what `hstasks aggregate` wrote; the other stages are left out where it is not there.
        params_file: the parameters, as they are compared with the last commit's.

    Raises:
        UserError: an earlier stage's result is missing, damaged or of another training.
    """
    chosen = stages.resolved(params)
    found = content.read_json(metrics, "evaluate")
    division = split.load()
    ensemble, record = scoring.model_of(stages.model(chosen), chosen, division)
    if found["run"].get("training") != record.get("training"):
        raise UserError(f"{metrics} is of another training than {stages.model(chosen)}: run 'dvc repro evaluate'.")
    rows = split.rows(split.VAL, division)
    owned = ground.owned(rows)
    told = Params.model_validate(record["params"])
    tally = Tally()
    tiles = ensemble.over(samples(rows, told.data, told.input), batch=chosen.predict.batch, label="predicting")
    for prediction, mine, site in zip(tiles, owned, rows["site"], strict=True):
        add(tally, prediction.id, str(site), compared(prediction, mine))
    ranked = sorted(tally.rows, key=lambda row: (row["right"] is None, row["right"], row["id"]))
    wanted = pages.chosen([row["id"] for row in ranked if row["right"] is not None], SHOWN)
    few = rows[rows["id"].isin(wanted)]
    pictured = ensemble.over(samples(few, told.data, told.input), batch=chosen.predict.batch, label="drawing")
    shown = {
        one.id: (one.picture.image, compared(one, owned[index])) for one, index in zip(pictured, few.index, strict=True)
    }
    plain = {name: value for name, value in found.items() if not name.startswith(_LISTS)}
    place = stages.place(chosen)
    curves = place / paths.CURVES.name
    return pages.make(
        _project(),
        plain,
        "tiles",
        own(tally, {name: shown[name] for name in wanted}, found, chosen.evaluate.seam),
        content.ranked(
            [{name: _text(value) for name, value in row.items()} for row in ranked],
            "the model's predictions of the validation tiles, each pixel of ground once; ordered by the share of right "
            "pixels",
        ),
        lead=(
            f"Stage '{chosen.stage}' on {found['tiles']} validation tiles, each pixel of ground once; {MEASURE} is the "
            "mean of the classes' intersection over union, without background. Below: what was taken for what, where "
            "the errors are, then all scores, what was run and what it cost."
        ),
        places=Places(stages.model(chosen), curves, curves / paths.THROUGHPUT.name),
        further=[_classes(found, tally), *_stages(summary)],
        file=file,
        params_file=params_file,
    )


def _project() -> Any:
    from hstasks.landcover.challenge import PROJECT

    return PROJECT


def _classes(found: Mapping[str, Any], tally: Tally) -> Section:
    kinds = ("iou", "f1", "precision", "recall")
    rows = [
        [name, *(content.number(found[f"per_class_{kind}"][k]) for kind in kinds), str(found["support"][k])]
        for k, name in enumerate(NAMES)
        if k != BACKGROUND
    ]
    source = f"{paths.METRICS}, from one confusion matrix over the validation"
    classes = Table(["class", "IoU", "F1", "precision", "recall", "pixels"], rows, source, "By class")
    counts = Counter(row["site"] for row in tally.rows)
    sites = []
    for site, matrix in sorted(tally.sites.items()):
        values = measures(matrix)
        sites.append([site, *(content.number(values[name]) for name in aggregate.RANKED), str(counts[site])])
    source = "the model's predictions of the validation tiles, made again for this page; a confusion matrix a site"
    return Section(
        "Classes and sites", [classes, Table(["site", *aggregate.RANKED, "tiles"], sites, source, "By site")]
    )


def _stages(summary: Path) -> list[Section]:
    if not summary.is_file():
        return []
    rows = content.read_table(summary, ("checkpoint", MEASURE), "aggregate")
    heads = list(rows[0]) if rows else ["checkpoint"]
    cells = [[row["checkpoint"], *(_text(row[name]) for name in heads[1:])] for row in rows]
    return [Section("Stages", [Table(heads, cells, f"{summary}: every stage on the validation, best first")])]


def _text(value: Any) -> str:
    try:
        return str(value) if isinstance(value, int) else content.number(float(value))
    except (TypeError, ValueError):
        return str(value or content.number(None))


def own(
    tally: Tally, shown: Mapping[str, tuple[NDArray[np.float32], Compared]], found: Mapping[str, Any], seam: float
) -> Own:
    """The page's part with confusion, seams and tiles."""
    rows = {row["id"]: row for row in tally.rows}
    items, planes = [], []
    for name, (image, tile) in shown.items():
        step = -(-max(tile.truth.shape) // _SIDE)
        small = [plane[::step, ::step] for plane in (tile.truth, tile.said, tile.distance)]
        planes += [plane.tobytes() for plane in small]
        items.append(
            {
                "title": name,
                "size": [int(side) for side in small[0].shape],
                "stride": step,
                "right": rows[name]["right"],
                "picture": picture(stretched(image)[:, ::step, ::step], _SIDE, lossless=128),
            }
        )
    matrix = tally.matrix
    about = {
        "classes": NAMES,
        "colours": ["#{:02x}{:02x}{:02x}".format(*PALETTE[number]) for number in range(CLASSES)],
        "steps": STEPS,
        "seam": seam,
        "near": tally.near.tolist(),
        "items": items,
    }
    part = pages.part(
        "maps.html",
        about=about,
        rows=_shares(matrix),
        tiles=len(tally.rows),
        source=(
            f"counted over {len(tally.rows)} validation tiles, {int(matrix.sum())} pixels; the scores of "
            f"{paths.METRICS} are of this matrix"
        ),
        shown=f"{len(items)} of {len(tally.rows)} validation tiles, from the worst to the best by the share right",
        stored=_stored(items),
    )
    return Own(Section("Maps", [part]), "maps.js", {"maps-planes": packed(b"".join(planes))}, len(items))


def _shares(matrix: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The rows of the truth's classes, each share of the row or None where it has no pixel."""
    rows = []
    for number in range(1, CLASSES):
        pixels = int(matrix[number].sum())
        shares = [int(count) / pixels if pixels else None for count in matrix[number]]
        rows.append({"number": number, "name": NAMES[number], "pixels": pixels, "shares": shares})
    return rows


def _stored(items: Sequence[Mapping[str, Any]]) -> str:
    step = max((item["stride"] for item in items), default=1)
    return "Every pixel is kept." if step == 1 else f"Of large tiles every pixel in {step} in both directions is kept."


def stretched(image: NDArray[np.float32]) -> NDArray[np.floating]:
    """The first three bands of an image (bands, H, W) as a picture: all but the darkest and brightest percent."""
    chosen = image[:3] if len(image) >= 3 else image[:1]
    low, high = np.quantile(chosen, (0.01, 0.99))
    found: NDArray[np.floating] = (chosen - low) / max(float(high - low), 1e-6)
    return found
