"""Images with their masks as the engine takes them: fitted to the network, changed by key, the same on every worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsengine.base.memory import Cache
from hsengine.kept import Kept
from hsengine.train.task import Key
from hstasks.images.fitting import fit, inside
from hstasks.images.settings import Augment, Input
from hstasks.images.transforms import Key as ChangeKey
from hstasks.images.transforms import augmented


@dataclass(frozen=True)
class Picture:
    """A sample as its files hold it.

    Attributes:
        image: (channels, H, W) float32, white is 1.
        mask: (H, W) integer; None where there is no truth.
        valid: (H, W) bool, where the truth counts; None for everywhere.
    """

    image: NDArray[np.float32]
    mask: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None


def _size(picture: Picture) -> int:
    """Bytes of a picture with what belongs to it."""
    return sum(part.nbytes for part in (picture.image, picture.mask, picture.valid) if part is not None)


class ImageSamples:
    """Images and masks by index, for training and measuring.

    Args:
        ids: name of each sample.
        read: the sample of an index; called once for each that is kept.
        settings: what the network sees.
        augment: how samples are changed; None leaves them as they are.
        seed: of the changes.
        categories: a number for each sample, for balanced sampling.
        cache: whether what was read stays in memory; `none` for what is read once.
        cut: the part of a sample that training sees, from the key of its changes; None leaves that to `augment`.
    """

    def __init__(
        self,
        ids: Sequence[str],
        read: Callable[[int], Picture],
        settings: Input,
        *,
        augment: Augment | None = None,
        seed: int = 0,
        categories: Sequence[int] | None = None,
        cache: Cache = "none",
        cut: Callable[[Picture, ChangeKey], Picture] | None = None,
    ):
        self.ids = list(ids)
        self.categories = list(categories) if categories is not None else [0] * len(self.ids)
        self._read, self._settings, self._augment, self._seed = read, settings, augment, seed
        self._kept = Kept[Picture](cache, len(self.ids), _size)
        self._cut = cut

    def __len__(self) -> int:
        return len(self.ids)

    def picture(self, index: int) -> Picture:
        """The sample as its files hold it."""
        return self._kept.get(index, lambda: self._read(index))

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """The sample of a key, (epoch, index, draw).

        Returns:
            `image` (channels, h, w) float32 as the network takes it; `mask` (h, w) int64 and `valid` (h, w) bool,
            fitted alike; `index`. Without augmentation also `size` (2,), the image's own.
        """
        epoch, index, draw = key
        picture = self.picture(index)
        change: ChangeKey = (self._seed, epoch, self.ids[index], draw)
        if self._cut is not None and self._augment is not None:
            picture = self._cut(picture, change)
        image = torch.from_numpy(np.array(picture.image, dtype=np.float32))
        size = (int(image.shape[-2]), int(image.shape[-1]))
        mask = torch.zeros(size, dtype=torch.int64)
        if picture.mask is not None:
            mask = torch.from_numpy(np.array(picture.mask).astype(np.int64))
        valid = None if picture.valid is None else torch.from_numpy(np.array(picture.valid, dtype=bool))
        if self._augment is not None:
            changed = augmented(image, mask, valid, self._augment, change)
            image, mask, valid = changed[0], changed[1] if changed[1] is not None else mask, changed[2]
        how = self._settings.fit
        shown = torch.ones(image.shape[-2:], dtype=torch.bool) if valid is None else valid
        item = {
            "image": shaped(image, self._settings),
            "mask": fit(mask, how),
            "valid": fit(shown, how) & inside((int(image.shape[-2]), int(image.shape[-1])), how),
            "index": index,
        }
        return item if self._augment is not None else item | {"size": torch.tensor(size)}


def shaped(image: Tensor, settings: Input) -> Tensor:
    """An image (channels, H, W), white as 1, as the network takes it: (channels, h, w)."""
    if settings.channels == "grey":
        image = image.mean(dim=0, keepdim=True)
    mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (settings.mean, settings.std))
    return (fit(image, settings.fit) - mean) / std
