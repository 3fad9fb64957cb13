"""What the challenge of strong lenses says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hsengine.project import Project, at
from hstasks.challenge import Challenge
from hstasks.lenses.params import Params


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
    prepare=at("hstasks.lenses.train:prepare"),
    check=at("hstasks.lenses.train:check"),
    fold=_fold,
    folds="split.seed",
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
        "report": "hstasks.lenses.report",
    },
    tools={
        "sample": "hstasks.lenses.sample",
        "predict": "hstasks.lenses.predict",
        "leak": "hstasks.lenses.leak",
        "import-checkpoint": "hstasks.lenses.import_checkpoint",
    },
)
