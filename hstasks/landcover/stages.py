"""The trainings of an ablation: what each adds, what it starts from, and where it lies."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hsengine.base.wording import close_matches
from hstasks.landcover.params import Params

FOLDER = paths.OUTPUTS / "stages"
ALONE = "alone"
"""The name of a training that is none of `stages`."""


def resolved(params: Params, stage: str | None = None) -> Params:
    """The parameters of a stage: those of the file, with what the stages before it and it set.

    Args:
        params: of the file.
        stage: its name; None: `params.stage`, and where that is None too, the parameters as they stand.

    Raises:
        UserError: there is no such stage, stages are like each other in a circle, or one sets what there is not.
    """
    name = stage or params.stage
    if name is None:
        return params
    raw: dict[str, Any] = copy.deepcopy(params.model_dump(mode="json"))
    for one in chain(params, name):
        for key, value in params.stages[one].set.items():
            _put(raw, key, value, one)
    return validated(Params, raw | {"stage": name}, f"Stage '{name}'")


def chain(params: Params, name: str) -> list[str]:
    """The stages that a stage is like, the first one first, and itself.

    Raises:
        UserError: see `resolved`.
    """
    found: list[str] = []
    current: str | None = name
    while current is not None:
        if current not in params.stages:
            hint = close_matches(current, params.stages)
            raise UserError(f"There is no stage '{current}'{hint}; stages has {', '.join(params.stages) or 'none'}.")
        if current in found:
            raise UserError(f"stages: {' is like '.join([*found, current])}: leave one of them out.")
        found.append(current)
        current = params.stages[current].like
    return found[::-1]


def decides(params: Params) -> dict[str, Any]:
    """The parameters that a stage's scores follow from, nested as in `params.yaml`.

    Of `stages` those that it is like and those whose models it names: another one may change, and its experiments
    stand.

    Raises:
        UserError: see `resolved`.
    """
    raw: dict[str, Any] = params.model_dump(exclude={"machine", "leak", "test"})
    raw["stages"] = {name: raw["stages"][name] for name in _needed(params, params.stage, set())}
    return raw


def _needed(params: Params, name: str | None, found: set[str]) -> list[str]:
    """The stages that one follows from, in the order of the file; `found` collects them."""
    for one in [] if name is None else chain(params, name):
        if one not in found:
            found.add(one)
            for value in params.stages[one].set.values():
                given = Path(value) if isinstance(value, str) else FOLDER
                if FOLDER in given.parents:
                    _needed(params, given.relative_to(FOLDER).parts[0], found)
    return [one for one in params.stages if one in found]


def place(params: Params, stage: str | None = None) -> Path:
    """The folder of a stage's model, curves and scores."""
    return FOLDER / (stage or params.stage or ALONE)


def model(params: Params, stage: str | None = None) -> Path:
    """The folder of a stage's model."""
    return place(params, stage) / paths.MODEL.name


def _put(raw: dict[str, Any], key: str, value: Any, stage: str) -> None:
    *sections, last = key.split(".")
    inner: Any = raw
    for part in sections:
        inner = inner.get(part) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner or key.split(".")[0] in ("stage", "stages"):
        raise UserError(f"stages.{stage}.set: there is no parameter '{key}' to set.")
    inner[last] = value
