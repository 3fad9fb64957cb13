"""What the challenge of strong lenses says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hsengine.project import Project
from hstasks.challenge import Challenge
from hstasks.lenses.params import Params

if TYPE_CHECKING:
    from hsengine.project import Work


def _prepare(params: Params) -> Work:
    from hstasks.lenses.train import prepare

    return prepare(params)


def _check(params: Params) -> None:
    from hstasks.lenses.train import check

    check(params)


def _fold(number: int, of: int) -> Mapping[str, Any]:
    """A further split of the same shares: parts are dealt by `split.seed`, and there are no folds."""
    return {"split.seed": number}


PROJECT = Project(
    name="lenses",
    place="hstasks.lenses.challenge:PROJECT",
    program="hstasks",
    schema=Params,
    measure="auroc",
    direction="max",
    prepare=_prepare,
    check=_check,
    fold=_fold,
    entries=("hstasks.lenses.train", "hsengine.stage"),
    packages=("torch", "timm", "astropy", "accelerate", "numpy", "safetensors"),
)

CHALLENGE = Challenge(
    project=PROJECT,
    stages={
        "catalog": "hstasks.lenses.catalog",
        "convert": "hstasks.lenses.convert",
        "split": "hstasks.lenses.split",
        "train": "hstasks.lenses.train",
        "evaluate": "hstasks.lenses.evaluate",
        "submit": "hstasks.lenses.submit",
    },
    tools={
        "sample": "hstasks.lenses.sample",
        "predict": "hstasks.lenses.predict",
        "import-checkpoint": "hstasks.lenses.import_checkpoint",
    },
)
