"""Masks of images by trained networks: members of an ensemble, views and batches averaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hsengine.predict.run import device_named
from hsengine.predict.views import View
from hstasks.images.fitting import undo
from hstasks.images.samples import ImageSamples, shaped
from hstasks.images.settings import Input
from hstasks.loading import load


@dataclass(frozen=True)
class Prediction:
    """What an ensemble says of an image.

    Attributes:
        index: the sample's place.
        probabilities: (classes, H, W) float32 at the image's own size; (1, H, W) for one class against the rest.
        presence: the probability that there is anything; the largest pixel's where no network has such a head.
    """

    index: int
    probabilities: NDArray[np.float32]
    presence: float


class Masks:
    """An ensemble of networks of masks.

    Args:
        members: networks, and what each sees of an image.
        views: averaged over; none is the image as it is.
        device: where to compute.
    """

    def __init__(self, members: Sequence[tuple[nn.Module, Input]], views: Sequence[View], device: torch.device):
        self._members = [(model.to(device).eval(), settings) for model, settings in members]
        self._views, self._device = list(views) or [(_same, _same)], device

    @torch.no_grad()
    def __call__(self, images: Sequence[NDArray[np.float32]]) -> list[tuple[NDArray[np.float32], float]]:
        """Probabilities and presence of images (channels, H, W) of one size."""
        size = (int(images[0].shape[-2]), int(images[0].shape[-1]))
        total: Tensor | None = None
        present: Tensor | None = None
        for model, settings in self._members:
            batch = torch.stack([shaped(torch.from_numpy(image), settings) for image in images]).to(self._device)
            for do, back in self._views:
                output = model(do(batch).contiguous())
                logits = undo(back(output.logits).float(), size, settings.fit)
                shares = torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)
                total = shares.clone() if total is None else total.add_(shares)
                told = torch.sigmoid(output.presence.float()) if output.presence is not None else shares.amax((1, 2, 3))
                present = told.clone() if present is None else present.add_(told)
        assert total is not None and present is not None
        count = len(self._members) * len(self._views)
        return list(zip((total / count).cpu().numpy(), (present / count).tolist(), strict=True))

    def over(self, samples: ImageSamples, *, batch: int = 32, label: str = "predicting") -> Iterator[Prediction]:
        """What the ensemble says of every sample, in their order; images of one size go together."""
        waiting: list[int] = []
        bar = tqdm(total=len(samples), desc=label, unit="image", disable=None)
        with bar:
            for index in range(len(samples)):
                image = samples.picture(index).image
                if waiting and samples.picture(waiting[0]).image.shape != image.shape:
                    yield from self._flush(samples, waiting, bar)
                waiting.append(index)
                if len(waiting) == batch:
                    yield from self._flush(samples, waiting, bar)
            yield from self._flush(samples, waiting, bar)

    def _flush(self, samples: ImageSamples, waiting: list[int], bar: tqdm[Any]) -> Iterator[Prediction]:
        if waiting:
            found = self([samples.picture(index).image for index in waiting])
            for index, (shares, present) in zip(waiting, found, strict=True):
                yield Prediction(index, shares, present)
            bar.update(len(waiting))
            waiting.clear()


def opened(
    folders: Sequence[str | Path], views: Sequence[View], *, which: str = "best", device: str | None = None
) -> tuple[Masks, list[dict[str, Any]]]:
    """An ensemble of trained folders, each with all of its snapshots if it has some, and their records.

    Raises:
        UserError: a folder is not a trained model's, or the folders are of different challenges or classes.
    """
    members: list[tuple[nn.Module, Input]] = []
    records: list[dict[str, Any]] = []
    for folder in folders:
        model, record = load(folder, which)
        records.append(record)
        if (
            record["challenge"] != records[0]["challenge"]
            or record["model"]["out_channels"] != (records[0]["model"]["out_channels"])
        ):
            raise UserError(
                f"The models in {folders[0]} and {folder} are of different challenges or classes: an ensemble needs "
                "models of one kind."
            )
        settings = validated(Input, dict(record["params"]["input"]), f"{folder}: the record's 'input'")
        snapshots = [name for name, said in record["checkpoints"].items() if said.get("snapshot")]
        if which == "best" and snapshots:
            members += [(load(folder, name)[0], settings) for name in snapshots]
        else:
            members.append((model, settings))
    return Masks(members, views, device_named(device)), records


def _same(batch: Tensor) -> Tensor:
    return batch
