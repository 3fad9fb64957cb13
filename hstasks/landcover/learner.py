"""What parameters ask for: the network, the loss of labels, and what the network sees of a band."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from hsengine.base.errors import UserError
from hstasks import networks
from hstasks.images.settings import Input
from hstasks.landcover import split
from hstasks.landcover.classes import BACKGROUND, CLASSES, OEM_CLASSES
from hstasks.landcover.params import Params
from hstasks.landcover.samples import image_of
from hstasks.landcover.sampling import share_weights
from hstasks.losses import Loss, Supervision


def classes(params: Params) -> int:
    """How many classes are learned."""
    return CLASSES if params.learns == "target" else OEM_CLASSES


def network(params: Params) -> nn.Module:
    """A fresh network of resolved parameters."""
    seen = params.data.bands or bands(split.rows(split.TRAIN))
    return networks.build(params.model.network, parameters(params), seen, classes(params))


def parameters(params: Params) -> dict[str, Any]:
    """The network's parameters, where they are set."""
    given = dict(params.model.options)
    if params.model.encoder is not None:
        given["encoder"] = params.model.encoder
    if params.model.network != "unet_small":
        given["weights"] = params.model.weights
    elif params.model.encoder is not None:
        raise UserError(f"model.encoder: 'unet_small' has none; set model.network for '{params.model.encoder}'.")
    return given


def supervision(params: Params, counts: NDArray[np.int64] | None = None) -> Supervision:
    """The loss of labels; the background is no truth.

    Args:
        params: resolved.
        counts: (n, 6) pixels of each class in the training tiles, which `balance` weighs by; None: all classes alike.
    """
    options: dict[str, Any] = {"smoothing": params.smoothing}
    if counts is not None and params.balance:
        weights = share_weights(counts.sum(axis=0)[1:], params.balance)
        options["class_weights"] = [1.0, *(round(float(weight), 6) for weight in weights)]
    given = losses(params)
    told = {"cross_entropy": options} if "cross_entropy" in given else None
    return Supervision(Loss("multiclass", given, told, ignore=BACKGROUND), params.auxiliary)


def standardised(params: Params) -> Params:
    """Parameters whose `input` has the mean and std of each band over the training tiles, where they ask for it.

    Raises:
        UserError: the split is missing, or the tiles differ in their bands.
    """
    if not params.standardise:
        return params
    return params.model_copy(update={"input": measured(params, split.rows(split.TRAIN))})


def measured(params: Params, rows: pd.DataFrame) -> Input:
    """`params.input` with the mean and std of each band over some tiles.

    Pixels without data do not count. The numbers are rounded to five digits, so that all machines have the same.

    Raises:
        UserError: the tiles differ in their bands, or one cannot be read.
    """
    seen = params.data.bands or bands(rows)
    total, squares, count = np.zeros(seen), np.zeros(seen), 0
    for path in rows["image"]:
        image, valid = image_of(path, params.data.bands, params.data.white)
        pixels = image[:, valid].astype(np.float64)
        total, squares, count = total + pixels.sum(axis=1), squares + np.square(pixels).sum(axis=1), count + valid.sum()
    mean = total / max(int(count), 1)
    deviation = np.sqrt(np.maximum(squares / max(int(count), 1) - mean**2, 1e-8))
    found = {"mean": [round(float(v), 5) for v in mean], "std": [round(float(v), 5) for v in deviation]}
    return params.input.model_copy(update=found)


def losses(params: Params) -> dict[str, float]:
    """The losses of labels, and what each weighs."""
    return {params.loss: 1.0} if isinstance(params.loss, str) else params.loss


def bands(rows: pd.DataFrame) -> int:
    """How many bands all tiles have.

    Raises:
        UserError: they differ.
    """
    counts = sorted(set(rows["channels"]))
    if len(counts) != 1:
        raise UserError(f"The tiles have {', '.join(map(str, counts))} bands: set data.bands to what all have.")
    return int(counts[0])
