"""What the biomass challenge says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsengine.project import Project
from hstasks.biomass.params import Params
from hstasks.challenge import Challenge

if TYPE_CHECKING:
    from hsengine.project import Work


def _prepare(params: Params) -> Work:
    from hstasks.biomass.train import prepare

    return prepare(params)


def _check(params: Params) -> None:
    from hstasks.biomass.train import check

    check(params)


PROJECT = Project(
    name="biomass",
    place="hstasks.biomass.challenge:PROJECT",
    program="hstasks",
    schema=Params,
    measure="R2",
    direction="max",
    prepare=_prepare,
    check=_check,
    entries=("hstasks.biomass.train", "hsengine.stage"),
    packages=("torch", "torchvision", "timm", "scikit-learn", "accelerate", "numpy", "safetensors"),
)

CHALLENGE = Challenge(
    project=PROJECT,
    stages={
        "catalog": "hstasks.biomass.catalog",
        "split": "hstasks.biomass.split",
        "train": "hstasks.biomass.train",
        "evaluate": "hstasks.biomass.evaluate",
        "submit": "hstasks.biomass.submit",
    },
    tools={
        "sample": "hstasks.biomass.sample",
        "folds": "hstasks.biomass.folds",
        "baselines": "hstasks.biomass.compare",
        "predict": "hstasks.biomass.predict",
    },
)
