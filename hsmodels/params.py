"""The whole of `params.yaml`, with the sections that training, scoring and prediction read."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import Field

from hsdata.params import DataParams, Section, read_yaml, validated


class Loss(Section):
    l1: float = Field(1.0, ge=0.0)
    sam: float = Field(0.1, ge=0.0)


class Train(Section):
    epochs: int = Field(60, ge=1)
    batch_size: int = Field(4, ge=1)
    accumulate: int = Field(1, ge=1)
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = Field(4e-4, gt=0.0)
    weight_decay: float = Field(0.0, ge=0.0)
    schedule: Literal["cosine", "none"] = "cosine"
    warmup_epochs: int = Field(0, ge=0)
    min_lr: float = Field(1e-6, ge=0.0)
    clip_norm: float | None = Field(None, gt=0.0)
    precision: Literal["no", "fp16", "bf16"] = "no"
    score_every: int = Field(10, ge=1)
    loader_workers: int = Field(0, ge=0)
    processes: int = Field(1, ge=1)
    state_minutes: float = Field(10.0, gt=0.0)


class Evaluate(Section):
    checkpoint: Literal["best", "last"] = "best"
    pictures: int = Field(3, ge=0)


class Predict(Section):
    floor: float = Field(0.001, ge=0.0, lt=1.0)


class Params(DataParams):
    """Everything in `params.yaml`."""

    model: str = "mstpp"
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    loss: Loss = Loss()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    predict: Predict = Predict()


def load_params(path: str | os.PathLike[str] = "params.yaml") -> Params:
    """Read `params.yaml`.

    Raises:
        UserError: names each key that is unknown or ill-typed, its value and what is allowed.
    """
    return validated(Params, read_yaml(path), str(path))
