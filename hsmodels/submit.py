"""The stage `submit`: predict test-private and pack it for both places that take submissions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hsdata import catalog as catalogs
from hsdata import layout, paths
from hsengine.base.files import replacing, write_json, write_text
from hsmodels import packing
from hsmodels.heldout import Frames, fitted, held_out_rows
from hsmodels.inference import predictor as predictors
from hsmodels.inference.predictor import Predictor
from hsmodels.params import Params

SPLIT = "test-private"
PROVENANCE = "provenance.json"
NOTHING = "NOTHING_TO_SUBMIT.txt"


@dataclass(frozen=True)
class Summary:
    """What a submission holds.

    Attributes:
        folder: where the archives are.
        ids: the samples in them.
        size: bytes of both.
        nothing: why there are none, where that is so.
    """

    folder: Path
    ids: list[str]
    size: int
    nothing: str = ""

    def __str__(self) -> str:
        return self.nothing or (
            f"{len(self.ids)} samples of {SPLIT}, checked\n"
            f"wrote {self.folder / packing.KAGGLE} (Kaggle) and {self.folder / packing.SITE} (the challenge's site), "
            f"{self.size / 1e6:.1f} MB"
        )


def run(params: Params, *, model: Path = paths.MODEL, folder: Path = paths.SUBMISSION) -> Summary:
    """Predict every sample of test-private and write both archives, checked, and their provenance.

    Where there is no such sample, or the model is a first stage, which makes no cubes, or takes an input that there is
    none of, the folder holds a note that says so instead, and the experiment ends well.

    Args:
        params: the track, and how to predict.
        model: what training wrote; `predict.models` are added to it.
        folder: the archives' folder, replaced as a whole.

    Raises:
        UserError: there is no model, a model of another track, or an archive is not as it must be; nothing is
            left behind then.
    """
    catalog = catalogs.load(paths.CATALOG)
    predictor = predictors.of_params(params, model)
    if predictor.input != "track":
        return _nothing(
            folder,
            f"The model '{predictor.records[0]['name']}' takes {predictor.input}, which {SPLIT} has not: it is for "
            "pre-training or a check, with nothing to submit. Train one on the track's own input.",
        )
    rows = catalog[catalog["split"] == SPLIT]
    if predictor.target != layout.CUBES:
        return _nothing(
            folder,
            f"The model '{predictor.records[0]['name']}' predicts {predictor.target}, not cubes: it is a first stage, "
            "with nothing to submit. Train the model that builds on it (docs/recipes.md).",
        )
    if rows.empty:
        return _nothing(
            folder,
            f"The data hold no sample of {SPLIT}, so there is nothing to submit. To submit, place its inputs under "
            f"track{params.track}/{SPLIT}/ of the data folder and run 'dvc repro'.",
        )
    frames = Frames(rows, params.track)
    if params.predict.weights == "fitted":
        predictor, _ = fitted(predictor, Frames(held_out_rows(catalog), params.track))
    bands = len(predictor.wavelengths)
    expected = {name: (*frames.size(index), bands) for index, name in enumerate(frames.ids)}
    with replacing(folder) as scratch:
        scratch.mkdir()
        packing.write(scratch, _cubes(predictor, frames))
        packing.check(scratch, expected)
        write_json(scratch / PROVENANCE, predictor.provenance() | {"split": SPLIT, "ids": frames.ids})
        size = sum((scratch / name).stat().st_size for name in (packing.KAGGLE, packing.SITE))
    return Summary(folder, frames.ids, size)


def _nothing(folder: Path, why: str) -> Summary:
    """Leave a note instead of archives."""
    with replacing(folder) as scratch:
        scratch.mkdir()
        write_text(scratch / NOTHING, f"{why}\n")
    return Summary(folder, [], 0, why)


def _cubes(predictor: Predictor, frames: Frames) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for index, name in enumerate(tqdm(frames.ids, desc="predicting", disable=None, dynamic_ncols=True)):
        yield name, predictor(frames.input(index)).cpu().numpy()
