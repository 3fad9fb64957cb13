"""The stage `report`: the page that shows the result, and the cubes of the worst, a middling and the best sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hsdata import catalog as catalogs
from hsdata import layout, paths, region
from hsdata.view.scene import Map, Scene, Viewer, viewer
from hsengine import folder
from hsengine.report import content
from hsengine.report.page import Note, Page, Section, Table, write
from hsmodels import evaluate, scoring, zoo
from hsmodels.heldout import Frames, division
from hsmodels.inference import predictor as predictors
from hsmodels.inference.predictor import Predictor
from hsmodels.params import Params
from hsmodels.project import PROJECT
from hsmodels.score import NAMES
from hsmodels.score.scale import MEASURES
from hsmodels.score.shares import Shares

SHOWN: Final = 3
"""Samples whose cubes the page holds."""

BASELINE: Final = evaluate.BASELINES[0]
"""The closed-form model beside the prediction."""

_DECILES: Final = 10


@dataclass(frozen=True)
class Summary:
    """What was made: the page, its size, and the samples whose cubes it shows."""

    file: Path
    bytes: int
    shown: Sequence[str]

    def __str__(self) -> str:
        cubes = f", with the cubes of {', '.join(self.shown)}" if self.shown else ""
        return f"wrote {self.file} ({self.bytes / 1e6:.1f} MB{cubes}): open it in a browser"


def run(
    params: Params,
    *,
    model: Path = paths.MODEL,
    file: Path = paths.REPORT,
    metrics: Path = paths.METRICS,
    images: Path = paths.EVALUATION / evaluate.IMAGES,
    params_file: Path = Path("params.yaml"),
) -> Summary:
    """Write the page of the last training and evaluation.

    Args:
        params: how predictions are made, and whether a baseline stands beside them.
        model: what training wrote.
        file: the HTML file.
        metrics: what `hsmodels evaluate` wrote.
        images: the table of the held-out samples that it wrote.
        params_file: the parameters, as they are compared with the last commit's.

    Raises:
        UserError: an earlier stage's result is missing or damaged.
    """
    found = content.read_json(metrics, "evaluate")
    leading = found["run"]["leading"]
    samples, rows = content.samples(images, leading)
    ids = _chosen([row["id"] for row in rows])
    predictor = predictors.of_params(params, model)
    shown: Viewer | None = None
    cubes = Section("Cubes", [Note(f"The model predicts {predictor.target}, not cubes: there are none to look into.")])
    if predictor.target == layout.CUBES:
        shown = viewer(_scenes(params, predictor, ids))
        cubes = Section("Cubes", [shown.part])
    page = Page(
        title=f"{found['run']['model']}, track {params.track}: {leading} {content.number(found[leading])}",
        lead=(
            f"{leading} is the mean over {found[evaluate.IMAGE_COUNT]} held-out samples. Below: the cubes of the "
            "worst, a middling and the best of them, then all scores, what was run and what it cost."
        ),
        sections=[
            cubes,
            content.scores(found, evaluate.IMAGE_COUNT),
            samples,
            content.curves(leading),
            content.run(PROJECT, folder.record(model), params_file),
            content.cost(),
        ],
        styles=shown.styles if shown else (),
        scripts=shown.scripts if shown else (),
        data=shown.data if shown else {},
    )
    write(page, file)
    return Summary(file, file.stat().st_size, ids if shown else [])


def _chosen(ids: Sequence[str]) -> list[str]:
    """Of samples from worst to best: the worst, some between at equal distances, the best."""
    places = np.linspace(0, len(ids) - 1, min(SHOWN, len(ids))).round().astype(int)
    return [ids[place] for place in dict.fromkeys(places.tolist())]


def _scenes(params: Params, predictor: Predictor, ids: Sequence[str]) -> list[Scene]:
    training, held_out = division(catalogs.load(paths.CATALOG))
    frames = Frames(held_out, params.track, input=params.input)
    beside = params.evaluate.baselines and BASELINE in zoo.names(params.track, params.input)
    baseline = evaluate.fit_baseline(BASELINE, training, predictor) if beside else None
    model_of = evaluate.models(predictor, frames)
    scenes = []
    for name in ids:
        index = frames.ids.index(name)
        input, truth = frames.pair(index)
        prediction = predictor(input.to(predictor.device), model_of(index))
        scenes.append(_scene(name, input, truth, prediction, baseline, predictor.wavelengths))
    return scenes


def _scene(
    name: str,
    input: Tensor,
    truth: Tensor,
    prediction: Tensor,
    baseline: Callable[[Tensor], Tensor] | None,
    wavelengths: NDArray[np.float64],
) -> Scene:
    """Truth, prediction and baseline of a sample, with the score of each pixel of the prediction."""
    shares = scoring.shares(truth, prediction, wavelengths)
    cubes = {"truth": truth.numpy(), "prediction": prediction.cpu().numpy()}
    if baseline is not None:
        cubes[f"baseline {BASELINE}"] = baseline(input).cpu().numpy()
    photo = input.numpy()
    return Scene(
        f"{name}: SSC {shares.values[scoring.SCORE]:.4f}",
        cubes,
        wavelengths,
        maps=_maps(shares, np.abs(cubes["prediction"] - cubes["truth"]).mean(axis=0)),
        photo=np.repeat(photo, 3, axis=0) if len(photo) == 1 else photo,
        tables=[
            _parts(shares, name),
            _by_region(shares, region.regions(cubes["truth"], wavelengths)),
            _by_decile(shares),
        ],
    )


def _maps(shares: Shares, error: NDArray[np.floating]) -> list[Map]:
    total = _total(shares)
    scored = "as the scorer has it"
    maps = [
        Map("error", error, note="mean over the bands of |prediction - truth|, in reflectance"),
        Map("SAM", shares.measures["SAM_deg"], "°", scored),
        Map("SID", shares.measures["SID"], "nats", scored),
        Map("ΔE00", shares.measures["DeltaE00"], note=f"colour difference of the renders, {scored}"),
        Map("1 - SSIM", 1.0 - shares.measures["SSIM"], note=f"of the renders, {scored}"),
        Map("share of the loss", _relative(total), note="of -ln SSC; 1 is the mean over all pixels"),
    ]
    return maps + [
        Map(f"share of the loss by {name}", _relative(costs), note=f"of what {name} costs; 1 is the mean")
        for name, costs in shares.costs.items()
    ]


def _relative(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = float(costs.mean())
    return costs / mean if mean > 0 else np.zeros_like(costs)


def _total(shares: Shares) -> NDArray[np.float64]:
    total: NDArray[np.float64] = np.sum(list(shares.costs.values()), axis=0)
    return total


def _parts(shares: Shares, name: str) -> Table:
    lost = sum(float(costs.sum()) for costs in shares.costs.values())
    rows = []
    for measure in MEASURES:
        cost = float(shares.costs[measure].sum())
        rows.append([measure, f"{shares.values[measure]:.4f}", f"{cost:.4f}", _percent(cost, lost)])
    rows += [[value, f"{shares.values[value]:.4f}", "", ""] for value in NAMES if value not in MEASURES]
    source = f"hsmodels.scoring on the whole frame of {name}; the costs add up to -ln SSC"
    return Table(["measure", "value", "cost", "share"], rows, source, "Parts of the score")


def _by_region(shares: Shares, masks: Mapping[str, NDArray[np.bool_]]) -> Table:
    total = _total(shares)
    lost, rows = float(total.sum()), []
    for name, mask in masks.items():
        parts = [_percent(float(costs[mask].sum()), float(costs.sum())) for costs in shares.costs.values()]
        rows.append([name, _percent(mask.sum(), mask.size), _percent(float(total[mask].sum()), lost), *parts])
    source = "all pixels of the frame; regions by the rule of hsdata.region on the truth"
    return Table(["region", "pixels", "of the loss", *shares.costs], rows, source, "Which regions cost how much")


def _by_decile(shares: Shares) -> Table:
    ordered = np.sort(_total(shares), axis=None)[::-1]
    lost, rows, sum_ = float(ordered.sum()), [], 0.0
    for number, part in enumerate(np.array_split(ordered, _DECILES), start=1):
        sum_ += float(part.sum())
        rows.append([str(number), _percent(float(part.sum()), lost), _percent(sum_, lost)])
    source = "all pixels of the frame, from the costliest tenth to the cheapest"
    return Table(["tenth of the pixels", "of the loss", "up to here"], rows, source, "Which pixels cost how much")


def _percent(part: float, whole: float) -> str:
    return f"{100.0 * part / whole:.1f} %" if whole else content.number(None)
