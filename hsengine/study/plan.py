"""The experiments that a study stands for, and whether those that exist are they."""

from __future__ import annotations

import copy
import itertools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsengine.base.errors import UserError
from hsengine.base.params import flat, read_yaml, validated, written
from hsengine.base.settings import TrainingParams
from hsengine.base.wording import some
from hsengine.project import Project
from hsengine.study import naming, recipe
from hsengine.study.file import Study

ALONE = "base"
"""The only variant of a study that names none."""


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


@dataclass(frozen=True)
class Plan:
    """A study in its project.

    Attributes:
        study: the study.
        project: whose experiments they are.
        raw: the content of `params.yaml`, which the experiments start from.
        prefix: begins the experiments' names: those of all projects of a git repository are kept together.
    """

    study: Study
    project: Project
    raw: Mapping[str, Any]
    prefix: str = ""

    @property
    def measure(self) -> str:
        """What decides which experiment is better."""
        return self.study.measure or self.project.measure

    @property
    def sign(self) -> int:
        """1 where more of the measure is better, -1 where less is.

        Raises:
            UserError: neither the study nor the project says so.
        """
        given = self.study.direction
        if given is None and self.measure.rpartition(".")[2] == self.project.measure:
            given = self.project.direction
        if given is None:
            raise UserError(
                f"Study '{self.study.name}': direction: say whether 'max' or 'min' of {self.measure} is best."
            )
        return -1 if given == "min" else 1

    @property
    def curve(self) -> str:
        """The name of the measure's course in the curves."""
        return self.study.course or f"val/{self.measure}"

    def settings(self) -> dict[str, dict[str, Any]]:
        """What each label sets, seeds and folds aside: label → dotted key → value.

        Raises:
            UserError: two labels come out equal, or the baseline is none of them.
        """
        study, base = self.study, self._base()
        found: dict[str, dict[str, Any]] = {}
        for label, values in _variants(study):
            for point, grid in _grid(study):
                name = "-".join(part for part in (label, point) if part) or ALONE
                if name in found:
                    raise UserError(
                        f"Study '{study.name}' has two experiments '{name}': give its variants other names."
                    )
                found[name] = base | values | grid
        if study.baseline is not None and study.baseline not in found:
            raise UserError(f"baseline: the study has no '{study.baseline}'; it has {some(list(found))}.")
        unknown = sorted(study.published.keys() - found.keys())
        if unknown:
            raise UserError(f"published: the study has no {some(unknown)}; it has {some(list(found))}.")
        return found

    def experiments(self) -> list[Experiment]:
        """The experiments of a study without a search, each with parameters that are valid.

        Raises:
            UserError: names the experiment and its keys that are unknown or ill-typed.
        """
        found = []
        for label, values in self.settings().items():
            for seed, fold in itertools.product(_seeds(self.study), self._folds(values)):
                repeat: dict[str, Any] = {} if seed is None else {"seed": seed}
                repeat |= {} if fold is None else self.project.fold(*fold)
                suffix = ([] if seed is None else [f"s{seed}"]) + ([] if fold is None else [f"f{fold[0]}"])
                name = naming.shortened(self.prefix + "-".join([self.study.name, label, *suffix]))
                found.append(Experiment(name, label, values | repeat, (seed, None if fold is None else fold[0])))
                self.parameters(found[-1])
        return found

    def trial(self, number: int, values: Mapping[str, Any]) -> Experiment:
        """Trial `number` of a search, which sets `values`."""
        label = f"t{number:03d}"
        return Experiment(f"{self.prefix}{self.study.name}-{label}", label, self._base() | dict(values))

    def _base(self) -> dict[str, Any]:
        """What all experiments set, by dotted key."""
        given = recipe.read(self.project, self.study.recipe).values if self.study.recipe else {}
        return _checked(given) | _checked(self.study.base)

    def parameters(self, experiment: Experiment) -> TrainingParams:
        """All parameters of an experiment.

        Raises:
            UserError: names each key that is unknown or ill-typed.
        """
        return validated(
            self.project.schema, _applied(self.raw, experiment.values), f"The experiment '{experiment.name}'"
        )

    def differences(self, experiment: Experiment, found: Mapping[str, Any]) -> list[str]:
        """Where the `params.yaml` of an existing experiment differs in what decides its result.

        Returns:
            Lines such as `train.lr is 0.001, not 0.0004`; empty if there is no difference.
        """
        try:
            other = flat(self.project.decides(validated(self.project.schema, dict(found), "its params.yaml")))
        except UserError as error:
            return [f"they are not valid now: {' '.join(str(error).split())}"]
        mine = flat(self.project.decides(self.parameters(experiment)))
        keys = sorted(key for key in mine.keys() | other.keys() if mine.get(key, _NOT_SET) != other.get(key, _NOT_SET))
        return [f"{key} is {written(other.get(key, _NOT_SET))}, not {written(mine.get(key, _NOT_SET))}" for key in keys]

    def _folds(self, values: Mapping[str, Any]) -> list[tuple[int, int]] | list[None]:
        """Each fold's number, and of how many; a list of numbers leaves how many to the parameters."""
        folds = self.study.folds
        if folds is None:
            return [None]
        if isinstance(folds, int):
            return [(number, folds) for number in range(folds)]
        content = validated(self.project.schema, _applied(self.raw, values), f"Study '{self.study.name}'").model_dump()
        return [(number, flat(content)[self.project.folds]) for number in folds]


def load(file: str | os.PathLike[str], params_file: str | os.PathLike[str], project: Project, prefix: str = "") -> Plan:
    """Read a study file.

    Raises:
        UserError: there is no such file, or it names each key that is unknown or ill-typed.
    """
    if not Path(file).is_file():
        raise UserError(f"There is no study file {file}; docs/studies.md shows how to write one.")
    plan = Plan(validated(Study, read_yaml(file), str(file)), project, read_yaml(params_file), prefix)
    # A measure without a direction is refused now, not when the table is drawn.
    assert plan.sign
    return plan


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a study sets, by dotted keys.

    Raises:
        UserError: a key is no name, or a number is not finite.
    """
    found = flat(values)
    for key, value in found.items():
        if not all(key.split(".")):
            raise UserError(f"'{key}' is no key of params.yaml: write keys with dots, such as train.lr.")
        _check_finite(value, key)
    return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        _set(found, key, value)
    return found


def _applied(raw: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with values set, key by key, as DVC sets them."""
    found = copy.deepcopy(dict(raw))
    for key, value in values.items():
        _set(found, key, value)
    return found


def _set(target: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for part in parents:
        if not isinstance(target.get(part), dict):
            target[part] = {}
        target = target[part]
    before = target.get(last)
    target[last] = {**before, **value} if isinstance(before, dict) and isinstance(value, Mapping) else value


_NOT_SET = "not set"


def _check_finite(value: Any, place: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{place}: {value} is not a finite number.")
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _check_finite(part, place)


def _variants(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Labels and what they set; a stage sets what all before it set, too."""
    before: dict[str, Any] = {}
    for name, values in study.stages.items():
        before = before | _checked(values or {})
        yield name, before
    for name, values in study.variants.items():
        yield name, _checked(values or {})
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
        yield "-".join(words), _checked(dict(zip(keys, values, strict=True)))


def _seeds(study: Study) -> list[int] | list[None]:
    if study.seeds is None:
        return [None]
    return list(range(study.seeds)) if isinstance(study.seeds, int) else study.seeds
