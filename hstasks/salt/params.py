"""The sections of `params.yaml` that the data stages of the salt challenge read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hsengine.base.params import Section
from hsengine.base.settings import TrainingParams
from hstasks.images.split import Split as ImageSplit


class Data(Section):
    """Where the competition's files are."""

    root: str = "data"


class Catalog(Section):
    """What happens to tiles that cannot be used, and what is called odd."""

    unsound: Literal["refuse", "drop"] = "refuse"
    # A mask of salt with at most this many pixels is listed as tiny.
    tiny: int = Field(20, ge=0)


class Mosaic(Section):
    """When two tiles count as neighbours."""

    # Largest distance of two borders of 101 pixels, each of mean 0 and standard deviation 1.
    distance: float = Field(10.0, gt=0.0)
    # Least 1 - d1 / d2, by how much the nearest border is nearer than the second nearest.
    contrast: float = Field(0.25, ge=0.0, lt=1.0)


class Split(ImageSplit):
    """Which tiles are held out; groups are mosaics."""

    # What is spread evenly: the eleven classes of coverage, tenths of depth, or nothing.
    stratify: Literal["coverage", "depth", "none"] = "coverage"


class DataParams(TrainingParams):
    """What the data stages read; the models' sections are added to it."""

    data: Data = Data()
    catalog: Catalog = Catalog()
    mosaic: Mosaic = Mosaic()
    split: Split = Split()
