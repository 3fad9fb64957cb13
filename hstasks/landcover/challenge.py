"""What the land cover challenge says of itself."""

from __future__ import annotations

from hsengine.project import Project, at
from hstasks.challenge import Challenge
from hstasks.landcover.params import Params

PROJECT = Project(
    name="landcover",
    place="hstasks.landcover.challenge:PROJECT",
    program="hstasks",
    schema=Params,
    measure="mIoU_excluding_bg",
    direction="max",
    prepare=at("hstasks.landcover.train:prepare"),
    check=at("hstasks.landcover.train:check"),
    decides=at("hstasks.landcover.stages:decides"),
    entries=("hstasks.landcover.train", "hsengine.stage"),
    packages=("torch", "torchvision", "timm", "segmentation-models-pytorch", "rasterio", "accelerate", "numpy"),
)

CHALLENGE = Challenge(
    project=PROJECT,
    stages={
        "catalog": "hstasks.landcover.catalog",
        "split": "hstasks.landcover.split",
        "replicate": "hstasks.landcover.replicate",
        "relabel": "hstasks.landcover.relabel",
        "train": "hstasks.landcover.train",
        "evaluate": "hstasks.landcover.evaluate",
        "aggregate": "hstasks.landcover.aggregate",
        "test": "hstasks.landcover.test",
        "submit": "hstasks.landcover.submit",
        "report": "hstasks.landcover.report",
    },
    tools={
        "sample": "hstasks.landcover.sample",
        "predict": "hstasks.landcover.predict",
        "leak": "hstasks.landcover.leak",
    },
)
