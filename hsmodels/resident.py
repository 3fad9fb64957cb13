"""Training samples whose cubes lie in the GPU's memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from hsdata import layout
from hsdata.batches import augment
from hsdata.batches.augment import Geometry
from hsdata.batches.dataset import CubeDataset, Key
from hsdata.batches.physics import Window
from hsdata.params import Augment
from hsengine.base.errors import UserError

# The rest of the free memory is left to the model.
_SHARE = 0.7


class ResidentSamples(torch.utils.data.Dataset[dict[str, Any]]):
    """The items of a `CubeDataset`, with targets that are cut out, turned and jittered on their device.

    Whole targets are read once, at the first item, and stay there; each process keeps them all.
    Inputs, a small part of the bytes, stay in main memory.

    Args:
        rows: rows of a catalog.
        device: where the targets lie.
        chosen: further arguments of `CubeDataset`.

    Attributes:
        resident: tells the engine to read in the training process itself.
    """

    resident = True

    def __init__(self, rows: pd.DataFrame, *, device: torch.device, **chosen: Any) -> None:
        self.device = device
        self._augment: Augment | None = chosen.pop("augment", None)
        # Checks crops and sizes; its items are never asked for.
        checked = CubeDataset(rows, augment=self._augment, **chosen)
        self.ids, self.categories = checked.ids, checked.categories
        self._scale, self._mosaic, self._seed = checked.scale, checked.mosaic, checked.seed
        self._physics = checked.physics
        chosen.pop("pools", None)
        self._whole = CubeDataset(rows, **chosen)
        self._greatest: dict[int, NDArray[np.float64]] = {}
        self._loaded: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        self._ready()
        epoch, index, number = key if isinstance(key, tuple) else (0, int(key), 0)
        image, cube = self._loaded[index]
        frame = (image.shape[-2], image.shape[-1])
        chosen = augment.whole(frame)
        if self._augment is not None:
            chosen = augment.draw(
                self._augment, self.ids[index], frame, seed=self._seed, epoch=epoch, draw=number, mosaic=self._mosaic
            )
        geometry = chosen.geometry
        if self._physics is None:
            window = self.cut(index, geometry.window(self._scale))
        else:
            window = self._physics.changed(chosen.key, index, geometry.window(self._scale), self)
        if self._physics is not None and self._physics.renders:
            seen = self.array(window[: self._physics.visible])
            turned = chosen.noisy(self._physics.seen(seen, geometry))
        else:
            turned = chosen.input(_window(image, geometry.window()).numpy())
        target = _turned(window, geometry)
        if chosen.jitter > 0.0:
            # What a jittered cube of ones has become are the factors of the bands.
            gains = chosen.target(np.ones((len(cube), 2, 2), dtype=np.float32))[:, :1, :1]
            target = target * torch.from_numpy(np.ascontiguousarray(gains)).to(target.device)
        return {
            "input": torch.from_numpy(np.array(turned, dtype=np.float32, order="C")),
            "target": target.contiguous(),
            "index": index,
            "columns": torch.from_numpy(geometry.columns(self._scale).copy()),
            "transposed": geometry.transpose,
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": []}

    def cut(self, index: int, window: Window) -> Tensor:
        """A window (bands, H, W) of a target, in its pixels, on the device."""
        self._ready()
        return _window(self._loaded[index][1], window)

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of a target in pixels."""
        return self._whole.size(index)

    def greatest(self, index: int) -> NDArray[np.float64]:
        """The greatest value of each band of a cube, (bands,)."""
        if index not in self._greatest:
            self._greatest[index] = self.cut(index, (0, 0, *self.size(index))).amax((1, 2)).cpu().double().numpy()
        return self._greatest[index]

    def like(self, values: NDArray[np.float32]) -> Tensor:
        """An array on the device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def array(self, values: Tensor) -> NDArray[np.float32]:
        """A tensor of the device as an array."""
        return np.asarray(values.cpu())

    def _ready(self) -> None:
        if not self._loaded:
            self._loaded = self._load()

    def _load(self) -> list[tuple[Tensor, Tensor]]:
        """All inputs, and all targets on the device.

        Raises:
            UserError: the device has not got the room.
        """
        loaded: list[tuple[Tensor, Tensor]] = []
        for index in tqdm(range(len(self)), desc="loading cubes", unit="cube", disable=None):
            item = self._whole[0, index, 0]
            if index == 0:
                self._check_room(item["target"].nbytes * len(self))
            loaded.append((item["input"], item["target"].to(self.device)))
        return loaded

    def _check_room(self, needed: int) -> None:
        if self.device.type != "cuda":
            return
        free, _ = torch.cuda.mem_get_info(self.device)
        if needed > _SHARE * free:
            raise UserError(
                f"machine.cache: the {len(self)} {layout.CUBES} need about {needed / 1e9:.1f} GB, and the GPU has "
                f"{free / 1e9:.1f} GB free, of which {_SHARE:.0%} may be taken: set it to 'memory' or 'none'."
            )


def _window(values: Tensor, window: Window) -> Tensor:
    top, left, height, width = window
    return values[..., top : top + height, left : left + width]


def _turned(window: Tensor, geometry: Geometry) -> Tensor:
    """`Geometry.turn` of a tensor."""
    for axis, flip, reflect in (
        (-2, geometry.flip_rows, geometry.reflect_rows),
        (-1, geometry.flip_columns, geometry.reflect_columns),
    ):
        if flip:
            window = augment.mosaic_flip(window, axis) if reflect else window.flip(axis)
    return window.transpose(-1, -2) if geometry.transpose else window
