"""`params.yaml`, read once into typed, validated, frozen objects."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hsdata.errors import UserError

# Sections that only hsmodels reads. `hsmodels.params.Params` types them.
MODEL_SECTIONS = ("model", "models", "residual", "stripes", "loss", "train", "evaluate", "predict")


class Section(BaseModel):
    """A block of `params.yaml`: frozen, and closed to keys that it does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Data(Section):
    """Where the raw files are, and what of them stays in memory."""

    root: str = "data"
    cache: Literal["none", "memory", "device"] = "none"


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
    path: str | None = None
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

    track: Literal[1, 2] = 2
    seed: int = Field(0, ge=0)
    workers: int = Field(0, ge=0)
    data: Data = Data()
    catalog: Catalog = Catalog()
    convert: Convert = Convert()
    index: Index = Index()
    smote: Smote = Smote()
    augment: Augment = Augment()


Schema = TypeVar("Schema", bound=Section)


def load_data_params(path: str | os.PathLike[str] = "params.yaml") -> DataParams:
    """Read the data sections of `params.yaml`.

    Raises:
        UserError: see `validated`.
    """
    raw = {key: value for key, value in read_yaml(path).items() if key not in MODEL_SECTIONS}
    return validated(DataParams, raw, str(path))


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Parse a YAML 1.2 mapping.

    Raises:
        UserError: the file is missing, is not YAML or is not a mapping.
    """
    file = Path(path)
    try:
        content = YAML(typ="safe").load(file)
    except FileNotFoundError:
        raise UserError(f"There is no {file} here: run the command in the project's folder.") from None
    except YAMLError as error:
        raise UserError(f"{file} is not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{file} must hold 'key: value' lines, not a {type(content).__name__}.")
    return content


def validated(schema: type[Schema], raw: dict[str, Any], source: str) -> Schema:
    """`raw` as a `schema` object.

    Raises:
        UserError: names each key that is unknown or ill-typed, its value and what is allowed.
    """
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(schema, problem) for problem in error.errors()]
        raise UserError(f"{source} cannot be used:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _explain(schema: type[Section], problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(schema, problem["loc"][:-1])
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"allowed here: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {problem['input']!r} is not allowed: {message}" if where else message


def _known_keys(schema: type[Section], location: tuple[Any, ...]) -> list[str]:
    current: Any = schema
    for part in location:
        info = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        if info is None:
            return []
        choices = [part for part in get_args(info.annotation) if hasattr(part, "model_fields")]
        current = choices[0] if choices else info.annotation
    return sorted(current.model_fields) if hasattr(current, "model_fields") else []
