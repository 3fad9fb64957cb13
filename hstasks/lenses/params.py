"""The sections of `params.yaml` that the stages on lenses read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hsengine.base.params import Section
from hsengine.base.settings import TrainingParams


class Data(Section):
    """Where the raw files are."""

    # Holds the four labelled folders.
    root: str = "data"
    # The folder of objects without labels, relative to the root; None: there is none.
    blind: str | None = "test"


class Catalog(Section):
    """Which objects show the same piece of sky."""

    # Two sides of a cut-out: neighbours share light, seeing and frame even where the pixels end.
    sky_arcsec: float = Field(16.4, gt=0.0, le=3600.0)


class Convert(Section):
    """How cut-outs are stored for training."""

    # Objects of one file of the store.
    shard: int = Field(512, ge=1, le=65536)


class Split(Section):
    """Which labelled objects are trained on, validated on and tested on; one split serves all members of an ensemble.

    `grouped` keeps all bands of an object, all objects of one place in the sky and of one host together;
    `published` deals out single files, as the published system does, for comparison only; `file` reads `path`.
    """

    strategy: Literal["grouped", "published", "file"] = "grouped"
    seed: int = Field(0, ge=0)
    val: float = Field(0.15, gt=0.0, lt=1.0)
    test: float = Field(0.15, gt=0.0, lt=1.0)
    # With `file`: a table with the columns id and part (train, val or test).
    path: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Split:
        if self.val + self.test >= 1.0:
            raise ValueError("split.val and split.test leave nothing to train on: their sum must be below 1")
        if self.strategy == "file" and not self.path:
            raise ValueError("split.path must name a table of ids when split.strategy is 'file'")
        return self


class Published(Section):
    """The published preprocessing, which sees one band at a time."""

    smoothing: Literal["none", "gaussian", "guided"] = "gaussian"
    # Of the Gaussian, in pixels. The published trainer's default is 0.8, its predictor's 1.0.
    sigma: float = Field(1.0, gt=0.0, le=10.0)
    # None: as in training, which is what a model expects.
    prediction_sigma: float | None = Field(None, gt=0.0, le=10.0)
    guided_radius: int = Field(2, ge=1, le=20)
    guided_eps: float = Field(1e-2, gt=0.0)
    normalise: Literal["none", "zscore", "mad"] = "zscore"
    clip: float | None = Field(0.997, gt=0.0, le=1.0)
    low_clip: float | None = Field(None, ge=0.0, lt=1.0)
    # Side in pixels after padding with zeros; None: unpadded.
    pad: int | None = Field(None, ge=41)
    augment: bool = True


class Ours(Section):
    """asinh(x / (softening * noise of the band)), all bands of an object together."""

    softening: float = Field(3.0, gt=0.0)
    d4: bool = True
    # Largest shift along each axis, in pixels.
    shift: int = Field(2, ge=0, le=10)
    # Largest sigma of added noise, in units of the band's noise.
    noise: float = Field(0.2, ge=0.0, le=5.0)
    # Largest sigma of an added blur, in pixels, one for all bands of an object.
    blur: float = Field(0.6, ge=0.0, le=5.0)


class Preprocess(Section):
    """How images become what a network sees, in training and in prediction."""

    kind: Literal["ours", "published"] = "ours"
    ours: Ours = Ours()
    published: Published = Published()


class Ensemble(Section):
    """How the members' scores become one, and that one a decision."""

    mean: Literal["probability", "logit"] = "probability"
    # Divide logits by a temperature that is fitted on validation.
    temperature: bool = False


class Submission(Section):
    """The table that is handed in."""

    # 32 columns, or the variant of 41.
    columns: Literal["standard", "extended"] = "standard"
    # A model's folder that was trained with `target: parameters`, for the columns of the lenses; None: none is.
    parameters: str | None = None
    # What stands where nothing is predicted.
    filler: Literal[-999, -99] = -999
    # The class of objects of which no band can be read; None: refuse and name them.
    unscored: Literal[0, 1] | None = None


class LensSections(TrainingParams):
    """The sections of the data stages; the models' sections are added to it."""

    data: Data = Data()
    catalog: Catalog = Catalog()
    convert: Convert = Convert()
    split: Split = Split()
    preprocess: Preprocess = Preprocess()
    ensemble: Ensemble = Ensemble()
    submission: Submission = Submission()


class Input(Section):
    """Which bands a network sees."""

    # Letters of the bands, in the order g r i z y.
    bands: str = "grizy"
    # All bands of an object are one sample's channels; otherwise each band's image is a sample, as published.
    together: bool = True

    @field_validator("bands")
    @classmethod
    def _ordered(cls, value: str) -> str:
        if not value or value != "".join(band for band in "grizy" if band in value):
            raise ValueError("it can hold each of g, r, i, z and y once, in this order, such as 'gri'")
        return value


class Take(Section):
    """Shares of the training objects that are learned from; which they are follows from their groups alone."""

    slsim: float = Field(1.0, ge=0.0, le=1.0)
    hsc: float = Field(1.0, ge=0.0, le=1.0)


class Regress(Section):
    """What is learned with `target: parameters`."""

    # Columns of the submission; null: all that are known of the training lenses.
    columns: list[str] | None = None


class Predict(Section):
    """How trained models are applied, the same in evaluation, submission and prediction."""

    checkpoint: Literal["best", "last"] = "best"
    # The mean over the eight turns and flips.
    d4: bool = True
    # Images that a network sees at once.
    batch: int = Field(256, ge=1)
    # Further model folders, of other seeds and the same split: an ensemble.
    models: list[str] = Field(default_factory=list)


class Evaluate(Section):
    """How sure the measures are said to be."""

    # Draws of the bootstrap; 0: no intervals.
    resamples: int = Field(200, ge=0)


class Leak(Section):
    """How `hstasks leak` trains: briefly, on images as they are."""

    # Training objects whose files are learned from.
    objects: int = Field(240, ge=2)
    # Of each training.
    updates: int = Field(150, ge=1)
    # How often the files that are measured are drawn.
    draws: int = Field(2, ge=1)
    # The first learning rate; it falls to 0.
    lr: float = Field(2e-3, gt=0.0)


class Params(LensSections):
    """Everything in `params.yaml`."""

    challenge: Literal["lenses"] = "lenses"
    # What is learned: whether an object is a lens, or the parameters of lenses.
    target: Literal["class", "parameters"] = "class"
    regress: Regress = Regress()
    # A network of `hstasks.networks` that gives classes.
    model: str = "cnn_small"
    # Its parameters, by its name, where they differ from the defaults.
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    input: Input = Input()
    take: Take = Take()
    # Beta(mixup, mixup) draws the share of a sample that is mixed with another; 0: none is.
    mixup: float = Field(0.0, ge=0.0, le=10.0)
    predict: Predict = Predict()
    evaluate: Evaluate = Evaluate()
    leak: Leak = Leak()
