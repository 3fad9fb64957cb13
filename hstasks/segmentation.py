"""The task of masks: from an image to a class, or to salt or not, for each pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsengine.train.task import Batch, Direction, Row, Samples, means
from hstasks.images.fitting import Size, undo
from hstasks.images.samples import ImageSamples
from hstasks.images.settings import Input
from hstasks.losses import Supervision
from hstasks.networks.output import Output
from hstasks.supervised import Supervised

Probabilities = NDArray[np.float32]
"""(classes, H, W), which sum to 1; (1, H, W) where there is one class against the rest."""


@dataclass(frozen=True)
class Scoring:
    """How a sample's prediction is measured.

    Attributes:
        measures: from truth (H, W), validity (H, W) and probabilities to measures by name.
        directions: whether less or more of each is better.
        watch: the measure that decides which epoch is best.
        summary: measures of the whole set from the rows; their means where it is None.
    """

    measures: Callable[[NDArray[Any], NDArray[np.bool_], Probabilities], Mapping[str, float]]
    directions: Mapping[str, Direction]
    watch: str
    summary: Callable[[Sequence[Row]], dict[str, float]] | None = None


class Segmentation(Supervised):
    """Train a network of masks.

    Args:
        build: a fresh network, from (B, channels, h, w) to an `Output`.
        training: samples to learn from.
        held_out: samples to measure on, without augmentation.
        supervision: the loss.
        scoring: the measures, at the images' own size.
        settings: what the network sees.
        rate: of the part called `encoder` of the network, relative to the others' rate; 0 freezes it.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        training: Samples,
        held_out: ImageSamples,
        supervision: Supervision,
        scoring: Scoring,
        settings: Input,
        *,
        rate: float = 1.0,
    ):
        super().__init__(build, training, held_out, rate=rate)
        self._pictures = held_out
        self._supervision, self._scoring, self._settings = supervision, scoring, settings
        self.watch = scoring.watch
        self.directions = {"loss": "min", **scoring.directions}  # type: ignore[misc]

    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of each image, (B,), and its parts."""
        values, parts = self._supervision(model(batch["image"]), batch["mask"], batch["valid"])
        return values, parts

    def measures(self, model: nn.Module, batch: Batch, *, full: bool) -> list[dict[str, float]]:
        """The loss of each image and, at its own size, its measures."""
        output = model(batch["image"])
        loss, _ = self._supervision(output, batch["mask"], batch["valid"])
        rows = []
        for place, index in enumerate(batch["index"].tolist()):
            size = (int(batch["size"][place][0]), int(batch["size"][place][1]))
            found = probabilities(output, self._settings, size, place)
            picture = self._pictures.picture(index)
            valid = np.ones(size, dtype=bool) if picture.valid is None else picture.valid
            measured = self._scoring.measures(np.asarray(picture.mask), valid, found)
            rows.append({"loss": float(loss[place]), **{name: float(value) for name, value in measured.items()}})
        return rows

    def summary(self, rows: Sequence[Row]) -> dict[str, float]:
        """The set's measures."""
        return means(rows) if self._scoring.summary is None else self._scoring.summary(rows)


def probabilities(output: Output, settings: Input, size: Size, place: int) -> Probabilities:
    """What a network says of one image of a batch, at the image's own size."""
    logits = undo(output.logits[place].float(), size, settings.fit)
    shares = torch.sigmoid(logits) if logits.shape[0] == 1 else torch.softmax(logits, dim=0)
    result: Probabilities = shares.cpu().numpy()
    return result
