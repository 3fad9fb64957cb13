"""The stage `train`: a network of masks on the tiles that are not held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from hsengine import stage
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsengine.base.wording import some
from hsengine.project import Work
from hsengine.stage import Trained
from hstasks import networks
from hstasks.images import split as splits
from hstasks.losses import Loss, Supervision
from hstasks.salt import pseudo
from hstasks.salt.params import Params
from hstasks.salt.samples import SCORING, samples
from hstasks.salt.split import labelled
from hstasks.segmentation import Segmentation

LOSSES = {"lovasz": "lovasz_hinge", "bcedice": "bce_dice"}
"""Names that the published system has for losses."""


def run(params: Params, *, params_file: Path | None = None, command: Sequence[str] | None = None) -> Trained:
    """Train the network of `params.yaml`; see `hsengine.stage.train`."""
    from hstasks.salt.challenge import PROJECT

    return stage.train(PROJECT, params, params_file=params_file, command=command)


def prepare(params: Params) -> Work:
    """Make the training of `params.yaml` ready.

    Raises:
        UserError: catalog, mosaics or split are missing or do not belong together, training would see a held-out
            tile, or the network or the loss cannot be made.
    """
    training, held_out = divided(params)
    task = Segmentation(
        lambda: network(params),
        samples(training, params.input, augment=params.augment, seed=params.seed, keep=True),
        samples(held_out, params.input, keep=True),
        supervision(params),
        SCORING,
        params.input,
        rate=params.model.encoder_rate,
    )
    sections = ("model", "input", "augment", "loss", "auxiliary", "presence")
    dumped = params.model_dump(mode="json")
    files = {"weights": file_hash(params.model.weights)} if Path(params.model.weights).is_file() else {}
    configuration = {name: dumped[name] for name in sections} | {"files": files}
    record = {
        "challenge": "salt",
        "task": "segmentation",
        "model": {
            "name": params.model.name,
            "params": parameters(params),
            "in_channels": params.input.planes,
            "out_channels": 1,
        },
        "split": splits.load().hash,
        "fold": params.split.fold,
        "files": files,
    }
    counts = (len(training), len(held_out))
    return Work(task, configuration, data_hash(training, held_out), counts, record)


def divided(params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Catalog rows to learn from, pseudo-labelled tiles included, and those held out.

    Raises:
        UserError: see `prepare`.
    """
    frame = labelled(params.split)
    decided = splits.load()
    held_out = frame[frame["id"].isin(decided.held_out)]
    training = frame[frame["id"].isin(decided.train)]
    left = sorted(set(frame["id"]) - set(decided.folds))
    if left:
        raise UserError(f"The split does not have {some(left)} of the catalog: make it anew with 'hstasks split'.")
    labels = pseudo.rows()
    kinds = ("id", "group", "content") if params.split.strategy == "grouped" else ("id", "content")
    everything = pd.concat([frame, labels], ignore_index=True)
    splits.check(everything, decided.held_out, [*decided.train, *labels["id"]], kinds)
    return pd.concat([training, labels], ignore_index=True), held_out.reset_index(drop=True)


def data_hash(training: pd.DataFrame, held_out: pd.DataFrame) -> str:
    """Hash of the tiles' and masks' content, and of which are held out."""
    tables = [rows[["id", "content", "mask_content"]].to_csv(index=False) for rows in (training, held_out)]
    return hashlib.blake2b("held out\n".join(tables).encode(), digest_size=16).hexdigest()


def check(params: Params) -> None:
    """See that the network and the loss can be made.

    Raises:
        UserError: one cannot; names the key.
    """
    networks.parameters(params.model.name, parameters(params))
    supervision(params)


def network(params: Params) -> nn.Module:
    """A fresh network."""
    return networks.build(params.model.name, parameters(params), params.input.planes, 1)


def parameters(params: Params) -> dict[str, Any]:
    """The network's parameters, where they are set."""
    model = params.model
    given = dict(model.options)
    if model.encoder is not None:
        given["encoder"] = model.encoder
    if model.name != "unet_small":
        given["weights"] = model.weights
    elif model.encoder is not None:
        raise UserError(f"model.encoder: 'unet_small' has no encoder '{model.encoder}'; set model.network to 'unet'.")
    elif model.weights != "random":
        raise UserError(
            f"model.weights: there are none for 'unet_small' ('{model.weights}'): set it to 'random'; train.start "
            "names a trained model to start from."
        )
    return given


def supervision(params: Params) -> Supervision:
    """The loss of `params.yaml`."""
    weights = {params.loss: 1.0} if isinstance(params.loss, str) else params.loss
    loss = Loss("binary", {LOSSES.get(name.lower(), name): weight for name, weight in weights.items()})
    return Supervision(loss, params.auxiliary, params.presence)
