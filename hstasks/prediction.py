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
from hstasks.images.fitting import fitted_size, undo
from hstasks.images.samples import ImageSamples, Picture, shaped
from hstasks.images.settings import Input
from hstasks.loading import load


@dataclass(frozen=True)
class Prediction:
    """What an ensemble says of an image.

    Attributes:
        id: the sample's name.
        picture: the sample itself.
        probabilities: (classes, H, W) float32 at the image's own size; (1, H, W) for one class against the rest.
        presence: the probability that there is anything; the largest pixel's where no network has such a head.
    """

    id: str
    picture: Picture
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
        """What the ensemble says of every sample, in their order; images of one size go together.

        Raises:
            UserError: a sample cannot be read, or does not fit a network; names it.
        """
        waiting: dict[str, Picture] = {}
        with tqdm(total=len(samples), desc=label, unit="image", disable=None) as bar:
            for index, name in enumerate(samples.ids):
                picture = samples.picture(index)
                self._check(name, picture)
                if waiting and next(iter(waiting.values())).image.shape != picture.image.shape:
                    yield from self._flush(waiting, bar)
                waiting[name] = picture
                if len(waiting) == batch:
                    yield from self._flush(waiting, bar)
            yield from self._flush(waiting, bar)

    def _check(self, name: str, picture: Picture) -> None:
        for _, settings in self._members:
            try:
                fitted_size((int(picture.image.shape[-2]), int(picture.image.shape[-1])), settings.fit)
            except UserError as error:
                raise UserError(f"{name}: {error}") from None

    def _flush(self, waiting: dict[str, Picture], bar: tqdm[Any]) -> Iterator[Prediction]:
        if waiting:
            found = self([picture.image for picture in waiting.values()])
            for (name, picture), (shares, present) in zip(waiting.items(), found, strict=True):
                yield Prediction(name, picture, shares, present)
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
        if _kind(record) != _kind(records[0]):
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


def _kind(record: dict[str, Any]) -> tuple[str, int]:
    return record["challenge"], record["model"]["out_channels"]


def _same(batch: Tensor) -> Tensor:
    return batch
