"""What the salt challenge says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsengine.project import Project
from hstasks.challenge import Challenge
from hstasks.salt.params import Params

if TYPE_CHECKING:
    from hsengine.project import Work


def _prepare(params: Params) -> Work:
    from hstasks.salt.train import prepare

    return prepare(params)


def _check(params: Params) -> None:
    from hstasks.salt.train import check

    check(params)


PROJECT = Project(
    name="salt",
    place="hstasks.salt.challenge:PROJECT",
    program="hstasks",
    schema=Params,
    measure="metric",
    direction="max",
    prepare=_prepare,
    check=_check,
    entries=("hstasks.salt.train", "hsengine.stage"),
    packages=("torch", "torchvision", "timm", "segmentation-models-pytorch", "accelerate", "numpy", "safetensors"),
)

CHALLENGE = Challenge(
    project=PROJECT,
    stages={
        "catalog": "hstasks.salt.catalog",
        "mosaic": "hstasks.salt.mosaic",
        "split": "hstasks.salt.split",
        "pseudo": "hstasks.salt.pseudo",
        "train": "hstasks.salt.train",
        "evaluate": "hstasks.salt.evaluate",
        "submit": "hstasks.salt.submit",
    },
    tools={"sample": "hstasks.salt.sample", "fetch": "hstasks.salt.fetch", "predict": "hstasks.salt.predict"},
)
