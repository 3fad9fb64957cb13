"""The whole of `params.yaml`, with the sections that training, scoring and prediction read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from hsdata.layout import Input
from hsdata.params import DataParams
from hsengine.base.params import Section, read_yaml, validated
from hsengine.base.settings import TrainingParams


class Loss(Section):
    """Weights of the parts of the loss."""

    l1: float = Field(1.0, ge=0.0)
    sam: float = Field(0.1, ge=0.0)
    # The weight of the score itself, and over which fraction of the training it rises to that.
    ssc: float = Field(1.0, ge=0.0)
    ssc_ramp: float = Field(0.3, ge=0.0, le=1.0)
    # -ln SSC without saturation instead of 1 - SSC; see hsmodels.losses.SSCLoss.
    ssc_smooth: bool = True

    @model_validator(mode="after")
    def _some(self) -> Loss:
        if not self.l1 + self.sam + self.ssc > 0.0:
            raise ValueError("one of loss.l1, loss.sam and loss.ssc must be above 0: nothing would be learned")
        return self


class Evaluate(Section):
    """What is drawn and scored beside the model."""

    pictures: int = Field(3, ge=0)
    baselines: bool = True


class Predict(Section):
    """How a trained model is applied, the same in validation, evaluation, prediction and submission."""

    checkpoint: Literal["best", "last"] = "best"
    floor: float = Field(0.001, ge=0.0, lt=1.0)
    # Correct predictions until the standard observer's camera makes the input of them.
    consistent: bool = False
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


class Params(DataParams, TrainingParams):
    """Everything in `params.yaml`."""

    moved: ClassVar[Mapping[str, str]] = {
        **DataParams.moved,
        "train.track": "machine.trackers",
        "train.pictures": "machine.pictures",
        "train.loader_workers": "machine.loader_workers",
        "train.state_minutes": "machine.state_minutes",
        "train.launch": "machine.launch",
    }

    # What the model is given: hsdata.layout.MODALITIES says what each needs.
    input: Input = "track"
    model: str = "mstpp"
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    # The closed-form model that the trained one corrects, `none`, or `chosen` (hsmodels.choice).
    residual: str = "kernel_ridge"
    # Closed-form models that training sees instead, each solved without one fold of the groups; 0: the same one.
    residual_folds: int = Field(0, ge=0)
    # Principal components of the training spectra that the model weighs; 0: it gives bands.
    basis: int = Field(0, ge=0)
    # A learned bias for each column and band of the frame.
    stripes: bool = True
    loss: Loss = Loss()
    evaluate: Evaluate = Evaluate()
    predict: Predict = Predict()


def load_params(path: str | os.PathLike[str] = "params.yaml") -> Params:
    """Read `params.yaml`.

    Raises:
        UserError: names each key that is unknown or ill-typed, its value and what is allowed.
    """
    return validated(Params, read_yaml(path), str(path))
