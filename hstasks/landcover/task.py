"""The task of land cover: masks of several classes, with a second set, a teacher and draws of its own where asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsengine.train.joint import Joint, JointSampler
from hsengine.train.sampling import Sampler, ShuffledSampler, WeightedSampler
from hsengine.train.task import Batch, Row
from hstasks.distillation import Teacher
from hstasks.images.samples import ImageSamples
from hstasks.images.settings import Input
from hstasks.landcover.classes import BACKGROUND
from hstasks.landcover.scores import measures
from hstasks.losses import Supervision, possible_classes, set_label
from hstasks.metrics import confusion
from hstasks.segmentation import Scoring, Segmentation

MEASURE = "mIoU_excluding_bg"
TARGET, OEM = "target", "oem"
_CELL = "cell_"


def scoring(classes: int) -> Scoring:
    """Measures of one confusion matrix over all held-out tiles; each tile's row holds its matrix.

    Where tiles overlap their ground counts as often as it is shown: this compares epochs, and `evaluate` scores.
    """

    def cells(truth: NDArray[Any], valid: NDArray[np.bool_], shares: NDArray[np.float32]) -> Mapping[str, float]:
        counts = confusion(np.where(valid, truth, BACKGROUND), shares.argmax(axis=0), classes, ignore=BACKGROUND)
        return {f"{_CELL}{place}": float(count) for place, count in enumerate(counts.reshape(-1).tolist())}

    def summary(rows: Sequence[Row]) -> dict[str, float]:
        counts = np.array([[row[f"{_CELL}{place}"] for place in range(classes * classes)] for row in rows])
        found = measures(counts.sum(axis=0).astype(np.int64).reshape(classes, classes))
        losses = [row["loss"] for row in rows]
        values = {"loss": float(np.mean(losses)), **{name: found[name] for name in (MEASURE, "mF1_excluding_bg", "OA")}}
        values |= {f"iou/{number}": value for number, value in enumerate(found["per_class_iou"])}
        return {name: value for name, value in values.items() if value is not None}

    return Scoring(cells, {MEASURE: "max", "mF1_excluding_bg": "max", "OA": "max"}, MEASURE, summary)


class LandCover(Segmentation):
    """Train a network of land cover.

    Args:
        build: a fresh network.
        training: the tiles to learn from.
        held_out: the tiles to measure on.
        supervision: the loss of labels.
        classes: how many there are, background included.
        settings: what the network sees.
        rate: of the encoder, relative to the rest's.
        second: samples of another set, their masks codes of `sets`, and their share of the draws.
        sets: the classes that each code may be.
        weights: of the training tiles, how often each is drawn; None: all alike.
        copies: how often each training tile comes in an epoch; None: once.
        teacher: what is learned from beside the labels, and its share of the loss.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        training: ImageSamples,
        held_out: ImageSamples,
        supervision: Supervision,
        classes: int,
        settings: Input,
        *,
        rate: float = 1.0,
        second: tuple[ImageSamples, float] | None = None,
        sets: Mapping[int, Sequence[int]] | None = None,
        weights: Sequence[float] | None = None,
        copies: Sequence[int] | None = None,
        teacher: tuple[Teacher, float] | None = None,
    ):
        joint = None if second is None else Joint({TARGET: training, OEM: second[0]})
        learned = training if joint is None else joint
        super().__init__(build, learned, held_out, supervision, scoring(classes), settings, rate=rate)
        self._joint, self._share = joint, 0.0 if second is None else second[1]
        self._sets, self._classes = dict(sets or {}), classes
        self._weights, self._copies, self._teacher = weights, copies, teacher
        if weights is not None and copies is not None:
            self._weights = [weight * copy for weight, copy in zip(weights, copies, strict=True)]

    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of each image, (B,), and its parts."""
        if "domain" in batch and self._joint is not None:
            return self._jointly(model, batch)
        output = model(batch["image"])
        values, parts = self._supervision(output, batch["mask"], batch["valid"])
        if self._teacher is not None:
            teacher, weight = self._teacher
            told = teacher.loss(output.logits, batch["image"], batch["valid"])
            values, parts = (1.0 - weight) * values + weight * told, {**parts, "teacher": told}
        return values, parts

    def sampler(
        self, ids: Sequence[str], categories: Sequence[int], *, seed: int, epochs: int, size: int | None
    ) -> Sampler:
        """By weight, by copies, and by the share of each set."""
        if self._joint is not None:
            given: dict[str, Sequence[float]] = {}
            weights = self._weights if self._weights is not None else self._copies
            if weights is not None:
                given[TARGET] = [float(weight) for weight in weights]
            shares = {TARGET: 1.0 - self._share, OEM: self._share}
            return JointSampler(self._joint, shares, seed=seed, size=size, weights=given)
        if self._weights is not None:
            visits = sum(self._copies) if self._copies is not None else len(ids)
            return WeightedSampler(ids, categories, weights=self._weights, seed=seed, size=size or visits)
        return ShuffledSampler(ids, categories, seed=seed, size=size, copies=self._copies)

    def _jointly(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Labels of the target by the loss, codes of the second set by the sets of classes that they may be."""
        output = model(batch["image"])
        first = batch["domain"] == 0
        # What is no label of the target is no truth of it.
        masks = torch.where(first[:, None, None], batch["mask"], BACKGROUND)
        labelled, _ = self._supervision(output, masks, batch["valid"] & first[:, None, None])
        possible = possible_classes(batch["mask"], self._sets, self._classes)
        coded = set_label(output.logits.float(), possible, batch["valid"], each=True)
        values = torch.where(first, labelled, coded)
        return values, {"labels": values}


def published_mapping() -> list[list[float]]:
    """How OpenEarthMap's nine classes are shared among the six: rangeland .7 grassland and .3 seminatural, bareland to
    seminatural grassland, the rest by name; unknown and water to the background."""
    shares = {0: {0: 1.0}, 1: {5: 1.0}, 2: {2: 0.7, 5: 0.3}, 3: {4: 1.0}, 4: {4: 1.0}, 5: {1: 1.0}, 6: {0: 1.0}}
    shares |= {7: {3: 1.0}, 8: {4: 1.0}}
    return [[shares[row].get(column, 0.0) for column in range(6)] for row in range(9)]
