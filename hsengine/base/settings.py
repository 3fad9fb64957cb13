"""The sections of `params.yaml` that the engine reads: `train` decides the result, `machine` does not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from hsengine.base.memory import Cache
from hsengine.base.params import Section
from hsengine.base.wording import close_matches


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


OPTIMIZERS = (
    *("adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "asgd", "muon", "nadam", "radam", "rmsprop"),
    *("rprop", "sgd"),
)
"""Classes of torch.optim, in lower case, that make an update from one gradient of dense parameters."""
LOOKAHEAD = "lookahead_"
"""Before an optimiser's name: it looks ahead, and the weights follow it half-way every few updates."""
_UNFIT = {
    "lbfgs": "it computes the loss several times an update",
    "sparseadam": "it is for sparse gradients, and these are dense",
}


class Machine(Section):
    """What concerns the machine alone, or the watching of a run: changing it reruns nothing."""

    # Processes of the data stages; 0: one a core.
    workers: int = Field(0, ge=0)
    # Decoded samples: kept in memory where there is room, read again each time, kept in memory, or on the device.
    cache: Cache = "auto"
    # Processes that read samples for a training process; 0: itself; None: as suits the device.
    loader_workers: int | None = Field(None, ge=0)
    # Held-out samples that are measured at once, where they are of one size.
    measure_batch: int = Field(1, ge=1)
    # At most this much is lost by a kill in mid-epoch.
    state_minutes: float = Field(10.0, gt=0.0)
    # Held-out samples drawn into the curves.
    pictures: int = Field(0, ge=0)
    # Trackers beside DVCLive.
    trackers: list[Literal["wandb", "tensorboard", "mlflow"]] = Field(default_factory=list)
    launch: Launch = Launch()


class Train(Section):
    """How the weights are found."""

    epochs: int = Field(40, ge=1)
    # Updates that make an epoch; None: as many as the samples need.
    updates: int | None = Field(None, ge=1)
    # Samples of one forward and backward pass, over all processes; an update sees `accumulate` times as many.
    batch_size: int = Field(4, ge=1)
    accumulate: int = Field(1, ge=1)
    # `task`: what the task's own sampler draws.
    sampling: Literal["shuffle", "balanced", "difficulty", "curriculum", "task"] = "shuffle"
    # A model's folder whose weights are started from, and patterns (fnmatch) of the keys that are left as they are.
    start: str | None = None
    start_without: list[str] = Field(default_factory=list)
    # A class of torch.optim, by its name in any case, and further arguments of it; `lookahead_` before the name wraps
    # it in timm's Lookahead, with arguments lookahead_k and lookahead_alpha.
    optimizer: str = "adam"
    optimizer_options: dict[str, Any] = Field(default_factory=dict)
    lr: float = Field(1e-3, gt=0.0)
    weight_decay: float = Field(0.0, ge=0.0)
    schedule: Literal["cosine", "step", "exponential", "plateau", "onecycle", "none"] = "cosine"
    # What says how far the schedule is: the epochs, or the share of `max_minutes` that is spent, where that is more.
    schedule_by: Literal["epochs", "time"] = "epochs"
    # Cycles of `cosine`, each of which begins at `lr` again: how many equal ones, or their relative lengths, such as
    # [1, 2, 4].
    cycles: Annotated[int, Field(ge=1)] | Annotated[list[Annotated[float, Field(gt=0.0)]], Field(min_length=1)] = 1
    warmup_epochs: float = Field(1, ge=0)
    min_lr: float = Field(1e-6, ge=0.0)
    # Factor of `step` (every `step_epochs`), `exponential` (every epoch) and `plateau`.
    gamma: float = Field(0.5, gt=0.0, le=1.0)
    step_epochs: int = Field(30, ge=1)
    plateau_patience: int = Field(10, ge=1)
    # The measure that `plateau` waits for; None: the held-out samples' loss.
    plateau_on: str | None = None
    clip_norm: float | None = Field(1.0, gt=0.0)
    nonfinite: Literal["stop", "skip"] = "stop"
    # Decay of the moving average of the weights; 0: none.
    ema: float = Field(0.0, ge=0.0, lt=1.0)
    # Whether that decay is reached gradually: min(ema, (1 + n) / (10 + n)) after n updates.
    ema_warmup: bool = True
    # Which checkpoints are kept: the best `best_k` epochs, or the last epoch of each of `cycles`.
    kept: Literal["best", "cycles"] = "best"
    best_k: int = Field(1, ge=1)
    # What becomes of several kept ones: their mean is one model, or each is a file and all are an ensemble.
    snapshots: Literal["average", "files"] = "average"
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

    @property
    def cycle_lengths(self) -> list[float]:
        """The share of the training, after the warm-up, that each of `cycles` has."""
        lengths = [1.0] * self.cycles if isinstance(self.cycles, int) else self.cycles
        return [length / sum(lengths) for length in lengths]

    @field_validator("optimizer")
    @classmethod
    def _known(cls, name: str) -> str:
        bare = name.lower().removeprefix(LOOKAHEAD)
        if bare not in OPTIMIZERS:
            hint = f" ({_UNFIT[bare]})" if bare in _UNFIT else close_matches(bare, OPTIMIZERS)
            raise ValueError(f"known are {', '.join(OPTIMIZERS)}{hint}")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Train:
        if len(self.cycle_lengths) > 1 and self.schedule != "cosine":
            raise ValueError("train.cycles above 1 needs train.schedule cosine")
        if self.kept == "cycles" and self.best_k > 1:
            raise ValueError("train.best_k above 1 needs train.kept best; cycles keeps one of each")
        if self.start_without and not self.start:
            raise ValueError("train.start_without needs train.start")
        return self


class TrainingParams(Section):
    """What every project's `params.yaml` holds for the engine; each project adds its own sections."""

    seed: int = Field(0, ge=0)
    train: Train = Train()
    machine: Machine = Machine()
