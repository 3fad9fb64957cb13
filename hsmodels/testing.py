"""Tiny made-up projects for tests: data, what is derived from them, and models with fresh weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hsdata import catalog, convert, paths
from hsdata.cube import BAND_GRID
from hsdata.layout import Input
from hsdata.params import DataParams
from hsdata.testing import data_folder, numbered
from hsengine import folder as folders
from hsengine.base.files import write_text
from hsmodels import zoo

HELD_OUT = ("Category-1_a_0010", "Category-2_a_0010", "Category-2_a_0011")
PRIVATE = ("Category-1_a_0020", "Category-3_a_0020")


def project(
    track: int, *, size: int = 16, private: Sequence[str] = PRIVATE, held_out: Sequence[str] = HELD_OUT
) -> None:
    """Make a project in the current folder: `data` and all that the stages before `train` derive from it.

    Args:
        track: the track.
        size: pixels a side of a cube.
        private: ids of test-private; there is no such split where it is empty.
        held_out: ids that the index holds out; those of test-public by default.
    """
    train = [*numbered(1, 2), *numbered(2, 1)]
    ids = {"train": train, "test-public": HELD_OUT, "test-private": private}
    data_folder("data", {split: names for split, names in ids.items() if names}, size=size)
    params = DataParams.model_validate({"track": track, "convert": {"chunk": 8}})
    for stage in (catalog, convert):
        stage.run(params, workers=1)
    for file, names in ((paths.HELD_OUT, held_out), (paths.TRAINING, train)):
        write_text(file, "".join(f"{name}\n" for name in names))


def model_folder(
    folder: Path = paths.MODEL,
    *,
    track: int,
    name: str = "example",
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    predict: Mapping[str, Any] | None = None,
    input: Input = "track",
) -> nn.Module:
    """Write a model's folder as training does, and give its `best` model; `last` has other weights.

    Args:
        folder: where.
        track: whose inputs the model takes.
        name: a model of the zoo.
        params: its parameters.
        seed: of the weights.
        predict: the section `predict` that it was trained with.
        input: what it takes instead of the track's input.
    """
    best, last = (_fresh(name, track, params or {}, number, input) for number in (seed, seed + 1000))
    config = {
        "model": {"name": name, "params": dict(params or {})},
        "track": track,
        "input": input,
        "wavelengths": [float(value) for value in BAND_GRID],
        "params": {"predict": dict(predict or {})},
        "checkpoints": {"best": {"epoch": 3}, "last": {"epoch": 5}},
    }
    states = {"best": zoo.inner(best).state_dict(), "last": zoo.inner(last).state_dict()}
    folders.save(folder, states, config)
    return best


def _fresh(name: str, track: int, params: Mapping[str, Any], seed: int, input: Input) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = zoo.for_track(name, track, params, input=input).eval()
    # About the mean of the made-up cubes, so that floor and ceiling seldom matter.
    with torch.no_grad():
        *others, last = model.parameters()
        for value in others:
            value.mul_(0.3)
        last.fill_(0.5)
    return model
