"""The task of classes: from an object's image to the probability that it is of the sought kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from hsengine.train.sampling import Sampler, WeightedSampler, even_weights
from hsengine.train.task import Batch, Direction, Key, Row, means
from hstasks import metrics
from hstasks.supervised import Supervised

View = Callable[[int, Key | None], NDArray[np.float32]]
"""An object's image (channels, H, W) as the network takes it, changed at random by a key; as it is without one."""

SUMMARIES: Mapping[str, Callable[..., float | None]] = {
    "auc": metrics.auroc,
    "tpr0": metrics.tpr0,
    "tpr10": metrics.tpr10,
}
"""Measures of a set that an epoch can be chosen by, beside the loss."""


class ObjectSamples:
    """Objects with their labels by index, for training and measuring.

    Args:
        ids: name of each sample.
        labels: 0 or 1 of each.
        view: the image of an index.
        categories: a number for each sample, such as of domain and label; drawn evenly by `train.sampling: task`.
        training: whether views are changed by key.
        mixup: share of the other sample is drawn from Beta(mixup, mixup); 0: none is mixed (Zhang et al.: mixup,
            ICLR 2018). The other sample is drawn with an equal chance for each category.
        seed: of the mixing.
    """

    def __init__(
        self,
        ids: Sequence[str],
        labels: Sequence[int],
        view: View,
        *,
        categories: Sequence[int] | None = None,
        training: bool = False,
        mixup: float = 0.0,
        seed: int = 0,
    ):
        self.ids = list(ids)
        self.labels = [int(label) for label in labels]
        self.categories = list(categories) if categories is not None else list(self.labels)
        self._view, self._training, self._mixup, self._seed = view, training, mixup, seed
        weights = even_weights(self.categories)
        self._reach = np.cumsum(weights / weights.sum()) if len(self.ids) else np.empty(0)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """The sample of a key, (epoch, index, draw).

        Returns:
            `image` (channels, H, W) float32; `label` and `other`, the labels of the two that are mixed, and `share`,
            how much of the image and the loss is the first's; `index`.
        """
        epoch, index, draw = key
        image = self._view(index, key if self._training else None)
        other, share = index, 1.0
        if self._training and self._mixup > 0.0:
            other, share = self._partner(epoch, index, draw)
            image = share * image + (1.0 - share) * self._view(other, (epoch, other, draw))
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image, np.float32)),
            "label": torch.tensor(self.labels[index], dtype=torch.float32),
            "other": torch.tensor(self.labels[other], dtype=torch.float32),
            "share": torch.tensor(share, dtype=torch.float32),
            "index": index,
        }

    def _partner(self, epoch: int, index: int, draw: int) -> tuple[int, float]:
        name = int.from_bytes(hashlib.blake2b(self.ids[index].encode(), digest_size=8).digest(), "little")
        chance = np.random.default_rng([self._seed, epoch, name, draw, 1])
        place = int(np.searchsorted(self._reach, chance.random(), side="right"))
        return min(place, len(self.ids) - 1), float(chance.beta(self._mixup, self._mixup))


class Classification(Supervised):
    """Train a network that tells objects of two classes apart.

    Args:
        build: a fresh network, from (B, channels, H, W) to (B, 1) logits.
        training: samples to learn from.
        held_out: samples to measure on, not changed.
        names: what the parts of the held-out samples are called in the curves, by category; a part is measured where
            it has both classes. Categories that share a name are one part.
    """

    directions: ClassVar[Mapping[str, Direction]] = {"loss": "min", **dict.fromkeys(SUMMARIES, "max")}
    watch = "auc"

    def __init__(
        self,
        build: Callable[[], nn.Module],
        training: ObjectSamples,
        held_out: ObjectSamples,
        names: Mapping[int, str] | None = None,
    ):
        super().__init__(build, training, held_out)
        self._names = names or {}

    def sampler(
        self, ids: Sequence[str], categories: Sequence[int], *, seed: int, epochs: int, size: int | None
    ) -> Sampler:
        """Draws that visit every category equally often."""
        return WeightedSampler(ids, categories, weights=even_weights(categories), seed=seed, size=size)

    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The cross-entropy of each object, (B,), and whether its side of 0 is right.

        Where two objects are mixed, both labels count by their shares.
        """
        logits = model(batch["image"])[:, 0].float()
        return _losses(logits, batch), {"accuracy": _right(logits.detach(), batch)}

    def measures(self, model: nn.Module, batch: Batch, *, full: bool) -> list[dict[str, float]]:
        """The loss, the logit and the label of each object, and whether the logit's sign is right."""
        logits = model(batch["image"])[:, 0].float()
        columns = {
            "loss": _losses(logits, batch),
            "accuracy": _right(logits, batch),
            "logit": logits,
            "label": batch["label"],
        }
        return [{name: float(values[place]) for name, values in columns.items()} for place in range(len(logits))]

    def summary(self, rows: Sequence[Row]) -> dict[str, float]:
        """The mean loss, the accuracy and the rankings' measures of all objects and, under its name, of each part."""
        found = _summary(rows)
        for name in dict.fromkeys(self._names.values()):
            part = [row for row in rows if self._names.get(row["category"]) == name]
            found |= {f"{name}/{measure}": value for measure, value in _summary(part).items()} if part else {}
        return found


def _losses(logits: Tensor, batch: Batch) -> Tensor:
    share: Tensor = batch["share"]
    own = binary_cross_entropy_with_logits(logits, batch["label"], reduction="none")
    other = binary_cross_entropy_with_logits(logits, batch["other"], reduction="none")
    return share * own + (1.0 - share) * other


def _right(logits: Tensor, batch: Batch) -> Tensor:
    """Whether a logit is on the label's side of 0, (B,): a probability of one half."""
    share: Tensor = batch["share"]
    found = logits >= 0.0
    own, other = found == (batch["label"] > 0.5), found == (batch["other"] > 0.5)
    return torch.where(own, share, 0.0) + torch.where(other, 1.0 - share, 0.0)


def _summary(rows: Sequence[Row]) -> dict[str, float]:
    labels = np.array([int(row["label"]) for row in rows])
    # A network that broke off has no ranking; its loss says so.
    logits = np.nan_to_num(np.array([row["logit"] for row in rows]))
    found = {name: measure(labels, logits) for name, measure in SUMMARIES.items()}
    own = means(rows)
    return {"loss": own["loss"], "accuracy": own["accuracy"]} | {
        name: value for name, value in found.items() if value is not None
    }
