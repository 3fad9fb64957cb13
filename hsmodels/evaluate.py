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
from hsdata import paths, region
from hsdata.errors import UserError
from hsdata.files import replacing, write_json
from hsmodels import pictures, score, zoo
from hsmodels.heldout import Samples, fitted, held_out_rows, training_rows
from hsmodels.inference import predictor as predictors
from hsmodels.inference import reconstruct
from hsmodels.inference.ensemble import Moments, write_weights
from hsmodels.inference.predictor import Predictor
from hsmodels.params import Params

SCORE = "SSC"
IMAGES = "images.csv"
BANDS = "bands.csv"
WEIGHTS = "weights.csv"
PICTURES = "pictures"
BASELINES = ("ridge", "mean_spectrum")
"""Closed-form models, fitted here on the training samples with default parameters: the bar to clear."""

RULE = (
    "Mean over the held-out images of each image's value over all its pixels; a category's over its images, a "
    "region's over the images that have it, the region of an image scored by itself."
)


@dataclass(frozen=True)
class Summary:
    """What an evaluation found; `metrics` is the content of `metrics.json`."""

    metrics: Mapping[str, Any]
    file: Path
    folder: Path

    def __str__(self) -> str:
        values = self.metrics
        run = values["run"]
        what = f"an ensemble of {run['members']}" if run["members"] > 1 else f"the {run['checkpoint']} checkpoint"
        parts = [
            f"SSC {values[SCORE]:.4f} of {what} on {values['images']} held-out samples"
            + (", averaged over flips and turns" if run["tta"] else "")
        ]
        for title, group in (("category", "category"), ("region", "region"), ("baseline", "baseline")):
            if scored := values.get(group):
                parts.append(f"by {title}: " + ", ".join(f"{name} {part[SCORE]:.4f}" for name, part in scored.items()))
        return "\n".join([*parts, f"wrote {self.file} and {self.folder}"])


def run(
    params: Params, *, model: Path = paths.MODEL, file: Path = paths.METRICS, folder: Path = paths.EVALUATION
) -> Summary:
    """Score a trained model on the held-out samples.

    An ensemble with fitted weights is scored with weights that were fitted, for each image, on the other held-out
    images only; `weights.csv` holds those fitted on all.

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
    samples = Samples(held_out_rows(catalog), params.track)
    model_of = _models(predictor, samples)
    with replacing(folder) as scratch:
        scratch.mkdir()
        if isinstance(model_of, _LeaveOneOut):
            write_weights(scratch / WEIGHTS, model_of.weights, predictor.wavelengths)
        tally = _Tally(predictor.wavelengths)
        drawn = _spread(samples.ids, samples.categories)[: params.evaluate.pictures]
        for index, (input, truth) in enumerate(samples.pairs("scoring")):
            prediction = predictor(input.to(predictor.device), model_of(index))
            image = tally.add(samples.ids[index], samples.categories[index], truth, prediction)
            if samples.ids[index] in drawn:
                _draw(scratch / PICTURES, image, truth, prediction, predictor.wavelengths)
        tally.image_table().to_csv(scratch / IMAGES, index=False, lineterminator="\n")
        tally.band_table().to_csv(scratch / BANDS, index=False, lineterminator="\n")
    metrics = tally.metrics() | {"run": _record(predictor)}
    if params.evaluate.baselines:
        metrics["baseline"] = _baselines(params, catalog, samples, predictor)
    write_json(file, metrics)
    return Summary(metrics, file, folder)


@dataclass(frozen=True)
class _Image:
    id: str
    category: int
    values: Mapping[str, float]
    regions: Mapping[str, float]  # the SSC of each region that the image has


class _Tally:
    """Values of images as they come, and their means."""

    def __init__(self, wavelengths: NDArray[np.float64]):
        self.wavelengths = wavelengths
        self.images: list[_Image] = []
        self.pixels = 0
        # Rows: sums over all pixels of the error, its magnitude and its square.
        self.errors = torch.zeros((3, len(wavelengths)), dtype=torch.float64)

    def add(self, name: str, category: int, truth: Tensor, prediction: Tensor) -> _Image:
        """Score an image: truth and prediction are (bands, H, W)."""
        values, by_region = scored(truth, prediction, self.wavelengths)
        image = _Image(name, category, values, {key: part[SCORE] for key, part in by_region.items()})
        self.images.append(image)
        self.pixels += truth[0].numel()
        for band, (true, predicted) in enumerate(zip(truth.to(prediction.device), prediction, strict=True)):
            error = (predicted - true).double()
            self.errors[:, band] += torch.stack([error.sum(), error.abs().sum(), error.square().sum()]).cpu()
        return image

    def image_table(self) -> pd.DataFrame:
        """A row an image; a region that an image has not got is left empty."""
        return pd.DataFrame(
            [
                {"id": image.id, "category": image.category, **image.values}
                | {f"{SCORE}_{key}": value for key, value in image.regions.items()}
                for image in self.images
            ]
        )

    def band_table(self) -> pd.DataFrame:
        """Errors in reflectance of each band over the pixels of all images."""
        bias, absolute, square = (self.errors / self.pixels).numpy()
        return pd.DataFrame({"wavelength": self.wavelengths, "RMSE": np.sqrt(square), "MAE": absolute, "bias": bias})

    def metrics(self) -> dict[str, Any]:
        """The means, by the rule of `RULE`."""
        categories: dict[str, list[float]] = defaultdict(list)
        regions: dict[str, list[float]] = defaultdict(list)
        for image in self.images:
            categories[str(image.category)].append(image.values[SCORE])
            for key, value in image.regions.items():
                regions[key].append(value)
        return {
            **{key: _mean([image.values[key] for image in self.images]) for key in self.images[0].values},
            "images": len(self.images),
            "category": {key: {SCORE: _mean(found), "images": len(found)} for key, found in sorted(categories.items())},
            "region": {key: {SCORE: _mean(found)} for key, found in sorted(regions.items())},
        }


def scored(
    truth: Tensor, prediction: Tensor, wavelengths: NDArray[np.float64]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """All values of a finished prediction, and those of each region that the truth has.

    Args:
        truth: (bands, H, W) reflectance.
        prediction: (bands, H, W) reflectance.
        wavelengths: (bands,) nm.
    """
    shown = truth.to(prediction.device)
    masks = region.regions(truth.cpu().numpy(), wavelengths)
    # Not as a mask of all pixels: sums in another order would differ in the last digits from validation's.
    return (
        score.ssc(shown, prediction, wavelengths=wavelengths),
        score.ssc_regions(shown, prediction, masks, wavelengths=wavelengths),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


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


def _record(predictor: Predictor) -> dict[str, Any]:
    """What the numbers were computed from."""
    settings, first = predictor.settings, predictor.records[0]
    return {
        "model": "+".join(record["name"] for record in predictor.records),
        "weights_blake2b": first["weights_blake2b"],
        "checkpoint": settings.checkpoint,
        "members": len(predictor.members),
        "weights": "mean" if settings.weights == "mean" else "fitted per band on the other held-out images",
        "tta": settings.tta,
        "floor": settings.floor,
        "tile": settings.tile or 0,
        "precision": settings.precision,
        "rule": RULE,
    }


def _baselines(params: Params, catalog: pd.DataFrame, samples: Samples, predictor: Predictor) -> dict[str, Any]:
    """The scores of the closed-form models, fitted on the training samples."""
    training = Samples(training_rows(catalog), params.track)
    settings = predictor.settings.model_copy(update={"tta": False, "models": [], "weights": "mean", "precision": "no"})
    found = {}
    for name in BASELINES:
        if name not in zoo.names(params.track):
            continue
        model = zoo.for_track(name, params.track, {}, bands=len(predictor.wavelengths)).to(predictor.device)
        fit: Any = zoo.inner(model).fit
        fit(_batches(training, f"fitting {name}", predictor.device))
        model.eval()
        values = []
        for input, truth in samples.pairs(f"scoring {name}"):
            prediction = reconstruct(model, input.to(predictor.device), settings)
            values.append(score.ssc(truth.to(prediction.device), prediction, wavelengths=predictor.wavelengths)[SCORE])
        found[name] = {SCORE: _mean(values)}
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


def _draw(folder: Path, image: _Image, truth: Tensor, prediction: Tensor, wavelengths: NDArray[np.float64]) -> None:
    figure = pictures.comparison(
        truth.numpy(), prediction.cpu().numpy(), wavelengths, title=f"{image.id}   SSC {image.values[SCORE]:.4f}"
    )
    pictures.save(figure, folder / f"{image.id}.png")
