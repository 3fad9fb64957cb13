"""What a network sees of an image and how training samples are changed, as `params.yaml` says it; without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hsengine.base.params import Section

Probability = float


class Fit(Section):
    """How images come to the network's size: resized to a square first, then padded to one."""

    # Side after resizing, in pixels; none: as it is.
    resize: int | None = Field(None, ge=1)
    # Side after padding, in pixels, as much on each side (the odd pixel below and right); none: not padded.
    pad: int | None = Field(None, ge=1)
    border: Literal["edge", "reflect", "zero"] = "reflect"

    @model_validator(mode="after")
    def _grows(self) -> Fit:
        if self.resize is not None and self.pad is not None and self.pad < self.resize:
            raise ValueError(f"pad {self.pad} is smaller than resize {self.resize}")
        return self


class Input(Section):
    """What a network sees of an image."""

    # grey: the mean of the channels; as_is: all of them.
    channels: Literal["as_is", "grey"] = "as_is"
    # Of each channel, or one for all, in units of white; subtracted, and divided by.
    mean: list[float] = Field(default_factory=lambda: [0.0], min_length=1)
    std: list[float] = Field(default_factory=lambda: [1.0], min_length=1)
    fit: Fit = Fit()

    @property
    def planes(self) -> int:
        """Channels that the network sees of a picture of three."""
        return 1 if self.channels == "grey" else 3


class Affine(Section):
    """A random affine map about the centre, drawn uniformly from the ranges; bilinear, the mask by nearest pixel."""

    p: Probability = Field(1.0, ge=0.0, le=1.0)
    # Of each side's length, either way.
    shift: float = Field(0.0, ge=0.0, le=1.0)
    # Enlarged by a factor in [1 - scale, 1 + scale].
    scale: float = Field(0.0, ge=0.0, lt=1.0)
    # Degrees, either way.
    rotate: float = Field(0.0, ge=0.0, le=180.0)
    # Sideways displacement by height, either way: 0.07 is 7 %.
    shear: float = Field(0.0, ge=0.0, le=1.0)
    # What is seen beyond the image.
    border: Literal["zero", "edge", "reflect"] = "zero"
    # Whether what is seen there counts as valid.
    border_valid: bool = True


class Light(Section):
    """Contrast and brightness together: image · (1 + c) + b with c and b drawn uniformly, either way."""

    p: Probability = Field(0.0, ge=0.0, le=1.0)
    brightness: float = Field(0.2, ge=0.0, le=1.0)
    contrast: float = Field(0.2, ge=0.0, le=1.0)


class Noise(Section):
    """Gaussian noise, independent by pixel and channel."""

    p: Probability = Field(0.0, ge=0.0, le=1.0)
    # Standard deviation, drawn uniformly up to this.
    sigma: float = Field(0.05, ge=0.0)


class Augment(Section):
    """How training samples are changed, in the order of the fields."""

    # Side of a random window in pixels; none: whole images.
    crop: int | None = Field(None, ge=1)
    hflip: Probability = Field(0.0, ge=0.0, le=1.0)
    vflip: Probability = Field(0.0, ge=0.0, le=1.0)
    # By 0, 90, 180 or 270 degrees, each as likely.
    rot90: Probability = Field(0.0, ge=0.0, le=1.0)
    # One of the eight flips and turns, each as likely.
    dihedral: Probability = Field(0.0, ge=0.0, le=1.0)
    # One after the other.
    affine: list[Affine] = Field(default_factory=list)
    light: Light = Light()
    noise: Noise = Noise()
    # Values that light and noise lead out of [0, 1] are cut.
    clip: bool = True
