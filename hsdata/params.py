"""The sections of `params.yaml` that the data stages read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from hsengine.base.params import Section, read_yaml, validated
from hsengine.base.settings import Machine

# Sections that only hsmodels reads. `hsmodels.params.Params` types them.
MODEL_SECTIONS = (
    "input",
    "model",
    "models",
    "residual",
    "residual_folds",
    "basis",
    "stripes",
    "loss",
    "train",
    "evaluate",
    "predict",
)


class Data(Section):
    """Where the raw files are."""

    root: str = "data"


class Catalog(Section):
    """What happens to samples that cannot be used."""

    unsound: Literal["refuse", "drop"] = "refuse"


class Convert(Section):
    """How cubes are stored for training."""

    chunk: int = Field(64, ge=8, le=4096)
    dtype: Literal["float32", "float16", "uint16"] = "float32"


class Index(Section):
    """Which samples are held out."""

    strategy: Literal["public", "stratified", "file", "folds"] = "public"
    per_category: int = Field(1, ge=1)
    path: str | None = "indexing/alt.txt"
    folds: int = Field(5, ge=2)
    fold: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _complete(self) -> Index:
        if self.strategy == "file" and not self.path:
            raise ValueError("index.path must name a file of ids when index.strategy is 'file'")
        if self.fold >= self.folds:
            raise ValueError(f"index.fold {self.fold} does not exist: folds are numbered 0 to {self.folds - 1}")
        return self


CropSize = Annotated[int, Field(ge=8)]


class Augment(Section):
    """How training samples are changed on the way."""

    crop: int | None = Field(None, ge=8)
    # First epoch of each step: its crop; before the first step `crop` holds.
    crop_steps: dict[NonNegativeInt, CropSize | None] = Field(default_factory=dict)
    flip: bool = True
    rot90: bool = True
    noise: float = Field(0.0, ge=0.0, le=1.0)
    jitter: float = Field(0.0, ge=0.0, le=1.0)
    # Of the cube, from which the input is then rendered anew; see hsdata.batches.physics.
    light: float = Field(0.0, ge=0.0, lt=1.0)
    mix: float = Field(0.0, ge=0.0, le=1.0)
    materials: float = Field(0.0, ge=0.0, lt=1.0)


class Smote(Section):
    """Which synthetic samples are made, and how."""

    # none, max (every class as large as the largest) or the part of that which is filled.
    balance: float | str = "none"
    seed: int = Field(42, ge=0)
    normalize: Literal["none", "minmax"] = "none"
    rgb: Literal["render", "lerp"] = "render"
    size: int | None = Field(None, ge=8, multiple_of=2)
    preview: int = Field(0, ge=0)

    @field_validator("balance", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        share = isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value <= 1.0
        if value not in ("none", "max") and not share:
            raise ValueError("it can be 'none', 'max' or a fraction above 0 and up to 1")
        return value


class DataParams(Section):
    """The sections that `hsdata` reads; those of `MODEL_SECTIONS` are left to `hsmodels`."""

    moved: ClassVar[Mapping[str, str]] = {"workers": "machine.workers", "data.cache": "machine.cache"}
    tables: ClassVar[tuple[str, ...]] = ("augment.crop_steps",)

    track: Literal[1, 2] = 2
    seed: int = Field(0, ge=0)
    machine: Machine = Machine()
    data: Data = Data()
    catalog: Catalog = Catalog()
    convert: Convert = Convert()
    index: Index = Index()
    smote: Smote = Smote()
    augment: Augment = Augment()


def load_data_params(path: str | os.PathLike[str] = "params.yaml") -> DataParams:
    """Read the data sections of `params.yaml`.

    Raises:
        UserError: see `validated`.
    """
    raw = {key: value for key, value in read_yaml(path).items() if key not in MODEL_SECTIONS}
    return validated(DataParams, raw, str(path))
