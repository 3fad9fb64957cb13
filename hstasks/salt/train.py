"""The stage `train`: a network of masks on the tiles that are not held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from hsengine import stage
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsengine.project import Work
from hsengine.stage import Trained
from hstasks import networks
from hstasks.about import about
from hstasks.images import split as splits
from hstasks.losses import Loss, Supervision
from hstasks.salt.division import data_hash, divided
from hstasks.salt.params import Params
from hstasks.salt.samples import SCORING, samples
from hstasks.segmentation import Segmentation

LOSSES = {"lovasz": "lovasz_hinge", "bcedice": "bce_dice"}
"""Names that the published system has for losses."""

ABOUT = about(
    "salt",
    "segmentation",
    "From a tile of a seismic image, padded and scaled as `params.input` of `config.json` says, the network makes "
    "logits of salt, (1, height, width).",
    [
        "A mask takes more than a threshold of 0.5: `hstasks evaluate` fits the rules, and `outputs/metrics.json` says "
        "which they are and what they are worth.",
        "Tiles of 101 x 101 pixels of one survey; other processing of the seismic image is other data.",
    ],
)


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
    cache = params.machine.cache
    task = Segmentation(
        lambda: network(params),
        samples(training, params.input, augment=params.augment, seed=params.seed, cache=cache),
        samples(held_out, params.input, cache=cache),
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
    return Work(task, configuration, data_hash(training, held_out), counts, record, ABOUT)


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
    """The network's parameters, where they are set; the heads that the loss has a weight for are among them.

    Raises:
        UserError: the network has no such parameter or head, or no such weights.
    """
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
    known = networks.parameters(model.name, given)
    for head, key in (("presence", "presence"), ("deep_supervision", "auxiliary")):
        weight = getattr(params, key)
        if weight and head not in known:
            raise UserError(f"{key} is {weight}, but '{model.name}' has no such head: set it to 0.")
        if weight:
            given.setdefault(head, True)
    return given


def supervision(params: Params) -> Supervision:
    """The loss of `params.yaml`."""
    weights = {params.loss: 1.0} if isinstance(params.loss, str) else params.loss
    loss = Loss("binary", {LOSSES.get(name.lower(), name): weight for name, weight in weights.items()})
    return Supervision(loss, params.auxiliary, params.presence)
