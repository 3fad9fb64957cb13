"""Everything in `params.yaml` of the land cover challenge."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from hsengine.base.params import Section
from hsengine.base.settings import TrainingParams
from hstasks.images.settings import Augment, Fit, Input, Light
from hstasks.landcover.sampling import DIFFICULTY, RARE


class Data(Section):
    """Where the files are, and what of them is seen."""

    root: str = "data"
    # The first so many bands; none: all.
    bands: int | None = Field(3, ge=1)
    # The value of the target's images that counts as white; none: that of their type, 1 for floating point.
    white: float | None = Field(None, gt=0.0)
    unsound: Literal["refuse", "drop"] = "refuse"


class Split(Section):
    """Which tiles are for training, for validation, for the test."""

    # blocked: strips of ground, with a gap; site: whole sites; random: tile by tile, as published, which leaks where
    # tiles overlap.
    strategy: Literal["blocked", "site", "random"] = "blocked"
    folds: int = Field(5, ge=2)
    # Validation.
    fold: int = Field(0, ge=0)
    # The test: a fold, and whole sites; without either there is none.
    test_fold: int | None = Field(None, ge=0)
    test_sites: list[str] = Field(default_factory=list)
    # How far training keeps from other ground, in the unit of the footprints; none: a tile's side.
    gap: float | None = Field(None, ge=0.0)
    seed: int = Field(42, ge=0)

    @model_validator(mode="after")
    def _known(self) -> Split:
        for name, number in (("fold", self.fold), ("test_fold", self.test_fold)):
            if number is not None and number >= self.folds:
                raise ValueError(f"split.{name} {number} does not exist: folds are numbered 0 to {self.folds - 1}")
        if self.fold == self.test_fold:
            raise ValueError(f"split.fold and split.test_fold are both {self.fold}: validation is not the test")
        return self


class Replicas(Section):
    """Training tiles that are seen more than once."""

    # Further copies of a tile that qualifies; 0: none.
    copies: int = Field(0, ge=0)
    # Least share of a minority class among a tile's pixels with truth.
    share: float = Field(0.05, gt=0.0, le=1.0)
    classes: list[int] = Field(default_factory=lambda: list(RARE))


class Draws(Section):
    """How often each training tile is drawn."""

    kind: Literal["uniform", "difficulty", "class_balanced", "rare_class", "hardness_richness"] = "uniform"
    # The folder of the model whose losses say how hard a tile is: for `difficulty` and `hardness_richness`.
    model: str | None = None
    # What the hardest tile weighs above the easiest.
    strength: float = Field(DIFFICULTY, ge=0.0)
    # Of `class_balanced`.
    scale: float = Field(0.25, gt=0.0)
    # Of `rare_class`.
    temperature: float = Field(0.1, gt=0.0)

    @model_validator(mode="after")
    def _complete(self) -> Draws:
        if self.kind in ("difficulty", "hardness_richness") and self.model is None:
            raise ValueError(f"draws.kind '{self.kind}' needs draws.model, the folder of the model that finds it hard")
        return self


class Crops(Section):
    """Which window of a tile is learned from."""

    # uniform: any; published: no class with 75 % or more; meant: and a minority class with over 3 %; around: one that
    # holds a pixel of a class drawn evenly among those of the tile.
    rule: Literal["uniform", "published", "meant", "around"] = "uniform"
    # Side in pixels; none: the whole tile.
    size: int | None = Field(None, ge=8)
    tries: int = Field(11, ge=1)

    @model_validator(mode="after")
    def _sized(self) -> Crops:
        if self.rule != "uniform" and self.size is None:
            raise ValueError(f"crops.rule '{self.rule}' needs crops.size, the side of the window")
        return self


class OEM(Section):
    """OpenEarthMap: what of it is used, and as what."""

    # by_name (published), measured, possible (sets of classes), or the path of a table.
    table: str = "by_name"
    # A tile with more of it built is not rural, and left out.
    built: float = Field(0.5, ge=0.0, le=1.0)
    # Share of the regions that a teacher is measured on; at least one.
    held_out: float = Field(0.2, gt=0.0, lt=1.0)
    # Share of the draws that are of it, in a training that uses it; 0: none.
    share: float = Field(0.0, ge=0.0, lt=1.0)


class Distillation(Section):
    """What a teacher of OpenEarthMap's nine classes adds."""

    # The folder of the teacher; none: no distillation.
    teacher: str | None = None
    weight: float = Field(0.3, gt=0.0, lt=1.0)
    temperature: float = Field(2.0, gt=0.0)
    # For each of the teacher's nine classes, how it is shared among the six; none: the published shares.
    mapping: list[list[float]] | None = None


class Model(Section):
    """The network."""

    network: str = "unet_small"
    encoder: str | None = None
    # random, pretrained, or the path of a file of weights.
    weights: str = "random"
    # The encoder's learning rate relative to the rest's.
    encoder_rate: float = Field(1.0, ge=0.0, le=1.0)
    options: dict[str, Any] = Field(default_factory=dict)


class Stage(Section):
    """One training: what it adds to another."""

    like: str | None = None
    # Parameters of this file, by dotted key.
    set: dict[str, Any] = Field(default_factory=dict)


class Predict(Section):
    """How trained models are applied to tiles and scenes."""

    checkpoint: Literal["best", "last"] = "best"
    # Mean over the eight flips and turns.
    views: bool = False
    # Side of a window, a multiple of 8; none: 512.
    window: int | None = Field(None, ge=16, multiple_of=8)
    batch: int = Field(16, ge=1)


class Evaluate(Section):
    """How predictions are scored."""

    # Pixels within which an error is near a class seam.
    seam: float = Field(4.0, gt=0.0)


class Leak(Section):
    """How `hstasks leak` trains: briefly, on tiles as they are."""

    # Of each training.
    updates: int = Field(75, ge=1)
    # How often the tiles that are measured are drawn: many short trainings tell more than few long ones.
    draws: int = Field(6, ge=1)
    # The first learning rate; it falls to 0.
    lr: float = Field(8e-3, gt=0.0)


class Test(Section):
    """The test, which is made once."""

    # Why another model is tested; none: it is refused.
    reason: str | None = None


class Params(TrainingParams):
    """Everything in `params.yaml`."""

    tables: ClassVar[tuple[str, ...]] = ("loss", "model.options", "stages")

    challenge: Literal["landcover"] = "landcover"
    data: Data = Data()
    split: Split = Split()
    # The classes that are learned: the target's six, or OpenEarthMap's nine, as a teacher does.
    learns: Literal["target", "oem"] = "target"
    model: Model = Model()
    input: Input = Input(mean=[0.3], std=[0.2], fit=Fit())
    # Whether mean and std of each band are measured on the training tiles, instead of those of `input`.
    standardise: bool = False
    augment: Augment = Augment(hflip=0.5, vflip=0.5, light=Light(p=0.5, brightness=0.1, contrast=0.25), clip=False)
    loss: str | dict[str, float] = "cross_entropy"
    smoothing: float = Field(0.05, ge=0.0, lt=1.0)
    # In cross_entropy a class weighs its share of the training tiles to the power of minus this; 0: all alike.
    balance: float = Field(0.0, ge=0.0, le=1.0)
    auxiliary: float = Field(0.0, ge=0.0)
    replicas: Replicas = Replicas()
    draws: Draws = Draws()
    crops: Crops = Crops()
    oem: OEM = OEM()
    distillation: Distillation = Distillation()
    # Which of `stages` is trained, evaluated, tested; none: the parameters as they stand.
    stage: str | None = None
    stages: dict[str, Stage] = Field(default_factory=dict)
    predict: Predict = Predict()
    evaluate: Evaluate = Evaluate()
    leak: Leak = Leak()
    test: Test = Test()

    @field_validator("augment")
    @classmethod
    def _crops_elsewhere(cls, given: Augment) -> Augment:
        if given.crop is not None:
            raise ValueError("augment.crop: the window is set by crops.size here; leave this null")
        return given
