"""What the salt challenge says of itself."""

from __future__ import annotations

from hsengine.project import Project, at
from hstasks.challenge import Challenge
from hstasks.salt.params import Params

PROJECT = Project(
    name="salt",
    place="hstasks.salt.challenge:PROJECT",
    program="hstasks",
    schema=Params,
    measure="metric",
    direction="max",
    prepare=at("hstasks.salt.train:prepare"),
    check=at("hstasks.salt.train:check"),
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
        "report": "hstasks.salt.report",
    },
    tools={"sample": "hstasks.salt.sample", "fetch": "hstasks.salt.fetch", "predict": "hstasks.salt.predict"},
)
