"""The stage `evaluate`: the scores of the held-out samples, by image, category, region and band."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsdata import catalog as catalogs
from hsdata import layout, paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json
from hsmodels import pictures, score, zoo
from hsmodels.heldout import Samples, fitted, held_out_rows, training_rows, training_set
from hsmodels.inference import predictor as predictors
from hsmodels.inference import reconstruct
from hsmodels.inference.ensemble import Moments, write_weights
from hsmodels.inference.predictor import Predictor
from hsmodels.params import Params
from hsmodels.tally import PSNR, SCORE, BandErrors, Image, Tally, mean, scored_cube, scored_rgb

IMAGES = "images.csv"
BANDS = "bands.csv"
WEIGHTS = "weights.csv"
PICTURES = "pictures"
BASELINES = ("kernel_ridge", "ridge", "mean_spectrum")
"""Closed-form models, fitted here on the training samples with default parameters: the bar to clear."""


@dataclass(frozen=True)
class Summary:
    """What an evaluation found; `metrics` is the content of `metrics.json`."""

    metrics: Mapping[str, Any]
    file: Path
    folder: Path

    def __str__(self) -> str:
        values, run = self.metrics, self.metrics["run"]
        leading = run["leading"]
        what = f"an ensemble of {run['members']}" if run["members"] > 1 else f"the {run['checkpoint']} checkpoint"
        lines = [
            f"{leading} {values[leading]:.4f} of {what} on {values['images']} held-out samples"
            + (", averaged over flips and turns" if run["tta"] else "")
        ]
        lines += [
            f"by {group}: " + ", ".join(f"{name} {part[leading]:.4f}" for name, part in values[group].items())
            for group in ("category", "region", "baseline")
            if values.get(group)
        ]
        if run["same_division"] is False:
            lines.append(
                "WARNING: a model was trained with another division of the samples, and may have seen those that are "
                "held out now; its score means nothing then"
            )
        return "\n".join([*lines, f"wrote {self.file} and {self.folder}"])


def run(
    params: Params, *, model: Path = paths.MODEL, file: Path = paths.METRICS, folder: Path = paths.EVALUATION
) -> Summary:
    """Score a trained model on the held-out samples.

    An ensemble with fitted weights is scored with weights that were fitted, for each image, on the other held-out
    images only; `weights.csv` holds those fitted on all. A first stage, which predicts full-size RGB, is scored by
    PSNR.

    Args:
        params: the track, how to predict, what to draw.
        model: what training wrote; `predict.models` are added to it.
        file: for `metrics.json`.
        folder: for `images.csv`, `bands.csv` and `pictures/<id>.png`, replaced as a whole.

    Raises:
        UserError: there is no model, catalog, index or cube, or they do not belong together.
    """
    catalog = catalogs.load(paths.CATALOG)
    predictor = predictors.of_params(params, model)
    samples = Samples(held_out_rows(catalog), params.track, predictor.target)
    with replacing(folder) as scratch:
        scratch.mkdir()
        if predictor.target == layout.CUBES:
            metrics = _cubes(params, predictor, samples, scratch)
            if params.evaluate.baselines:
                metrics["baseline"] = _baselines(params, catalog, samples, predictor)
        else:
            metrics = _first_stage(predictor, samples, scratch)
        metrics["run"]["same_division"] = _same_division(predictor, catalog)
    write_json(file, metrics)
    return Summary(metrics, file, folder)


def _cubes(params: Params, predictor: Predictor, samples: Samples, folder: Path) -> dict[str, Any]:
    """Score cubes; tables and pictures go to `folder`."""
    model_of = _models(predictor, samples)
    if isinstance(model_of, _LeaveOneOut):
        write_weights(folder / WEIGHTS, model_of.weights, predictor.wavelengths)
    tally, bands = Tally(), BandErrors(predictor.wavelengths)
    drawn = _spread(samples.ids, samples.categories)[: params.evaluate.pictures]
    for index, (input, truth) in enumerate(samples.pairs("scoring")):
        prediction = predictor(input.to(predictor.device), model_of(index))
        values, regions = scored_cube(truth, prediction, predictor.wavelengths)
        image = Image(samples.ids[index], samples.categories[index], values, regions)
        tally.add(image)
        bands.add(truth, prediction)
        if image.id in drawn:
            _draw(folder / PICTURES, image, truth, prediction, predictor.wavelengths)
    _write(tally.table(), folder / IMAGES)
    _write(bands.table(), folder / BANDS)
    return tally.metrics() | {"run": _record(predictor, SCORE)}


def _first_stage(predictor: Predictor, samples: Samples, folder: Path) -> dict[str, Any]:
    """Score full-size RGB, which the challenge's score does not apply to."""
    if predictor.settings.weights == "fitted":
        raise UserError("predict.weights 'fitted' is for models that predict cubes: set it to 'mean'.")
    tally, model = Tally(PSNR), predictor.model
    for index, (input, truth) in enumerate(samples.pairs("scoring")):
        prediction = predictor(input.to(predictor.device), model)
        tally.add(Image(samples.ids[index], samples.categories[index], scored_rgb(truth, prediction)))
    _write(tally.table(), folder / IMAGES)
    return tally.metrics() | {"run": _record(predictor, PSNR)}


def _write(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, lineterminator="\n")


class _LeaveOneOut:
    """For each held-out image, the ensemble with weights fitted on the others."""

    def __init__(self, predictor: Predictor, parts: Sequence[Moments]):
        if len(parts) < 2:
            raise UserError(
                "predict.weights is 'fitted', but a single sample is held out: weights cannot be fitted on one and "
                "scored on another. Hold more out, or set predict.weights to 'mean'."
            )
        self._predictor, self._parts = predictor, parts
        self._total = reduce(Moments.__add__, parts)
        self.weights = self._total.weights()

    def __call__(self, index: int) -> nn.Module:
        return self._predictor.weighted((self._total - self._parts[index]).weights())


def _models(predictor: Predictor, samples: Samples) -> Callable[[int], nn.Module]:
    """For each held-out image, the model that predicts it."""
    if predictor.settings.weights == "fitted":
        return _LeaveOneOut(predictor, fitted(predictor, samples)[1])
    model = predictor.model
    return lambda index: model


def _record(predictor: Predictor, leading: str) -> dict[str, Any]:
    """What the numbers were computed from."""
    settings, first = predictor.settings, predictor.records[0]
    return {
        "leading": leading,
        "model": "+".join(record["name"] for record in predictor.records),
        "weights_blake2b": first["weights_blake2b"],
        "checkpoint": settings.checkpoint,
        "members": len(predictor.members),
        "weights": "mean" if settings.weights == "mean" else "fitted per band on the other held-out images",
        "tta": settings.tta,
        "floor": settings.floor,
        "tile": settings.tile or 0,
        "precision": settings.precision,
    }


def _same_division(predictor: Predictor, catalog: pd.DataFrame) -> bool | None:
    """Whether the models were trained on the samples that are for training now; None where a record does not say."""
    known = [record["data_hash"] for record in predictor.records]
    if None in known:
        return None
    from hsmodels.record import data_hash

    return set(known) == {data_hash(training_set(catalog), held_out_rows(catalog))}


def _baselines(params: Params, catalog: pd.DataFrame, samples: Samples, predictor: Predictor) -> dict[str, Any]:
    """The scores of the closed-form models, fitted on the training samples."""
    training = Samples(training_rows(catalog), params.track)
    settings = predictor.settings.model_copy(update={"tta": False, "models": [], "weights": "mean", "precision": "no"})
    found = {}
    for name in BASELINES:
        if name not in zoo.names(params.track):
            continue
        model = zoo.for_track(name, params.track, {}, bands=len(predictor.wavelengths)).to(predictor.device)
        zoo.fit(model, _batches(training, f"fitting {name}", predictor.device))
        model.eval()
        values = []
        for input, truth in samples.pairs(f"scoring {name}"):
            prediction = reconstruct(model, input.to(predictor.device), settings)
            values.append(score.ssc(truth.to(prediction.device), prediction, wavelengths=predictor.wavelengths)[SCORE])
        found[name] = {SCORE: mean(values)}
    return found


def _batches(samples: Samples, label: str, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for input, target in samples.pairs(label):
        yield input[None].to(device), target[None].to(device)


def _spread(ids: Sequence[str], categories: Sequence[int]) -> list[str]:
    """The ids with the categories taking turns, so that the first few show as many as can be."""
    by_category: dict[int, list[str]] = defaultdict(list)
    for name, category in zip(ids, categories, strict=True):
        by_category[category].append(name)
    turns = zip_longest(*(by_category[key] for key in sorted(by_category)))
    return [name for name in chain.from_iterable(turns) if name is not None]


def _draw(folder: Path, image: Image, truth: Tensor, prediction: Tensor, wavelengths: NDArray[np.float64]) -> None:
    figure = pictures.comparison(
        truth.numpy(), prediction.cpu().numpy(), wavelengths, title=f"{image.id}   SSC {image.values[SCORE]:.4f}"
    )
    pictures.save(figure, folder / f"{image.id}.png")
