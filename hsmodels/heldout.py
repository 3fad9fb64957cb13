"""Who is trained on and who is held out, and their whole frames, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from hsdata import catalog as catalogs
from hsdata import layout, paths, smote
from hsdata.batches.dataset import CubeDataset
from hsdata.index import read
from hsengine.base.errors import UserError
from hsengine.base.wording import some
from hsengine.predict import Moments
from hsengine.train.identity import content
from hsmodels.inference.predictor import Predictor

_CONTENT = ["id", "split", "category", "synthetic", "cube_hash", "input_hash"]


class Frames:
    """Whole samples, one at a time, without augmentation.

    Args:
        rows: rows of a catalog.
        track: the track, which says what the input is.
        target: what is predicted: the cube, or the full-size RGB.
        input: what it is predicted from: what the track gives, or the full-size RGB.

    Attributes:
        ids: id of each sample.
        categories: category of each sample.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        track: layout.Track,
        target: layout.Target = layout.CUBES,
        input: layout.Input = "track",
    ):
        self._dataset = CubeDataset(rows, track=track, zarr_root=paths.ZARR, target=target, input=input)
        self.ids, self.categories = self._dataset.ids, self._dataset.categories

    def __len__(self) -> int:
        return len(self.ids)

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of the cube, in pixels."""
        height, width = self._dataset.frames[index]
        return height * self._dataset.scale, width * self._dataset.scale

    def input(self, index: int) -> Tensor:
        """(C, h, w) in [0, 1]."""
        value: Tensor = self._dataset[index]["input"]
        return value

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """The input (C, h, w) in [0, 1] and the target (bands, H, W)."""
        item = self._dataset[index]
        return item["input"], item["target"]

    def pairs(self, label: str) -> Iterator[tuple[Tensor, Tensor]]:
        """All pairs, one after the other, with a progress bar."""
        for index in tqdm(range(len(self)), desc=label, disable=None, dynamic_ncols=True):
            yield self.pair(index)


def division(catalog: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The catalog's rows of the samples to learn from, synthetic ones after them, and of those that are held out.

    Raises:
        UserError: the index names nobody, or the catalog does not know an id or has no cube for it.
    """
    held_out, training = held_out_rows(catalog), rows_of(catalog, read(paths.TRAINING), paths.TRAINING)
    if (paths.SMOTE / smote.CATALOG_FILE).exists():
        training = catalogs.concatenated([training, smote.load(paths.SMOTE)])
    return training, held_out


def held_out_rows(catalog: pd.DataFrame) -> pd.DataFrame:
    """The catalog's rows of the samples that `hsdata index` holds out, in the index's order; see `division`."""
    return rows_of(catalog, read(paths.HELD_OUT), paths.HELD_OUT)


def data_hash(training: pd.DataFrame, held_out: pd.DataFrame) -> str:
    """Hash of the samples' content, and of which are held out."""
    return content(training, held_out, _CONTENT)


def rows_of(catalog: pd.DataFrame, ids: Sequence[str], file: Path) -> pd.DataFrame:
    """The catalog's rows of samples with cubes, in the order of `ids`.

    Raises:
        UserError: `ids` is empty, or the catalog does not know one of them or has no cube for it.
    """
    if not ids:
        raise UserError(f"{file} names no sample: make it again with 'hsdata index'.")
    known = catalog[catalog["cube"] != ""].set_index("id", drop=False)
    if missing := [name for name in ids if name not in known.index]:
        raise UserError(
            f"{file} names samples that the catalog has no cube for: {some(missing)}. "
            "Make both again ('hsdata catalog', 'hsdata index')."
        )
    return known.loc[list(ids)].reset_index(drop=True)


def fitted(predictor: Predictor, frames: Frames) -> tuple[Predictor, list[Moments]]:
    """An ensemble with weights fitted on held-out samples, and each sample's share in the fit."""
    parts = [predictor.moments(*pair) for pair in frames.pairs("fitting the weights")]
    return replace(predictor, weights=reduce(Moments.__add__, parts).weights()), parts
