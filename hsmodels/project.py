"""What the reconstruction of cubes says of itself to recipes, studies and stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hsengine.base.errors import UserError
from hsengine.base.wording import close_matches, some
from hsengine.project import Project, at
from hsmodels.code import STAGES
from hsmodels.params import Params


def _check(params: Params) -> None:
    """See that the model can be made and takes the input of its track.

    Raises:
        UserError: it does not; names the model and the parameter.
    """
    from hsmodels import zoo

    if params.model not in params.models:
        raise UserError(
            f"params.yaml has no block models.{params.model}; it has {some(list(params.models))}. Add it there."
        )
    for name in params.models:
        if name not in zoo.names():
            raise UserError(f"models.{name}: there is no model of that name{close_matches(name, zoo.names())}.")
    zoo.for_track(params.model, params.track, params.models[params.model], input=params.input)


def _decides(params: Params) -> Mapping[str, Any]:
    """All but what concerns the machine and the blocks of other models."""
    content = params.model_dump(exclude={"machine"})
    return content | {"models": {params.model: params.models.get(params.model, {})}}


PROJECT = Project(
    name="hyperobject",
    place=f"{__name__}:PROJECT",
    program="hsmodels",
    schema=Params,
    measure="SSC",
    direction="max",
    prepare=at("hsmodels.train:prepare"),
    check=_check,
    decides=_decides,
    fold=lambda number, of: {"index.strategy": "folds", "index.folds": of, "index.fold": number},
    folds="index.folds",
    entries=STAGES["train"],
    packages=("torch", "accelerate", "numpy", "zarr", "safetensors", "dvc", "dvclive"),
)
