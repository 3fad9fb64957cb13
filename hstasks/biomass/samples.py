"""Images as the network takes them: views of the picture, metadata beside it, grams and auxiliary targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hsengine.base.memory import Cache
from hsengine.kept import Kept
from hsengine.train.task import Key
from hstasks.biomass import augment as augments
from hstasks.biomass import baselines, metadata, pictures
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.metadata import Encoder
from hstasks.biomass.params import Changes, Input, Params
from hstasks.images import readers
from hstasks.images.transforms import generator

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """All that was fitted on the training images of a fold, for any images after them.

    Attributes:
        encoder: of the metadata.
        base: weights of the closed form that the network corrects; None: there is none.
        auxiliary: mean and standard deviation of the numbers, and the classes, of the auxiliary targets.
    """

    encoder: Encoder
    base: Floats | None
    auxiliary: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        """As plain values, for the record."""
        base = None if self.base is None else self.base.tolist()
        return {"metadata": self.encoder.plain(), "base": base, "auxiliary": dict(self.auxiliary)}

    def numbers(self, rows: pd.DataFrame, *, guess: bool) -> Floats:
        """(n, width [+ 3]) metadata of rows, with the closed form's components where there is one."""
        encoder = self.encoder if guess else metadata.restored(self.encoder.plain() | {"guess": None})
        known = encoder(rows)
        return known if self.base is None else np.concatenate([known, baselines.applied(self.base, rows)], axis=1)

    def truth(self, rows: pd.DataFrame) -> dict[str, NDArray[Any]]:
        """The auxiliary targets of rows: standardised numbers, NaN where unknown; classes, -1 where unknown."""
        found: dict[str, NDArray[Any]] = {}
        for name, said in self.auxiliary.items():
            if isinstance(said, list):
                order = {value: place for place, value in enumerate(said)}
                found[name] = np.array([order.get(value, -1) for value in rows[name]], dtype=np.int64)
            else:
                found[name] = ((_measured(rows, name) - said["mean"]) / said["std"]).astype(np.float32)
        return found


def fitted(train: pd.DataFrame, params: Params) -> Fitted:
    """Fit all that is not the network on the training images of a fold."""
    columns = params.metadata.columns if params.fusion != "none" else []
    auxiliary: dict[str, Any] = {}
    for name in params.model.auxiliary:
        if name in ("state", "species"):
            auxiliary[name] = sorted(set(train[name]) - {""})
        else:
            values = _measured(train, name)
            auxiliary[name] = {"mean": float(np.nanmean(values)), "std": float(np.nanstd(values)) or 1.0}
    base = baselines.linear(train) if params.model.residual == "colour_ridge" else None
    return Fitted(metadata.fit(train, columns, predicted=True), base, auxiliary)


def restored(record: Mapping[str, Any]) -> Fitted:
    """What a model's record holds under `fitted`."""
    base = None if record["base"] is None else np.array(record["base"])
    return Fitted(metadata.restored(record["metadata"]), base, record["auxiliary"])


def encoder_of(record: Mapping[str, Any]) -> Encoder:
    """How a trained model takes metadata, with unknown ones as `metadata.missing` said at its training."""
    found = record["fitted"]["metadata"]
    guess = record["params"]["metadata"]["missing"] == "predicted"
    return metadata.restored(found if guess else found | {"guess": None})


def blank(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose metadata are not known, as those of the test."""
    return rows.assign(date="", state="", species="", ndvi=np.nan, height_cm=np.nan)


class BiomassSamples:
    """Images by index, for training and measuring.

    Args:
        rows: of the catalog.
        numbers: (n, width) metadata.
        settings: what the network sees.
        truth: auxiliary targets by name.
        missing: (width,) or (n, width): metadata of an image whose own are taken away.
        dropout: how often that happens.
        augment: how pictures are changed; None leaves them.
        seed: of the changes.
        cache: whether pictures stay in memory, for those that are read in every epoch.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        numbers: Floats,
        settings: Input,
        *,
        truth: Mapping[str, NDArray[Any]] | None = None,
        missing: Floats | None = None,
        dropout: float = 0.0,
        augment: Changes | None = None,
        seed: int = 0,
        cache: Cache = "none",
    ):
        self.ids = list(rows["id"])
        self.categories = [0] * len(self.ids)
        self._files, self._settings, self._augment, self._seed = list(rows["image"]), settings, augment, seed
        self._numbers, self._missing, self._dropout = numbers, missing, dropout
        self._targets = rows[list(TARGETS)].to_numpy(dtype=np.float32)
        self._truth = dict(truth or {})
        self._kept = Kept[Tensor](cache, len(self.ids), lambda picture: picture.nbytes)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """The sample of a key, (epoch, index, draw).

        Returns:
            `image` (V, 3, size, size) float32, white as 1; `metadata` (width,), `target` (5,) grams, `auxiliary` by
            name, `index`.
        """
        epoch, index, draw = key
        image = self.whole(index)
        numbers = self._numbers[index]
        if self._augment is not None:
            own = (self._seed, epoch, self.ids[index], draw)
            image = augments.changed(image, self._augment, own)
            gone = self._missing is not None and generator(own, "metadata").random() < self._dropout
            numbers = self._missing[index] if gone and self._missing is not None else numbers
        return {
            "image": self.cut(image),
            "metadata": torch.from_numpy(numbers.astype(np.float32)),
            "target": torch.from_numpy(self._targets[index]),
            "auxiliary": {name: torch.from_numpy(values)[index] for name, values in self._truth.items()},
            "index": index,
        }

    def whole(self, index: int) -> Tensor:
        """The picture of an index, (3, rows · size, columns · size) float32, white as 1."""
        return self._picture(index).float() / 255.0

    def cut(self, picture: Tensor) -> Tensor:
        """(V, 3, size, size) of such a picture."""
        return views(picture, self._settings)

    def _picture(self, index: int) -> Tensor:
        """(3, rows · size, columns · size) uint8."""
        return self._kept.get(index, lambda: self._read(index))

    def _read(self, index: int) -> Tensor:
        image = readers.to_float(readers.read(self._files[index])[:3])
        image = pictures.without_dates(image) if self._settings.mask_dates else image
        return fitted_picture(torch.from_numpy(image), self._settings)


def grid(settings: Input) -> tuple[int, int]:
    """Rows and columns of views."""
    return {"whole": (1, 1), "halves": (1, 2), "tiles": (2, settings.tiles // 2)}[settings.views]


def fitted_picture(image: Tensor, settings: Input) -> Tensor:
    """A picture (3, H, W), white as 1, at the size of its views together, uint8."""
    rows, columns = grid(settings)
    size = (rows * settings.size, columns * settings.size)
    small = F.interpolate(image[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    return (small.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


def views(image: Tensor, settings: Input) -> Tensor:
    """(V, 3, size, size) of a picture (3, rows · size, columns · size)."""
    rows, columns = grid(settings)
    parts = image.reshape(3, rows, settings.size, columns, settings.size).permute(1, 3, 0, 2, 4)
    return parts.reshape(rows * columns, 3, settings.size, settings.size)


CONTENT = ("id", "content", "date", "state", "species", "ndvi", "height_cm", *TARGETS)
"""Columns that a training's data are known by: pictures, metadata and labels."""


def _measured(rows: pd.DataFrame, name: str) -> Floats:
    values = rows["ndvi" if name == "ndvi" else "height_cm"].to_numpy(dtype=np.float64)
    return values if name == "ndvi" else np.log1p(values)
