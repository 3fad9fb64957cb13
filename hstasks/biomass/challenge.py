"""What the biomass challenge says of itself."""

from __future__ import annotations

from hsengine.project import Project, at
from hstasks.biomass.params import Params
from hstasks.challenge import Challenge

PROJECT = Project(
    name="biomass",
    place="hstasks.biomass.challenge:PROJECT",
    program="hstasks",
    schema=Params,
    measure="R2",
    direction="max",
    prepare=at("hstasks.biomass.train:prepare"),
    check=at("hstasks.biomass.train:check"),
    entries=("hstasks.biomass.train", "hsengine.stage"),
    packages=("torch", "torchvision", "timm", "scikit-learn", "accelerate", "numpy", "safetensors"),
)

CHALLENGE = Challenge(
    project=PROJECT,
    stages={
        "catalog": "hstasks.biomass.catalog",
        "split": "hstasks.biomass.split",
        "pseudo": "hstasks.biomass.pseudo",
        "train": "hstasks.biomass.train",
        "evaluate": "hstasks.biomass.evaluate",
        "submit": "hstasks.biomass.submit",
        "report": "hstasks.biomass.report",
    },
    tools={
        "sample": "hstasks.biomass.sample",
        "fetch": "hstasks.biomass.fetch",
        "leaderboard": "hstasks.biomass.leaderboard",
        "folds": "hstasks.biomass.folds",
        "stack": "hstasks.biomass.stack",
        "baselines": "hstasks.biomass.compare",
        "predict": "hstasks.biomass.predict",
    },
)
