"""The stage `train`: a network of grams on the images that are not held out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine import stage
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsengine.project import Work
from hsengine.stage import Trained
from hsengine.train.identity import content
from hsengine.train.sampling import Sampler
from hstasks import losses, networks
from hstasks.about import about
from hstasks.biomass import baselines, curriculum, pseudo, split
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.params import Params
from hstasks.biomass.samples import CONTENT, BiomassSamples, Fitted, blank, fitted
from hstasks.biomass.score import WEIGHTS, weighted_r2
from hstasks.images import split as splits
from hstasks.networks.fused import entropy
from hstasks.regression import Losses, Regression

MEASURE = "R2"
_QUANTILE = 0.9

ABOUT = about(
    "biomass",
    "regression",
    "From a photo of a pasture from above, (3, height, width), and where the model has such inputs its metadata, the "
    f"network makes grams: {', '.join(TARGETS)}.",
    [
        "Pictures of a state, season or species that was not trained on are another task: folds by state measure it.",
        "The sums of green, dead and clover hold where `predict.repair` says so; the network's own need not.",
    ],
)


def run(params: Params, *, params_file: Path | None = None, command: Sequence[str] | None = None) -> Trained:
    """Train the network of `params.yaml`; see `hsengine.stage.train`."""
    from hstasks.biomass.challenge import PROJECT

    return stage.train(PROJECT, params, params_file=params_file, command=command)


def prepare(params: Params) -> Work:
    """Make the training of `params.yaml` ready.

    Held-out images are measured as the test will be: without their metadata.

    Raises:
        UserError: catalog or split are missing or do not belong together, training would see a held-out image, its
            near-duplicate or its group, or the network or the loss cannot be made.
    """
    known, held_out = divided(params)
    fit = fitted(known, params)
    # What is fitted, is on true labels.
    training = pd.concat([known, pseudo.rows(held_out)], ignore_index=True)
    guess = params.metadata.missing == "predicted"
    numbers, missing = (fit.numbers(rows, guess=guess) for rows in (training, blank(training)))
    if fit.base is not None:
        # What the closed form says of images that it has not seen, as it will for those to come.
        numbers[:, -3:] = missing[:, -3:] = baselines.cross_fitted(training)
    given = parameters(params, known, fit)
    task = Regression(
        lambda: networks.build("fused", given, 3, len(TARGETS)),
        BiomassSamples(
            training, numbers, params.input, truth=fit.truth(training), missing=missing,
            dropout=params.metadata.dropout, augment=params.augment, seed=params.seed, cache=params.machine.cache,
        ),
        BiomassSamples(
            held_out, fit.numbers(blank(held_out), guess=guess), params.input, truth=fit.truth(held_out),
            cache=params.machine.cache,
        ),
        loss(params, known),
        TARGETS,
        lambda truth, found: weighted_r2(truth, found, TARGETS),
        measure=MEASURE,
        auxiliary={str(name): weight for name, weight in params.model.auxiliary.items()},
        rate=params.model.backbone_rate,
        mixup=params.loss.mixup,
        order=partial(_order, params, training),
    )  # fmt: skip
    sections = ("backbone", "fusion", "model", "input", "augment", "metadata", "loss", "curriculum")
    dumped = params.model_dump(mode="json")
    files = {"weights": file_hash(params.model.weights)} if Path(params.model.weights).is_file() else {}
    record = {
        "challenge": "biomass",
        "task": "regression",
        "title": f"{params.backbone}, fusion {params.fusion}",
        "model": {"name": "fused", "params": given, "in_channels": 3, "out_channels": len(TARGETS)},
        "targets": list(TARGETS),
        "fitted": fit.plain(),
        "split": splits.load().hash,
        "fold": params.split.fold,
        "files": files,
    }
    configuration = {name: dumped[name] for name in sections} | {"files": files}
    counts = (len(training), len(held_out))
    return Work(task, configuration, content(training, held_out, CONTENT), counts, record, ABOUT)


def divided(params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Catalog rows to learn from and those held out, by the split and `split.fold`.

    Raises:
        UserError: see `prepare`.
    """
    decision = splits.load()
    if decision.strategy != params.split.strategy:
        raise UserError(
            f"The split is by {decision.strategy}, split.strategy is '{params.split.strategy}': run 'hstasks split'."
        )
    training, held_out = split.held_out(split.training_rows(), decision, params.split.fold)
    if training.empty or held_out.empty:
        raise UserError(f"Fold {params.split.fold} of the split holds no image, or all: choose another split.fold.")
    return training, held_out


def check(params: Params) -> None:
    """See that the network and the loss can be made.

    Raises:
        UserError: one cannot; names the key.
    """
    import timm

    from hstasks.networks import fusion
    from hstasks.networks.fused_bag import NAMES

    if params.backbone not in NAMES and not timm.is_model(params.backbone.partition(".")[0]):
        networks.build("fused", {"backbone": params.backbone, "weights": "random"}, 3, len(TARGETS))
    if params.fusion != "none":
        sizes = {"kind": params.fusion, "feature_dim": 8, "metadata_dim": 4, "num_outputs": len(TARGETS)}
        fusion.build(sizes | params.model.options)
    if params.fusion != "none" and not params.metadata.columns:
        raise UserError(f"fusion '{params.fusion}' needs metadata: name some in metadata.columns.")


def parameters(params: Params, training: pd.DataFrame, fit: Fitted) -> dict[str, Any]:
    """The network's parameters, with what follows from the training images."""
    grams = training[list(TARGETS)].to_numpy(dtype=np.float64)
    options = dict(params.model.options)
    if params.fusion == "mlp":
        options = {"metadata_entropy": entropy(fit.encoder(training)), **options}
    sizes = {name: len(said) if isinstance(said, list) else 1 for name, said in fit.auxiliary.items()}
    return {
        "backbone": params.backbone,
        "weights": params.model.weights,
        "fusion": params.fusion,
        "metadata_dim": fit.encoder.width,
        "components": params.model.components,
        "residual": fit.base is not None,
        "start": grams[:, :3].mean(axis=0).tolist(),
        "scale": grams.std(axis=0).clip(min=1.0).tolist(),
        "auxiliary": sizes,
        "hidden": params.model.hidden,
        "dropout": params.model.dropout,
        "options": options,
        "mean": params.input.mean,
        "std": params.input.std,
    }


def loss(params: Params, training: pd.DataFrame) -> Losses:
    """The loss of `params.yaml`, with what it takes from the training images."""
    settings = params.loss
    grams = training[list(TARGETS)].to_numpy(dtype=np.float64)
    weights = list(WEIGHTS.values()) if settings.weights == "metric" else None
    if settings.weights == "spread":
        weights = (1.0 / grams.var(axis=0).clip(min=1.0)).tolist()
    if settings.kind == "r2":
        w = np.array(weights or [1.0] * len(TARGETS))
        spread = float((w * (grams - (w * grams).sum() / (w.sum() * len(grams))) ** 2).sum() / len(grams))
        return lambda x, s, y: losses.weighted_r2_loss(x, y, weights=weights, spread=spread, each=True)
    if settings.kind == "gaussian_nll":
        return lambda x, s, y: losses.gaussian_nll(x, y, log_var=s, weights=weights, each=True)
    if settings.kind == "huber":
        beta = settings.beta or robust_scale(grams)
        return lambda x, s, y: losses.huber(x, y, beta=beta, weights=weights, each=True)
    if settings.kind == "quantile":
        return lambda x, s, y: losses.quantile(x, y, q=settings.q, weights=weights, each=True)
    plain = {"l1": losses.l1, "squared": losses.squared, "focal": losses.focal_regression}[settings.kind]
    return lambda x, s, y: plain(x, y, weights=weights, each=True)


def robust_scale(grams: NDArray[np.float64]) -> float:
    """The 0.9-quantile of |y - median| over all targets together, at least 1 g."""
    values = grams.ravel()
    return max(1.0, float(np.quantile(np.abs(values - np.median(values)), _QUANTILE)))


def _order(
    params: Params, training: pd.DataFrame, ids: Sequence[str], categories: Sequence[int], *, seed: int, epochs: int,
    size: int | None,
) -> Sampler:  # fmt: skip
    settings = params.curriculum
    total = training["Dry_Total_g"].to_numpy(dtype=np.float64)
    if settings.kind == "published":
        complexity = training["fractal"].to_numpy(dtype=np.float64)
        stages = [curriculum.members(one, complexity, total) for one in settings.stages]
        lengths = curriculum.stage_epochs([one.epochs for one in settings.stages], epochs)
    else:
        error = np.abs(baselines.cross_fitted(training).sum(axis=1) - total)
        easiest = np.argsort(error, kind="stable")
        stages = [np.sort(easiest[: -(-len(easiest) * part // 3)]) for part in (1, 2, 3)]
        lengths = curriculum.stage_epochs([max(1, epochs // 6)] * 2 + [0], epochs)
    return curriculum.StageSampler(ids, categories, stages, lengths, seed=seed, size=size)
