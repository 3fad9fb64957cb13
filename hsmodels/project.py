"""What the flagship says of itself to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsengine.project import Project
from hsmodels.params import Params

if TYPE_CHECKING:
    from hsengine.project import Work


def _prepare(params: Params) -> Work:
    # Asking a project for its name or its recipes does without torch.
    from hsmodels.train import prepare

    return prepare(params)


PROJECT = Project(
    name="hyperobject",
    place=f"{__name__}:PROJECT",
    program="hsmodels",
    schema=Params,
    measure="SSC",
    direction="max",
    prepare=_prepare,
    entries=("hsmodels.reconstruction", "hsengine.train.run"),
    packages=("torch", "accelerate", "numpy", "zarr", "safetensors", "dvc", "dvclive"),
)
