"""The sections of `params.yaml` that the data stages of the salt challenge read."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from hsengine.base.params import Section
from hsengine.base.settings import TrainingParams
from hstasks.images.settings import Augment, Fit, Input
from hstasks.images.split import Split as ImageSplit


class Data(Section):
    """Where the competition's files are."""

    root: str = "data"


class Catalog(Section):
    """What happens to tiles that cannot be used, and what is called odd."""

    unsound: Literal["refuse", "drop"] = "refuse"
    # A mask of salt with at most this many pixels is listed as tiny.
    tiny: int = Field(20, ge=0)


class Mosaic(Section):
    """When two tiles count as neighbours."""

    # Largest distance of two borders of 101 pixels, each of mean 0 and standard deviation 1.
    distance: float = Field(10.0, gt=0.0)
    # Least 1 - d1 / d2, by how much the nearest border is nearer than the second nearest.
    contrast: float = Field(0.25, ge=0.0, lt=1.0)


class Split(ImageSplit):
    """Which tiles are held out; groups are mosaics."""

    # What is spread evenly: the eleven classes of coverage, tenths of depth, or nothing.
    stratify: Literal["coverage", "depth", "none"] = "coverage"


class DataParams(TrainingParams):
    """What the data stages read; the models' sections are added to it."""

    data: Data = Data()
    catalog: Catalog = Catalog()
    mosaic: Mosaic = Mosaic()
    split: Split = Split()


class Model(Section):
    """The network of masks."""

    # None: unet_small, or unet where an encoder is named.
    network: str | None = None
    # An encoder of timm, for the networks that have one.
    encoder: str | None = None
    # random, pretrained, or the path of a file of weights.
    weights: str = "random"
    # The encoder's learning rate relative to the rest's; 0 leaves it as it is.
    encoder_rate: float = Field(1.0, ge=0.0, le=1.0)
    # Further parameters of the network.
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """The network's name in `hstasks.networks`."""
        return self.network or ("unet_small" if self.encoder is None else "unet")


class Predict(Section):
    """How trained models are applied, the same in evaluation, submission and prediction."""

    checkpoint: Literal["best", "last"] = "best"
    # The mirror image, left for right, too.
    flip: bool = True
    batch: int = Field(32, ge=1)
    # Further model folders, of other folds or seeds: an ensemble, for the test tiles only.
    models: list[str] = Field(default_factory=list)


class Postprocess(Section):
    """From probabilities to a mask; each rule is measured out of fold by `evaluate`."""

    # Salt is above it; fitted: on held-out tiles other than those it is then measured on.
    threshold: float | Literal["fitted"] = "fitted"
    # A tile whose probability of holding any salt is below it is empty.
    gate: Annotated[float, Field(ge=0.0, le=1.0)] | Literal["fitted"] = "fitted"
    # Masks with fewer pixels are empty.
    least: Annotated[int, Field(ge=0)] | Literal["fitted"] = "fitted"
    # Components with fewer pixels go; 0: none.
    component: int = Field(0, ge=0)
    # Holes are filled.
    fill: bool = False
    # A tile that is all salt is empty: no training mask is full.
    full_to_empty: bool = True
    # An all-black tile is empty.
    black_to_empty: bool = True
    # Test tiles under a labelled tile that is vertical repeat its last row; under a cap they are empty.
    mosaic: bool = False

    @field_validator("threshold")
    @classmethod
    def _share(cls, value: float | str) -> float | str:
        if isinstance(value, float) and not 0.0 < value < 1.0:
            raise ValueError("it can be 'fitted' or a number between 0 and 1")
        return value


class Pseudo(Section):
    """Confident predictions of test tiles as labels to learn from."""

    # Folders of models that held out the same fold; none: no pseudo-labels.
    models: list[str] = Field(default_factory=list)
    # Least share of pixels whose probability is below 0.2 or above 0.8.
    confidence: float = Field(0.97, ge=0.0, le=1.0)
    # The same for masks of 20 to 500 pixels; smaller ones are never taken.
    confidence_small: float = Field(0.99, ge=0.0, le=1.0)
    # Masks that cover this share of a tile or more are not taken.
    most: float = Field(0.9, gt=0.0, le=1.0)


class Evaluate(Section):
    """What is drawn beside the scores."""

    pictures: int = Field(6, ge=0)


class Params(DataParams):
    """Everything in `params.yaml`."""

    tables: ClassVar[tuple[str, ...]] = ("loss", "model.options")

    challenge: Literal["salt"] = "salt"
    model: Model = Model()
    input: Input = Input(channels="grey", mean=[0.47], std=[0.16], fit=Fit(pad=104))
    augment: Augment = Augment(hflip=0.5)
    # A loss by name, or weights of several.
    loss: str | dict[str, float] = "bce_dice"
    # Weights of the coarser levels' logits and of the presence head, for networks that have them.
    auxiliary: float = Field(0.0, ge=0.0)
    presence: float = Field(0.0, ge=0.0)
    pseudo: Pseudo = Pseudo()
    predict: Predict = Predict()
    postprocess: Postprocess = Postprocess()
    evaluate: Evaluate = Evaluate()
