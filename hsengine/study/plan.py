"""The study file, and the experiments that it stands for."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.params import Section, read_yaml, validated
from hsengine.base.wording import some
from hsengine.study import naming
from hsmodels.params import NO_RESULT, Params

SCORE = "SSC"
ALONE = "base"
"""The only variant of a study that names none."""


class Range(Section):
    """Numbers to search: whole ones if both ends are, unless `type` says otherwise."""

    low: float | int
    high: float | int
    log: bool = False
    type: Literal["int", "float"] | None = None

    @model_validator(mode="after")
    def _sound(self) -> Range:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} must be above 0 with log: true")
        if self.type == "int" and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError("low and high must be whole numbers with type: int")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return self.type == "int" or (self.type is None and isinstance(self.low, int) and isinstance(self.high, int))


Scalar = bool | int | float | str | None


class Search(Section):
    """A search by Optuna: each trial is an experiment."""

    trials: int = Field(ge=1)
    space: dict[str, Range | list[Scalar]] = Field(min_length=1)
    seed: int = Field(0, ge=0)
    # Stop a trial whose course is worse than the median of the finished ones at the same epoch.
    pruner: Literal["median", "none"] = "median"
    # Finished trials before any is pruned, and epochs of each trial that are never judged.
    startup: int = Field(5, ge=1)
    warmup: int = Field(0, ge=0)

    @field_validator("space")
    @classmethod
    def _choices(cls, space: dict[str, Range | list[Scalar]]) -> dict[str, Range | list[Scalar]]:
        for key, values in space.items():
            if isinstance(values, list) and len(values) < 2:
                raise ValueError(f"{key} needs two values or more to choose from; set a single one under 'base'")
        return space


class Study(Section):
    """A study file; see docs/studies.md."""

    name: str
    measure: str = SCORE
    # None: max, which suits the score; any other measure needs a word.
    direction: Literal["max", "min"] | None = None
    # The metrics file that holds the measure, and further measures of it to show.
    metrics: str = paths.METRICS.as_posix()
    also: list[str] = Field(default_factory=list)
    # The curve of the measure over the epochs, in the curves folder; None: val/<measure>.
    course: str | None = None
    # The stage of dvc.yaml that is run, with all that it needs.
    target: str = "evaluate"
    baseline: str | None = None
    base: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    stages: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    seeds: int | list[int] | None = None
    folds: int | list[int] | None = None
    search: Search | None = None

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        return naming.checked(name)

    @field_validator("variants", "stages")
    @classmethod
    def _labelled(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name in given:
            naming.checked(name)
        return given

    @field_validator("grid")
    @classmethod
    def _filled(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in grid.items():
            if not values:
                raise ValueError(f"{key} has no values")
        return grid

    @field_validator("seeds", "folds")
    @classmethod
    def _numbers(cls, given: int | list[int] | None) -> int | list[int] | None:
        if isinstance(given, list):
            if not given or min(given) < 0 or len(set(given)) < len(given):
                raise ValueError("list different numbers from 0 upwards, or give how many")
        elif given is not None and given < 1:
            raise ValueError("give how many, from 1 upwards, or a list of numbers")
        return given

    @model_validator(mode="after")
    def _one_kind(self) -> Study:
        if self.variants and self.stages:
            raise ValueError("a study has variants or stages, not both")
        if self.direction is None and self.measure.rpartition(".")[2] != SCORE:
            raise ValueError(f"direction: say whether 'max' or 'min' of {self.measure} is best")
        if self.folds == 1:
            raise ValueError("folds: at least 2 are needed")
        with_search = [key for key in ("variants", "stages", "grid", "seeds", "folds") if getattr(self, key)]
        if self.search and (with_search or self.baseline):
            raise ValueError(f"search goes without {', '.join(with_search or ['baseline'])}: make that a second study")
        return self

    @property
    def curve(self) -> str:
        """The name of the measure's course in the curves."""
        return self.course or f"val/{self.measure}"

    @property
    def sign(self) -> int:
        """1 where more of the measure is better, -1 where less is."""
        return -1 if self.direction == "min" else 1


@dataclass(frozen=True)
class Experiment:
    """One experiment of a study.

    Attributes:
        name: the name of the DVC experiment.
        label: the variant, stage or grid point: what is compared. Seeds and folds repeat it.
        values: what it sets, by dotted keys of `params.yaml`.
        repeat: its seed and fold, where the study has them.
    """

    name: str
    label: str
    values: Mapping[str, Any] = field(default_factory=dict)
    repeat: tuple[int | None, int | None] = (None, None)


def load(file: str | os.PathLike[str]) -> Study:
    """Read a study file.

    Raises:
        UserError: there is no such file, or it names each key that is unknown or ill-typed.
    """
    if not Path(file).is_file():
        raise UserError(f"There is no study file {file}; docs/studies.md shows how to write one.")
    return validated(Study, read_yaml(file), str(file))


def settings(study: Study) -> dict[str, dict[str, Any]]:
    """What each label of a study sets, seeds and folds aside: label → dotted key → value.

    Raises:
        UserError: two labels come out equal, or the baseline is none of them.
    """
    base = flat(study.base)
    found: dict[str, dict[str, Any]] = {}
    for label, values in _variants(study):
        for point, grid in _grid(study):
            name = "-".join(part for part in (label, point) if part) or ALONE
            if name in found:
                raise UserError(f"Study '{study.name}' has two experiments '{name}': give its variants other names.")
            found[name] = base | values | grid
    if study.baseline is not None and study.baseline not in found:
        raise UserError(f"baseline: the study has no '{study.baseline}'; it has {some(list(found))}.")
    return found


def expand(study: Study, raw: Mapping[str, Any]) -> list[Experiment]:
    """The experiments of a study without a search, each checked against the parameters that exist.

    Args:
        study: the study.
        raw: the content of `params.yaml`, which the experiments start from.

    Raises:
        UserError: names the experiment and its keys that are unknown or ill-typed.
    """
    found = []
    for label, values in settings(study).items():
        for seed, fold in itertools.product(_seeds(study), _folds(study, raw, values)):
            repeat: dict[str, Any] = {} if seed is None else {"seed": seed}
            if fold is not None:
                number, of = fold
                repeat |= {"index.strategy": "folds", "index.folds": of, "index.fold": number}
            suffix = ([] if seed is None else [f"s{seed}"]) + ([] if fold is None else [f"f{fold[0]}"])
            name = naming.shortened("-".join([study.name, label, *suffix]))
            experiment = Experiment(name, label, values | repeat, (seed, None if fold is None else fold[0]))
            parameters(raw, experiment)
            found.append(experiment)
    return found


def trial(study: Study, number: int, values: Mapping[str, Any]) -> Experiment:
    """Trial `number` of a search, which sets `values`."""
    label = f"t{number:03d}"
    return Experiment(f"{study.name}-{label}", label, flat(study.base) | dict(values))


def parameters(raw: Mapping[str, Any], experiment: Experiment) -> Params:
    """All parameters of an experiment.

    Raises:
        UserError: names each key that is unknown or ill-typed.
    """
    who = f"The experiment '{experiment.name}'"
    applied = _applied(raw, experiment.values)
    params = validated(Params, applied, who)
    known = raw.get("models") or {}
    used = [params.model, *(key.split(".")[1] for key in experiment.values if key.startswith("models."))]
    for name in used:
        if name not in known:
            raise UserError(f"{who}: params.yaml has no block models.{name}; it has {some(list(known))}. Add it there.")
    return params


def differences(wanted: Params, found: Mapping[str, Any]) -> list[str]:
    """Where the `params.yaml` of an existing experiment differs in what decides its result.

    Returns:
        Lines such as `train.lr is 0.001, not 0.0004`; empty if there is no difference.
    """
    try:
        other = _deciding(validated(Params, dict(found), "its params.yaml"))
    except UserError as error:
        return [f"they are not valid now: {' '.join(str(error).split())}"]
    mine = _deciding(wanted)
    keys = sorted(key for key in mine.keys() | other.keys() if mine.get(key, _ABSENT) != other.get(key, _ABSENT))
    return [f"{key} is {_plain(other.get(key, _ABSENT))}, not {_plain(mine.get(key, _ABSENT))}" for key in keys]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested or dotted keys as dotted ones down to numbers, texts and lists.

    A mapping that is empty or whose keys are not all text stays as it is.

    Raises:
        UserError: a key is no name, or a value cannot be kept in `params.yaml`.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        place = f"{prefix}{key}"
        if not isinstance(key, str) or not all(place.split(".")):
            raise UserError(f"'{place}' is no key of params.yaml: write keys with dots, such as train.lr.")
        if isinstance(value, Mapping) and value and all(isinstance(part, str) for part in value):
            found |= flat(value, f"{place}.")
        else:
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"{place}: {value} is not a finite number.")
            found[place] = value
    return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        *parents, last = key.split(".")
        place = found
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return found


def _applied(raw: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with values set, key by key, as DVC sets them."""
    found = copy.deepcopy(dict(raw))
    for key, value in values.items():
        *parents, last = key.split(".")
        place: Any = found
        for part in parents:
            if not isinstance(place.get(part), dict):
                place[part] = {}
            place = place[part]
        before = place.get(last)
        place[last] = {**before, **value} if isinstance(before, dict) and isinstance(value, Mapping) else value
    return found


_ABSENT: Any = type("Absent", (), {})()


def _deciding(params: Params) -> dict[str, Any]:
    """Dotted keys and values, without other models' blocks and what concerns the machine."""
    content = params.model_dump()
    content["models"] = {params.model: params.models.get(params.model, {})}
    hidden = tuple(f"{key}." for key in NO_RESULT)
    return {key: value for key, value in flat(content).items() if not f"{key}.".startswith(hidden)}


def _plain(value: Any) -> str:
    return "not set" if value is _ABSENT else json.dumps(value, default=str)


def _variants(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Labels and what they set; a stage sets what all before it set, too."""
    before: dict[str, Any] = {}
    for name, values in study.stages.items():
        before = before | flat(values or {})
        yield name, before
    for name, values in study.variants.items():
        yield name, flat(values or {})
    if not study.stages and not study.variants:
        yield "", {}


def _grid(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Grid points: a readable text of each, and what it sets."""
    keys = list(study.grid)
    shorts = naming.shortest(keys)
    texts = [
        [f"{short}-{text}" for text in naming.texts(study.grid[key])] for short, key in zip(shorts, keys, strict=True)
    ]
    for words, values in zip(itertools.product(*texts), itertools.product(*study.grid.values()), strict=True):
        yield "-".join(words), flat(dict(zip(keys, values, strict=True)))


def _seeds(study: Study) -> list[int] | list[None]:
    if study.seeds is None:
        return [None]
    return list(range(study.seeds)) if isinstance(study.seeds, int) else study.seeds


def _folds(study: Study, raw: Mapping[str, Any], values: Mapping[str, Any]) -> list[tuple[int, int]] | list[None]:
    """Each fold's number, and of how many; a list of numbers leaves how many to the parameters."""
    if study.folds is None:
        return [None]
    if isinstance(study.folds, int):
        return [(number, study.folds) for number in range(study.folds)]
    of = values.get("index.folds", (raw.get("index") or {}).get("folds", Params().index.folds))
    return [(number, of) for number in study.folds]
