"""What a project says of itself, so that recipes, studies, stages and the command line can ask it."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hsengine.base.settings import TrainingParams
from hsengine.card import About

if TYPE_CHECKING:
    from hsengine.train.task import Task


def at(place: str) -> Callable[..., Any]:
    """A function of a module that is imported when the function is called, such as "hsmodels.train:prepare".

    A project's stages ask the project, and it names them in this way: neither imports the other.
    """

    def call(*arguments: Any, **named: Any) -> Any:
        return pkgutil.resolve_name(place)(*arguments, **named)

    return call


@dataclass(frozen=True)
class Work:
    """One training, made ready: what is learned, from what, and what the record shall say.

    Attributes:
        task: what the engine trains.
        configuration: the parameters that decide the result, plain values by their keys in `params.yaml`,
            without `train` and `seed`, which the engine adds.
        data: hash of the samples' content and of who is held out.
        counts: samples to learn from and held out.
        record: further entries of the model's `config.json`; `model` (name, params) is among them.
        about: what the model card says that no record holds.
    """

    task: Task
    configuration: Mapping[str, Any]
    data: str
    counts: tuple[int, int]
    record: Mapping[str, Any]
    about: About = field(default_factory=About)


@dataclass(frozen=True)
class Project:
    """A kind of project: the flagship, or one of the challenges.

    Attributes:
        name: begins the names of its experiments' runs, trackers and saved states.
        place: where another process finds it, such as "hsmodels.project:PROJECT".
        program: its command line, as a user types it.
        schema: the whole of its `params.yaml`.
        measure: what decides which experiment is better, as `metrics.json` names it.
        direction: whether more or less of it is better.
        prepare: from valid parameters to a training that is ready; raises UserError.
        check: refuses parameters that no training could be made of, quickly and without reading data.
        decides: the parameters that decide an experiment's result, nested as in `params.yaml`.
        fold: the parameters, by dotted key, that hold out fold `number` of `of`.
        folds: the parameter, by dotted key, that says how many folds there are.
        entries: the modules from which everything is imported that decides a training's result.
        packages: distributions whose versions the record names.
        recipes: the folder of its recipes, relative to the project's folder.
    """

    name: str
    place: str
    program: str
    schema: type[TrainingParams]
    measure: str
    direction: Literal["max", "min"]
    prepare: Callable[[Any], Work]
    check: Callable[[Any], None] = lambda params: None
    decides: Callable[[Any], Mapping[str, Any]] = lambda params: params.model_dump(exclude={"machine"})
    fold: Callable[[int, int], Mapping[str, Any]] = lambda number, of: {"split.folds": of, "split.fold": number}
    folds: str = "split.folds"
    entries: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    recipes: str = "recipes"
