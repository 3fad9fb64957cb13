"""The whole of `params.yaml`, with the sections that training, scoring and prediction read."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import Field, model_validator

from hsdata.params import DataParams, Section, read_yaml, validated

# Keys that concern the machine or the watching of a run, not its result.
NO_RESULT = (
    "workers",
    "data.cache",
    "train.pictures",
    "train.track",
    "train.loader_workers",
    "train.state_minutes",
    "train.launch",
)


class Loss(Section):
    """Weights of the parts of the loss."""

    l1: float = Field(1.0, ge=0.0)
    sam: float = Field(0.1, ge=0.0)
    # The weight of the score itself, and over which fraction of the training it rises to that.
    ssc: float = Field(0.0, ge=0.0)
    ssc_ramp: float = Field(0.0, ge=0.0, le=1.0)
    # -ln SSC without saturation instead of 1 - SSC; see hsmodels.losses.SSCLoss.
    ssc_smooth: bool = False


class Launch(Section):
    """Processes of a training run; see docs/scaling.md."""

    # On each machine: one a GPU, or any number on CPUs.
    processes: int = Field(1, ge=1)
    machines: int = Field(1, ge=1)
    # None: read from HYPEROBJECT_MACHINE, SLURM_NODEID or NODE_RANK, which differ from machine to machine.
    machine: int | None = Field(None, ge=0)
    # Name or address of machine 0; needed with several machines.
    address: str | None = None
    port: int = Field(29500, ge=1024, le=65535)
    # Spread parameters, gradients and optimiser state over the processes, for models that do not fit.
    shard: bool = False


class Train(Section):
    """How the weights are found."""

    epochs: int = Field(60, ge=1)
    # Samples of one forward and backward pass, over all processes; an update sees `accumulate` times as many.
    batch_size: int = Field(4, ge=1)
    sampling: Literal["shuffle", "balanced", "difficulty", "curriculum"] = "shuffle"
    accumulate: int = Field(1, ge=1)
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = Field(4e-4, gt=0.0)
    weight_decay: float = Field(0.0, ge=0.0)
    schedule: Literal["cosine", "step", "exponential", "plateau", "onecycle", "none"] = "cosine"
    warmup_epochs: float = Field(0, ge=0)
    min_lr: float = Field(1e-6, ge=0.0)
    # Factor of `step` (every `step_epochs`), `exponential` (every epoch) and `plateau`.
    gamma: float = Field(0.5, gt=0.0, le=1.0)
    step_epochs: int = Field(30, ge=1)
    plateau_patience: int = Field(10, ge=1)
    clip_norm: float | None = Field(None, gt=0.0)
    nonfinite: Literal["stop", "skip"] = "stop"
    # Decay of the moving average of the weights, 0 for none; how many best checkpoints are averaged.
    ema: float = Field(0.0, ge=0.0, lt=1.0)
    best_k: int = Field(1, ge=1)
    score_every: int = Field(10, ge=1)
    # Measures by the names of the curves, with or without 'val/'; None means the task's own choice.
    watch: str | None = None
    patience: int | None = Field(None, ge=1)
    stop_on: str | None = None
    max_minutes: float | None = Field(None, gt=0.0)
    precision: Literal["no", "fp16", "bf16"] = "no"
    deterministic: bool = False
    compile: bool = False
    channels_last: bool = False
    gradient_checkpointing: bool = False
    pictures: int = Field(0, ge=0)
    track: list[Literal["wandb", "tensorboard", "mlflow"]] = Field(default_factory=list)
    loader_workers: int | None = Field(None, ge=0)
    state_minutes: float = Field(10.0, gt=0.0)
    launch: Launch = Launch()


class Evaluate(Section):
    """What is drawn and scored beside the model."""

    pictures: int = Field(3, ge=0)
    baselines: bool = True


class Predict(Section):
    """How a trained model is applied, the same in validation, evaluation, prediction and submission."""

    checkpoint: Literal["best", "last"] = "best"
    floor: float = Field(0.001, ge=0.0, lt=1.0)
    tile: int | None = Field(None, ge=16, multiple_of=8)
    overlap: int | None = Field(None, ge=0)
    tta: bool = False
    precision: Literal["no", "bf16", "fp16"] = "no"
    models: list[str] = Field(default_factory=list)
    weights: Literal["mean", "fitted"] = "mean"

    @model_validator(mode="after")
    def _consistent(self) -> Predict:
        if self.tile is not None and self.overlap is not None and self.overlap > self.tile - 8:
            raise ValueError(
                f"predict.overlap {self.overlap} leaves nothing of a tile of {self.tile} pixels: "
                f"at most {self.tile - 8}, or null for one that fits"
            )
        if self.weights == "fitted" and not self.models:
            raise ValueError("predict.weights 'fitted' needs further model folders in predict.models")
        return self


class Params(DataParams):
    """Everything in `params.yaml`."""

    model: str = "mstpp"
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    # The closed-form model that the trained one corrects.
    residual: str = "none"
    # A learned bias for each column and band of the frame.
    stripes: bool = False
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
