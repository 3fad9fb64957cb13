"""From files to training samples: a torch dataset that reads only the crop it needs."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hsdata.batches import physics
from hsdata.batches.augment import Draw, draw, whole
from hsdata.batches.cache import shared
from hsdata.batches.physics import Physics, Window
from hsdata.cube import Cube
from hsdata.formats import image, mosaic
from hsdata.formats.mosaic import MosaicFile
from hsdata.formats.zarr import ZarrCube
from hsdata.layout import CUBES, INPUT_MODALITY, MODALITIES, RGB_FULL, Input, Target, Track, modality_of
from hsdata.params import Augment
from hsdata.paths import RENDERED, ZARR
from hsengine.base.errors import UserError
from hsengine.base.memory import Cache

Key = int | tuple[int, int, int]
"""An index, or (epoch, index, how many times this epoch has had it before)."""


class SampleError(UserError):
    """A sample that cannot be read; the message survives the way out of a loader's worker."""

    def __init__(self, message: str) -> None:
        # A loader's worker hands on the whole traceback as the message.
        super().__init__(message.rsplit(f"{type(self).__name__}: ", 1)[-1].strip())


@dataclass(frozen=True)
class _Pair:
    id: str
    frame: tuple[int, int]  # (height, width) of the input
    input: str
    target: str  # "" where there is none


class CubeDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """Samples of a catalog as pairs of input and target.

    An item is a dict: `input` float32 (C, h, w) in [0, 1], C = 3 or, for a mosaic, 1; `target`
    float32 (bands, H, W), reflectance, or (3, H, W) in [0, 1] for `rgb_full`, absent where the sample
    has none; `index` int; `columns` int64 (W,), the original column of the target that each output
    column shows; `transposed` bool, where true `columns` belongs to the output's rows instead.

    The dataset can be pickled and used in forked and spawned workers: files are opened in each
    process on first use. Decoded samples may be kept in memory: forked workers share one copy with each
    other and with this process, spawned workers keep one each.

    Attributes:
        ids: id of each sample.
        categories: category of each sample.
        modality: what the input is: `mosaic`, `rgb_2` or `rgb_full`.
        mosaic: whether the input is a mosaic.
        frames: (height, width) of each input in pixels.
        scale: target pixels for each input pixel along an axis.
        augment: what augmentation may do; None leaves samples as they are.
        physics: how it changes cubes; None where it does not.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        *,
        track: Track,
        zarr_root: str | os.PathLike[str] = ZARR,
        rgb_root: str | os.PathLike[str] = RENDERED,
        augment: Augment | None = None,
        seed: int = 0,
        cache: Cache = "none",
        input: Input = "track",
        target: Target = CUBES,
        pools: Sequence[Sequence[int]] = (),
    ) -> None:
        """Choose samples and modalities.

        Args:
            rows: rows of a catalog.
            track: the track, which says what the input is.
            zarr_root: folder or URL of the converted cubes, `<split>/<id>.zarr`.
            rgb_root: folder of the rendered full-size RGB, `<split>/<id>.png`.
            augment: what augmentation may do; None for none.
            seed: the run's seed.
            cache: whether decoded samples stay in memory; memory is what is meant by `device` too.
            input: the track's own input, or the full-size RGB.
            target: the cube, or the full-size RGB.
            pools: places in `rows` of samples that may be mixed with each other; by default all of them.

        Raises:
            UserError: a sample is smaller than the crop, a mosaic or its crop has an odd size, an input
                is missing, a cache in memory would not fit, or cubes are to be changed whose inputs are
                of another camera.
        """
        self.modality = modality_of(track, input)
        self.mosaic = self.modality == INPUT_MODALITY[1]
        self.scale = MODALITIES[self.modality].scale
        self.target = target
        self.seed = seed
        self.ids: list[str] = [str(value) for value in rows["id"]]
        self.categories: list[int] = [int(value) for value in rows["category"]]
        roots = str(zarr_root).rstrip("/"), str(rgb_root).rstrip("/")
        self._samples = [
            _Pair(
                str(row["id"]),
                (int(row["height"]) // self.scale, int(row["width"]) // self.scale),
                _path_of(row, self.modality, *roots),
                _path_of(row, target, *roots),
            )
            for row in rows.to_dict("records")
        ]
        self.frames = [sample.frame for sample in self._samples]
        self.augment = augment
        self._check()
        self._bands = [int(value) for value in rows["bands"]]
        self._opened: dict[int, ZarrCube] = {}
        self._mosaics: dict[int, MosaicFile] = {}
        self._cache = shared(self._cached_arrays(), cache)
        self._greatest: dict[int, NDArray[np.float64]] = {}
        self.physics = self._camera(augment, pools) if augment is not None and physics.wanted(augment) else None

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index, number = key if isinstance(key, tuple) else (0, int(key), 0)
        sample = self._samples[index]
        chosen = whole(sample.frame)
        if self.augment is not None:
            chosen = draw(
                self.augment, sample.id, sample.frame, seed=self.seed, epoch=epoch, draw=number, mosaic=self.mosaic
            )
        item: dict[str, Any] = {}
        window = chosen.geometry.window(self.scale)
        if self.physics is None or not self.physics.renders:
            item["input"] = _tensor(chosen.input(self._read_input(index, chosen)))
        if self.physics is not None:
            cube = self.physics.changed(chosen.key, index, window, self)
            item["target"] = _tensor(chosen.target(cube))
            if self.physics.renders:
                item["input"] = _tensor(chosen.noisy(self.physics.seen(cube, chosen.geometry)))
        elif sample.target:
            item["target"] = _tensor(chosen.target(self.cut(index, window)))
        item["index"] = index
        item["columns"] = torch.from_numpy(chosen.geometry.columns(self.scale).copy())
        item["transposed"] = chosen.geometry.transpose
        return item

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": {}}

    def _check(self) -> None:
        for sample in self._samples:
            if not sample.input or (self.modality == RGB_FULL and not Path(sample.input).exists()):
                told = f" ({sample.input})" if sample.input else ""
                raise UserError(
                    f"{sample.id} has no input {self.modality}{told}, which needs: {MODALITIES[self.modality].needs}."
                )
        if self.mosaic:
            for sample in self._samples:
                if sample.frame[0] % 2 or sample.frame[1] % 2:
                    raise UserError(
                        f"{sample.id} ({sample.input}): a mosaic of {sample.frame[0]} x {sample.frame[1]} pixels "
                        "is no whole number of RGGB cells; cut it to an even size."
                    )
        crops = [] if self.augment is None else [self.augment.crop, *self.augment.crop_steps.values()]
        for crop in (crop for crop in crops if crop is not None):
            if self.mosaic and crop % 2:
                raise UserError(f"augment.crop is {crop}: a mosaic is cut into whole RGGB cells; use an even number.")
            smallest = min(self._samples, key=lambda sample: min(sample.frame), default=None)
            if smallest is not None and crop > min(smallest.frame):
                height, width = smallest.frame
                raise UserError(
                    f"augment.crop is {crop} input pixels, but {smallest.id} has only {height} x {width}: "
                    f"set it to {min(height, width)} or less."
                )

    def _read_input(self, index: int, chosen: Draw) -> NDArray[np.float32]:
        """The window (C, h, w) of the input that the draw asks for."""
        sample = self._samples[index]
        window = chosen.geometry.window()
        try:
            if not self.mosaic:
                return self._read_rgb((index, "input"), sample.input, sample.frame, _selection(window))
            if self._cache is not None:
                return _float32(
                    self._cache.get((index, "input"), lambda: mosaic.read(sample.input))[_selection(window)]
                )
            return self._mosaic(index, sample.frame).read(*window)
        except (UserError, OSError, ValueError) as error:
            raise SampleError(f"The input of {sample.id} ({sample.input}) cannot be used: {error}") from error

    def cut(self, index: int, window: Window) -> NDArray[np.float32]:
        """A window of a sample's target, (bands, H, W), in pixels of the target."""
        sample, frame = self._samples[index], self.size(index)
        try:
            if self.target == RGB_FULL:
                return self._read_rgb((index, "target"), sample.target, frame, _selection(window))
            if self._cache is not None:
                whole_cube = self._cache.get((index, "target"), self._cube(index, frame).read)
                return _float32(whole_cube[_selection(window)])
            return self._cube(index, frame).read(*window)
        except (UserError, OSError, ValueError) as error:
            raise SampleError(f"The target of {sample.id} ({sample.target}) cannot be used: {error}") from error

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of a sample's target in pixels."""
        height, width = self._samples[index].frame
        return height * self.scale, width * self.scale

    def greatest(self, index: int) -> NDArray[np.float64]:
        """The greatest value of each band of a sample's cube, (bands,); found once in a process."""
        if index not in self._greatest:
            self._greatest[index] = self.cut(index, (0, 0, *self.size(index))).max(axis=(1, 2)).astype(np.float64)
        return self._greatest[index]

    def like(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Arrays are what this data set has."""
        return values

    array = like

    def _camera(self, augment: Augment, pools: Sequence[Sequence[int]]) -> Physics | None:
        """How cubes are changed, by a look at the first sample; None where there is no sample."""
        if self.target != CUBES or not all(sample.target for sample in self._samples):
            raise UserError("augment.light, mix and materials change cubes: set them to 0 where RGB is predicted.")
        if not self._samples:
            return None
        frame = whole(self._samples[0].frame)
        cube = Cube(self.cut(0, (0, 0, *self.size(0))), self._cube(0, self.size(0)).wavelengths, self.ids[0])
        pair = (self._read_input(0, frame), cube)
        return physics.physics_of(augment, self.modality, self.ids[0], pair, pools or [range(len(self))])

    def _read_rgb(self, name: tuple[int, str], path: str, frame: tuple[int, int], here: Any) -> NDArray[np.float32]:
        """A window of an image, which a decoder can only give whole."""
        if self._cache is None:
            rgb = image.read(path)
            _check_frame(rgb.shape[1:], frame)
            return _float32(rgb[here])
        # Eight bits each way: kept as they stand in the file, a quarter of the decoded size.
        levels = self._cache.get(name, lambda: image.quantised(image.read(path)))
        return _float32(levels[here]) / np.float32(255.0)

    def _mosaic(self, index: int, frame: tuple[int, int]) -> MosaicFile:
        if index not in self._mosaics:
            path = self._samples[index].input
            _check_frame(mosaic.size(path), frame)
            self._mosaics[index] = MosaicFile(path)
        return self._mosaics[index]

    def _cube(self, index: int, frame: tuple[int, int]) -> ZarrCube:
        if index not in self._opened:
            cube = ZarrCube(self._samples[index].target)
            _check_frame(cube.shape[1:], frame)
            self._opened[index] = cube
        return self._opened[index]

    def _cached_arrays(self) -> dict[Any, tuple[tuple[int, ...], Any]]:
        """Shape and type of all that the cache will hold."""
        arrays: dict[Any, tuple[tuple[int, ...], Any]] = {}
        for index, (sample, bands) in enumerate(zip(self._samples, self._bands, strict=True)):
            height, width = sample.frame
            arrays[index, "input"] = ((1, height, width), np.float32) if self.mosaic else ((3, height, width), np.uint8)
            height, width = height * self.scale, width * self.scale
            if sample.target and self.target == RGB_FULL:
                arrays[index, "target"] = ((3, height, width), np.uint8)
            elif sample.target:
                arrays[index, "target"] = ((bands, height, width), np.float32)
        return arrays


def _path_of(row: dict[Hashable, Any], modality: str, zarr_root: str, rgb_root: str) -> str:
    """Where a catalog's row has a modality; "" where the sample has none."""
    name = f"{row['split']}/{row['id']}"
    cube = str(row["cube"] or "")
    if modality == CUBES:
        # Synthetic cubes are made in the form that training reads.
        return cube if not cube or row["synthetic"] else f"{zarr_root}/{name}.zarr"
    if modality == RGB_FULL:
        return str(row["rgb_full"] or "") or (f"{rgb_root}/{name}.png" if cube else "")
    return str(row["input"] or "")


def _selection(window: tuple[int, int, int, int]) -> Any:
    top, left, height, width = window
    return np.s_[..., top : top + height, left : left + width]


def _check_frame(found: tuple[int, ...], expected: tuple[int, int]) -> None:
    if tuple(found) != expected:
        raise ValueError(
            f"it has {found[0]} x {found[1]} pixels where the catalog says {expected[0]} x {expected[1]}; "
            "make the catalog again ('hsdata catalog')"
        )


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def _tensor(values: NDArray[np.float32]) -> torch.Tensor:
    # Turned windows are views with steps that torch refuses, cached ones must not be written to.
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
