"""The sections of `params.yaml` of the biomass challenge."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from hsengine.base.params import Section
from hsengine.base.settings import TrainingParams
from hstasks.images.settings import Augment

Column = Literal[
    "ndvi",
    "height",
    "log_height",
    "date",
    "season",
    "state",
    "species",
    "state_code",
    "species_code",
    "fractal",
    "wavelet",
]
Strategy = Literal["image", "group", "state"]
Base = Literal["none", "colour_ridge"]


class Data(Section):
    """Where the competition's files are."""

    root: str = "data"


class Catalog(Section):
    """What happens to images that cannot be used, and what is called odd."""

    unsound: Literal["refuse", "drop"] = "refuse"
    # Grams by which an identity of the labels may be off before it is listed.
    tolerance: float = Field(0.01, ge=0.0)
    # Bits of 128 by which two looks may differ and still be near-duplicates.
    near: int = Field(6, ge=0, le=32)


class Split(Section):
    """Which images are held out."""

    # image: as published; group: whole (state, date) groups; state: each fold is a state.
    strategy: Strategy = "group"
    # By image and by group; by state there are as many as states.
    folds: int = Field(5, ge=2)
    fold: int = Field(0, ge=0)
    seed: int = Field(42, ge=0)

    @model_validator(mode="after")
    def _complete(self) -> Split:
        if self.strategy != "state" and self.fold >= self.folds:
            raise ValueError(f"split.fold {self.fold} does not exist: folds are numbered 0 to {self.folds - 1}")
        return self


class DataParams(TrainingParams):
    """What the data stages read; the models' sections are added to it."""

    data: Data = Data()
    catalog: Catalog = Catalog()
    split: Split = Split()


class Model(Section):
    """The network of grams."""

    # random, pretrained, or the path of a file of weights.
    weights: str = "pretrained"
    # The backbone's learning rate relative to the rest's; 0 freezes it.
    backbone_rate: float = Field(1.0, ge=0.0, le=1.0)
    # three: green, dead and clover, all else derived; five: free outputs, as published.
    components: Literal["three", "five"] = "three"
    # Width (0: one linear layer) and dropout of the head without fusion.
    hidden: int = Field(256, ge=0)
    dropout: float = Field(0.2, ge=0.0, lt=1.0)
    # Further parameters of the fusion, such as num_latents, num_layers, num_heads.
    options: dict[str, Any] = Field(default_factory=dict)
    # What is predicted beside grams, and the weight of its loss.
    auxiliary: dict[Literal["ndvi", "height", "state", "species"], float] = Field(default_factory=dict)
    # The closed form that the network corrects; one that a test without metadata allows.
    residual: Base = "none"


class Input(Section):
    """What the network sees of a picture."""

    # whole: one view; halves: left and right; tiles: 2 rows of `tiles` / 2 columns.
    views: Literal["whole", "halves", "tiles"] = "halves"
    tiles: int = Field(8, ge=2)
    # Side of a view in pixels.
    size: int = Field(352, ge=8)
    # The burnt-in date is painted over with the picture's mean colour.
    mask_dates: bool = True
    mean: list[float] = Field(default_factory=lambda: [0.485, 0.456, 0.406], min_length=3, max_length=3)
    std: list[float] = Field(default_factory=lambda: [0.229, 0.224, 0.225], min_length=3, max_length=3)

    @field_validator("tiles")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("tiles stand in two rows: give an even number")
        return value


class Colour(Section):
    """Another light, drawn uniformly either way; what differs between days and cameras."""

    p: float = Field(0.0, ge=0.0, le=1.0)
    # Degrees of hue; factors of saturation and value.
    hue: float = Field(0.0, ge=0.0, le=180.0)
    saturation: float = Field(0.0, ge=0.0, le=1.0)
    value: float = Field(0.0, ge=0.0, le=1.0)
    # Added to each channel by itself, white as 1.
    tint: float = Field(0.0, ge=0.0, le=1.0)


class Blur(Section):
    """A Gaussian whose kernel has an odd number of pixels within these."""

    p: float = Field(0.0, ge=0.0, le=1.0)
    sizes: list[int] = Field(default_factory=lambda: [3, 9], min_length=2, max_length=2)

    @field_validator("sizes")
    @classmethod
    def _ordered(cls, value: list[int]) -> list[int]:
        if not 1 <= value[0] | 1 <= value[1]:
            raise ValueError("sizes: give two numbers with an odd one between them, such as [3, 9]")
        return value


class Window(Section):
    """A random part of the picture enlarged to all of it: its share of the area, its ratio of sides to the whole's."""

    p: float = Field(0.0, ge=0.0, le=1.0)
    scale: list[float] = Field(default_factory=lambda: [0.5, 1.0], min_length=2, max_length=2)
    ratio: list[float] = Field(default_factory=lambda: [0.8, 1.2], min_length=2, max_length=2)

    @model_validator(mode="after")
    def _sound(self) -> Window:
        if not (0 < self.scale[0] <= self.scale[1] <= 1.0 and 0 < self.ratio[0] <= self.ratio[1]):
            raise ValueError("give rising numbers above 0, of scale up to 1")
        return self


class RandAugment(Section):
    """So many changes of the published fourteen, of one magnitude out of 30."""

    ops: int = Field(0, ge=0)
    magnitude: int = Field(9, ge=0, le=30)


class Changes(Augment):
    """How training pictures are changed."""

    colour: Colour = Colour()
    blur: Blur = Blur()
    window: Window = Window()
    randaugment: RandAugment = RandAugment()


class Metadata(Section):
    """What is known of a picture beside it."""

    columns: list[Column] = ["ndvi", "log_height", "season", "state", "species"]
    # Where it is not known, as for the test: the training images' means, or a ridge's guess from the picture.
    missing: Literal["mean", "predicted"] = "mean"
    # Share of training images whose metadata are treated as missing.
    dropout: float = Field(0.0, ge=0.0, le=1.0)


class Loss(Section):
    """What is minimised."""

    kind: Literal["l1", "squared", "huber", "quantile", "focal", "gaussian_nll", "r2"] = "r2"
    # Of huber in grams; none: the 0.9-quantile of |y - median| of the training images.
    beta: float | None = Field(None, gt=0.0)
    q: float = Field(0.5, gt=0.0, lt=1.0)
    # metric: as the competition weighs the targets; equal: all alike; spread: each by one over its variance, so that
    # a small target is learnt as well as a large one.
    weights: Literal["metric", "equal", "spread"] = "metric"
    # Beta(α, α) of mixup; 0: none.
    mixup: float = Field(0.0, ge=0.0)


class Stage(Section):
    """A stage of the curriculum: the images of some complexity and total, for some epochs."""

    complexity: list[float] = Field(default_factory=lambda: [0.0, 1e9], min_length=2, max_length=2)
    total: list[float] = Field(default_factory=lambda: [0.0, 1e9], min_length=2, max_length=2)
    epochs: int = Field(0, ge=0)


class Curriculum(Section):
    """Which training images an epoch visits, where `train.sampling` is `task`."""

    # published: box dimension and grams by fixed ranges; ranks: from the easiest third to all, by the rank of the
    # error of the colour ridge.
    kind: Literal["published", "ranks"] = "published"
    stages: list[Stage] = Field(
        default_factory=lambda: [
            Stage(complexity=[0.0, 1.4], total=[0.0, 150.0], epochs=5),
            Stage(complexity=[1.3, 1.6], total=[150.0, 350.0], epochs=5),
            Stage(complexity=[1.5, 2.1], total=[350.0, 1000.0], epochs=5),
        ],
        min_length=1,
    )


class Predict(Section):
    """How trained models are applied, the same in evaluation, submission and prediction."""

    checkpoint: Literal["best", "last"] = "best"
    # Also the pictures flipped left for right, upside down, and both.
    flips: bool = True
    # Also so many windows of this share of the area, at places that follow from the image's name.
    crops: int = Field(0, ge=0)
    crop_scale: float = Field(0.7, gt=0.0, le=1.0)
    # Also the picture cut into other views.
    layouts: list[Literal["whole", "halves", "tiles"]] = Field(default_factory=list)
    # So many passes with the network's dropout at work instead of one without (Gal and Ghahramani 2016).
    dropout_passes: int = Field(0, ge=0)
    # How all of these become one.
    combine: Literal["mean", "median", "geometric"] = "mean"
    batch: int = Field(16, ge=1)
    # projection: nearest row that keeps the identities; published: the published rule; none.
    repair: Literal["projection", "published", "none"] = "projection"
    # Further model folders, of other folds or seeds: an ensemble, for the test images only.
    models: list[str] = Field(default_factory=list)


class Pseudo(Section):
    """Predictions of test images that become labels to learn from."""

    # Folders of models that held out what this split and fold hold out; none: no such labels.
    models: list[str] = Field(default_factory=list)
    # Grams by which the models and views of an image may differ, as a standard deviation of the total, and the share
    # of the total that it may be.
    grams: float = Field(5.0, gt=0.0)
    share: float = Field(0.25, gt=0.0)


class Frozen(Section):
    """The closed form on frozen features that `hstasks baselines` shows: of a network, or of a file of them."""

    # Any of timm that ends in a pooled vector; none: no such form, unless there is a file.
    backbone: str | None = None
    weights: str = "pretrained"
    # A .npz with image_path (n,) and features (n, D).
    file: str | None = None
    input: Input = Input(size=224)


class Stack(Section):
    """What `hstasks stack` weighs against each other."""

    # Folders that `hstasks folds` wrote; the closed forms are those that a test without metadata allows.
    members: list[str] = Field(default_factory=list)
    forms: list[Literal["means", "colour_ridge"]] = Field(default_factory=list)


class Params(DataParams):
    """Everything in `params.yaml`."""

    tables: ClassVar[tuple[str, ...]] = ("model.options", "model.auxiliary")

    challenge: Literal["biomass"] = "biomass"
    # Any of timm that ends in a pooled vector, or bag17, bag17_wide: means of small patches.
    backbone: str = "efficientnet_b3"
    fusion: Literal["none", "mlp", "perceiver"] = "none"
    model: Model = Model()
    input: Input = Input()
    augment: Changes = Changes(hflip=0.5, vflip=0.5)
    metadata: Metadata = Metadata()
    loss: Loss = Loss()
    curriculum: Curriculum = Curriculum()
    pseudo: Pseudo = Pseudo()
    predict: Predict = Predict()
    frozen: Frozen = Frozen()
    stack: Stack = Stack()
