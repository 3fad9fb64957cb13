"""The study file."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hsengine.base import paths
from hsengine.base.params import Section
from hsengine.study import naming

MOST = 10_000
"""Experiments of a study; more are taken for a slip of the pen."""


class Range(Section):
    """Numbers to search: whole ones if both ends are, unless `type` says otherwise."""

    low: float | int
    high: float | int
    log: bool = False
    type: Literal["int", "float"] | None = None

    @model_validator(mode="after")
    def _sound(self) -> Range:
        if not self.low < self.high:
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

    trials: int = Field(ge=1, le=MOST)
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
    # None: the project's own measure and direction.
    measure: str | None = None
    direction: Literal["max", "min"] | None = None
    # The metrics file that holds the measure, and further measures of it to show.
    metrics: str = paths.METRICS.as_posix()
    also: list[str] = Field(default_factory=list)
    # The curve of the measure over the epochs, in the curves folder; None: val/<measure>.
    course: str | None = None
    # The stage of dvc.yaml that is run, with all that it needs.
    target: str = "evaluate"
    baseline: str | None = None
    # Figures of the measure from elsewhere, by variant, to stand beside the own ones, and what is to be said of them.
    published: dict[str, float] = Field(default_factory=dict)
    note: str | None = None
    # A recipe of the project that all experiments start from, and parameters that are set after it.
    recipe: str | None = None
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
        if self.folds == 1:
            raise ValueError("folds: at least 2 are needed")
        with_search = [key for key in ("variants", "stages", "grid", "seeds", "folds") if getattr(self, key)]
        if self.search and (with_search or self.baseline):
            raise ValueError(f"search goes without {', '.join(with_search or ['baseline'])}: make that a second study")
        if self.size > MOST:
            raise ValueError(f"it stands for {self.size:,} experiments, and {MOST:,} are the most: ask for fewer")
        return self

    @property
    def size(self) -> int:
        """How many experiments it stands for."""
        if self.search:
            return self.search.trials
        repeats = [
            given if isinstance(given, int) else len(given or [0]) for given in (self.seeds or 1, self.folds or 1)
        ]
        labels = len(self.variants) or len(self.stages) or 1
        return labels * math.prod(map(len, self.grid.values())) * math.prod(repeats)
