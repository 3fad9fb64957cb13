"""The stage `evaluate`: the scores of the held-out samples, by image, category, region and band."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
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
from hsengine.evaluate import Scored, Summary, mean, same_division, table, write_table
from hsengine.evaluate import metrics as summarised
from hsengine.predict import Moments
from hsmodels import pictures, scoring, zoo
from hsmodels.heldout import Frames, data_hash, division, fitted
from hsmodels.inference import predictor as predictors
from hsmodels.inference import reconstruct
from hsmodels.inference.predictor import Predictor
from hsmodels.inference.weights import write_weights
from hsmodels.params import Params

IMAGES = "images.csv"
BANDS = "bands.csv"
FITTED = "weights.csv"
PICTURES = "pictures"
IMAGE_COUNT = "images"
BASELINES = ("kernel_ridge", "kernel_sum", "ridge", "mean_spectrum")
"""Closed-form models, fitted here on the training samples with default parameters: the bar to clear."""


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
    training, held_out = division(catalog)
    frames = Frames(held_out, params.track, predictor.target, predictor.input)
    with replacing(folder) as scratch:
        scratch.mkdir()
        metrics = _scores(params, predictor, frames, scratch)
        if params.evaluate.baselines and predictor.target == layout.CUBES:
            metrics["baseline"] = _baselines(params, training, frames, predictor)
        metrics["run"] = _record(predictor, same_division(predictor.trained_on, data_hash(training, held_out)))
    write_json(file, metrics)
    return Summary(metrics, file, folder, IMAGE_COUNT)


def _scores(params: Params, predictor: Predictor, frames: Frames, folder: Path) -> dict[str, Any]:
    """Score every image; tables and pictures go to `folder`."""
    model_of = models(predictor, frames)
    if isinstance(model_of, _LeaveOneOut):
        write_weights(folder / FITTED, model_of.weights, predictor.wavelengths)
    is_cube, wavelengths = predictor.target == layout.CUBES, predictor.wavelengths
    leading, bands = scoring.leading(predictor.target), BandErrors(wavelengths)
    drawn = _spread(frames.ids, frames.categories)[: params.evaluate.pictures] if is_cube else []
    images: list[Scored] = []
    for index, (input, truth) in enumerate(frames.pairs("scoring")):
        prediction = predictor(input.to(predictor.device), model_of(index))
        values = _values(truth, prediction, predictor)
        parts = {"region": scoring.regions(truth, prediction, wavelengths)} if is_cube else {}
        image = Scored(frames.ids[index], values, {"category": frames.categories[index]}, parts)
        images.append(image)
        if is_cube:
            bands.add(truth, prediction)
        if image.id in drawn:
            _draw(folder / PICTURES, image, truth, prediction, wavelengths)
    write_table(table(images, leading), folder / IMAGES)
    if is_cube:
        write_table(bands.table(), folder / BANDS)
    return summarised(images, leading, count=IMAGE_COUNT)


def _values(truth: Tensor, prediction: Tensor, predictor: Predictor) -> dict[str, float | None]:
    """Every value of one finished prediction (bands, H, W)."""
    columns = scoring.values(truth[None], prediction[None], predictor.wavelengths, predictor.target)
    return {name: float(column[0]) for name, column in columns.items()}


class BandErrors:
    """Errors of each band over the pixels of all images.

    Args:
        wavelengths: (bands,) nm.
    """

    def __init__(self, wavelengths: NDArray[np.float64]):
        self._wavelengths = wavelengths
        self._pixels = 0
        # Rows: sums of the error, its magnitude and its square.
        self._sums = torch.zeros((3, len(wavelengths)), dtype=torch.float64)

    def add(self, truth: Tensor, prediction: Tensor) -> None:
        """Count an image: (bands, H, W) each."""
        self._pixels += truth[0].numel()
        for band, (true, predicted) in enumerate(zip(truth.to(prediction.device), prediction, strict=True)):
            error = (predicted - true).double()
            self._sums[:, band] += torch.stack([error.sum(), error.abs().sum(), error.square().sum()]).cpu()

    def table(self) -> pd.DataFrame:
        """Root mean squared error, mean absolute error and bias in reflectance, a row a band."""
        bias, absolute, square = (self._sums / self._pixels).numpy()
        return pd.DataFrame({"wavelength": self._wavelengths, "RMSE": np.sqrt(square), "MAE": absolute, "bias": bias})


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


def models(predictor: Predictor, frames: Frames) -> Callable[[int], nn.Module]:
    """For each held-out image, the model that predicts it.

    Raises:
        UserError: weights cannot be fitted: there is one image, or no cubes are predicted.
    """
    if predictor.settings.weights == "fitted" and predictor.target != layout.CUBES:
        raise UserError("predict.weights 'fitted' is for models that predict cubes: set it to 'mean'.")
    if predictor.settings.weights == "fitted":
        return _LeaveOneOut(predictor, fitted(predictor, frames)[1])
    model = predictor.model
    return lambda index: model


def _record(predictor: Predictor, same: bool | None) -> dict[str, Any]:
    """What the numbers were computed from."""
    settings = predictor.settings
    return {
        "leading": scoring.leading(predictor.target),
        "model": "+".join(record["title"] for record in predictor.records),
        "weights_blake2b": predictor.records[0]["weights_blake2b"],
        "checkpoint": settings.checkpoint,
        "members": len(predictor.members),
        "weights": "mean" if settings.weights == "mean" else "fitted per band on the other held-out images",
        "tta": settings.tta,
        "floor": settings.floor,
        "consistent": settings.consistent,
        "tile": settings.tile or 0,
        "precision": settings.precision,
        "same_division": same,
    }


def _baselines(params: Params, rows: pd.DataFrame, frames: Frames, predictor: Predictor) -> dict[str, Any]:
    """The scores of the closed-form models, fitted on the training samples."""
    found = {}
    for name in BASELINES:
        if name in zoo.names(params.track, params.input):
            baseline = fit_baseline(name, rows, predictor)
            found[name] = {
                scoring.SCORE: mean(
                    _values(truth, baseline(input), predictor)[scoring.SCORE]
                    for input, truth in frames.pairs(f"scoring {name}")
                )
            }
    return found


def fit_baseline(name: str, rows: pd.DataFrame, predictor: Predictor) -> Callable[[Tensor], Tensor]:
    """A closed-form model, fitted on the training samples: from an input (C, h, w) to a finished cube.

    Args:
        name: one of `BASELINES`.
        rows: the samples to learn from; synthetic ones are left out.
        predictor: what it stands beside: the track, the bands, and how predictions are finished.
    """
    training = Frames(rows[~rows["synthetic"]], predictor.track, input=predictor.input)
    settings = predictor.settings.model_copy(
        update={"tta": False, "models": [], "weights": "mean", "precision": "no", "consistent": False}
    )
    model = zoo.for_track(name, predictor.track, {}, bands=len(predictor.wavelengths), input=predictor.input)
    zoo.fit(model.to(predictor.device), _batches(training, f"fitting {name}", predictor.device))
    model.eval()
    return lambda input: reconstruct(model, input.to(predictor.device), settings, predictor.wavelengths)


def _batches(frames: Frames, label: str, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for input, target in frames.pairs(label):
        yield input[None].to(device), target[None].to(device)


def _spread(ids: Sequence[str], categories: Sequence[int]) -> list[str]:
    """The ids with the categories taking turns, so that the first few show as many as can be."""
    by_category: dict[int, list[str]] = defaultdict(list)
    for name, category in zip(ids, categories, strict=True):
        by_category[category].append(name)
    turns = zip_longest(*(by_category[key] for key in sorted(by_category)))
    return [name for name in chain.from_iterable(turns) if name is not None]


def _draw(folder: Path, image: Scored, truth: Tensor, prediction: Tensor, wavelengths: NDArray[np.float64]) -> None:
    figure = pictures.comparison(
        truth.numpy(),
        prediction.cpu().numpy(),
        wavelengths,
        title=f"{image.id}   SSC {image.values[scoring.SCORE]:.4f}",
    )
    pictures.save(figure, folder / f"{image.id}.png")
