"""From counts to what a network sees: one object for training and prediction, which a model's record holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hstasks.lenses import params, smoothing
from hstasks.lenses.cutout import constant_corners
from hstasks.lenses.layout import BANDS

Image = NDArray[np.float32]
Smoothing = Literal["none", "gaussian", "guided"]
Normalisation = Literal["none", "zscore", "mad"]

TRAINING_SIGMA = 0.8
"""The published trainer's default width of the Gaussian, in pixels."""

PREDICTION_SIGMA = 1.0
"""The published predictor's default width of the Gaussian, in pixels."""

_EPS = 1e-6
_GAMMA_FLOOR = 1e-6


class Preprocess(Protocol):
    """What both kinds of preprocessing do."""

    kind: ClassVar[str]

    def training(self, image: NDArray[Any], *, seed: int, epoch: int, sample: str, draw: int = 0) -> Image:
        """An image (bands, 41, 41) in counts, changed at random as a function of (seed, epoch, sample, draw)."""

    def prediction(self, image: NDArray[Any]) -> Image:
        """An image (bands, 41, 41) in counts, as the network sees it when it is asked."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, for the model's record; `from_dict` gives it back."""


def preprocess_published(
    image: NDArray[Any],
    *,
    smoothing: Smoothing = "none",
    sigma: float = PREDICTION_SIGMA,
    guided_radius: int = 2,
    guided_eps: float = 1e-2,
    normalise: Normalisation = "zscore",
    clip: float | None = 0.997,
    low_clip: float | None = None,
    pad: int | None = None,
) -> Image:
    """The published preprocessing without its augmentations: smoothing, normalisation, padding; each band by itself.

    Normalisation subtracts the median of the lowest fifth of the pixels, clips at the quantiles `low_clip` and `clip`
    and subtracts and divides by mean and standard deviation (`zscore`) or median and 1.4826 MAD (`mad`).

    Args:
        image: (height, width) or (bands, height, width), finite, in counts.
        smoothing: `gaussian` (cut off at ceil(3 sigma), zeros beyond the borders) or `guided` by itself.
        sigma: of the Gaussian in pixels; the published defaults are `TRAINING_SIGMA` and `PREDICTION_SIGMA`.
        guided_radius: of the guided filter, in pixels.
        guided_eps: of the guided filter, in counts squared; 1e-2 or 1e-3.
        normalise: how; with `none` neither background nor clip are applied.
        clip: quantile above which values are cut; None: they are not.
        low_clip: quantile below which values are cut; None: they are not.
        pad: side in pixels to which zeros are added around; None: none are.

    Raises:
        UserError: a pixel is not finite; the published reader drops such files.
    """
    values = np.asarray(image, np.float64)
    if not np.isfinite(values).all():
        raise UserError(
            "The published preprocessing takes finite pixels only, and this image has NaN or infinite ones: put a "
            "number there, such as 0, the sky."
        )
    planes = values[None] if values.ndim == 2 else values
    planes = _smoothed(planes, smoothing, sigma, guided_radius, guided_eps)
    if normalise != "none":
        planes = np.stack([_normalised(plane, normalise, clip, low_clip) for plane in planes])
    if pad is not None:
        planes = _padded(planes, pad)
    planes = planes[0] if values.ndim == 2 else planes
    return np.ascontiguousarray(planes, np.float32)


def _smoothed(planes: NDArray[np.float64], how: str, sigma: float, radius: int, eps: float) -> NDArray[np.float64]:
    if how == "gaussian":
        return smoothing.gaussian(planes, sigma)
    return smoothing.guided(planes, radius, eps) if how == "guided" else planes


def _normalised(
    plane: NDArray[np.float64], how: Normalisation, clip: float | None, low_clip: float | None
) -> NDArray[np.float64]:
    ordered = np.sort(plane, axis=None)
    plane = plane - np.median(ordered[: max(1, int(0.2 * ordered.size))])
    low = _quantile(plane, low_clip) if low_clip is not None else None
    high = _quantile(plane, clip) if clip is not None else None
    if low is not None or high is not None:
        plane = np.clip(plane, low, high)
    if how == "zscore":
        return np.asarray((plane - plane.mean()) / (plane.std() + _EPS))
    middle = np.median(plane)
    return np.asarray((plane - middle) / (1.4826 * np.median(np.abs(plane - middle)) + _EPS))


def _quantile(plane: NDArray[np.float64], share: float) -> float:
    """A quantile as torch computes it: the rank is rounded to float32, which shows in the fifth digit."""
    ordered = np.sort(plane, axis=None)
    rank = np.float32(share) * np.float32(ordered.size - 1)
    below = int(np.floor(rank))
    above = min(below + 1, ordered.size - 1)
    return float(ordered[below] + (float(rank) - below) * (ordered[above] - ordered[below]))


def _padded(planes: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    height, width = planes.shape[-2:]
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(planes, ((0, 0), (top, side - height - top), (left, side - width - left)))


@dataclass(frozen=True)
class PublishedPreprocess:
    """The published preprocessing; see `hstasks.lenses.params.Published` for its fields."""

    kind: ClassVar[str] = "published"

    smoothing: Smoothing = "gaussian"
    sigma: float = PREDICTION_SIGMA
    prediction_sigma: float | None = None
    guided_radius: int = 2
    guided_eps: float = 1e-2
    normalise: Normalisation = "zscore"
    clip: float | None = 0.997
    low_clip: float | None = None
    pad: int | None = None
    augment: bool = True

    def training(self, image: NDArray[Any], *, seed: int, epoch: int, sample: str, draw: int = 0) -> Image:
        """See `Preprocess.training`: a quarter turn, two flips, noise 0.01 or none, a gamma of 0.8 to 1.2 or none.

        The gamma comes after the z-score and lifts every negative value to 1e-6, as published.
        """
        values: NDArray[Any] = self._prepared(image, self.sigma)
        if not self.augment:
            return values
        chance = generator(seed, epoch, sample, draw)
        values = np.rot90(values, int(chance.integers(4)), axes=(-2, -1))
        for axis in (-1, -2):
            values = np.flip(values, axis) if chance.random() < 0.5 else values
        if chance.random() < 0.5:
            values = values + 0.01 * chance.standard_normal(values.shape)
        if chance.random() < 0.5:
            values = np.maximum(values, _GAMMA_FLOOR) ** chance.uniform(0.8, 1.2)
        return np.ascontiguousarray(values, np.float32)

    def prediction(self, image: NDArray[Any]) -> Image:
        """See `Preprocess.prediction`."""
        return self._prepared(image, self.prediction_sigma or self.sigma)

    def to_dict(self) -> dict[str, Any]:
        """See `Preprocess.to_dict`."""
        return {"kind": self.kind, **asdict(self)}

    def _prepared(self, image: NDArray[Any], sigma: float) -> Image:
        # Where the published reader drops a file, the object stays here: what is missing becomes sky.
        values = np.where(np.isfinite(image), image, np.float32(0.0))
        return preprocess_published(
            values,
            smoothing=self.smoothing,
            sigma=sigma,
            guided_radius=self.guided_radius,
            guided_eps=self.guided_eps,
            normalise=self.normalise,
            clip=self.clip,
            low_clip=self.low_clip,
            pad=self.pad,
        )


@dataclass(frozen=True)
class OurPreprocess:
    """asinh(x / (softening * noise)) with one noise for each band, so that colours stay.

    Pixels that are NaN, infinite or filled with a constant, and missing bands, become 0, the sky.

    Attributes:
        bands: letters of the image's bands.
        noise_counts: standard deviation of the sky of each band in counts, fitted on training, see `fit`.
        softening: multiple of the noise where asinh turns from linear to logarithmic.
        d4, shift, noise, blur: see `hstasks.lenses.params.Ours`.
    """

    kind: ClassVar[str] = "ours"

    bands: str
    noise_counts: tuple[float, ...]
    softening: float = 3.0
    d4: bool = True
    shift: int = 2
    noise: float = 0.2
    blur: float = 0.6

    def training(self, image: NDArray[Any], *, seed: int, epoch: int, sample: str, draw: int = 0) -> Image:
        """See `Preprocess.training`: blur and noise in counts, then a shift and one of the eight turns and flips."""
        chance = generator(seed, epoch, sample, draw)
        values, valid = _sound(image)
        if self.blur > 0.0 and (sigma := chance.uniform(0.0, self.blur)) > 0.1:
            values = smoothing.gaussian(values, sigma)
        if self.noise > 0.0:
            sigma = chance.uniform(0.0, self.noise)
            values = values + sigma * self._scale() * chance.standard_normal(values.shape)
        values = self._stretched(np.where(valid, values, 0.0))
        if self.shift:
            down, right = (int(step) for step in chance.integers(-self.shift, self.shift + 1, 2))
            values = _shifted(values, down, right)
        if self.d4:
            values = np.rot90(values, int(chance.integers(4)), axes=(-2, -1))
            values = np.flip(values, -1) if chance.integers(2) else values
        return np.ascontiguousarray(values, np.float32)

    def prediction(self, image: NDArray[Any]) -> Image:
        """See `Preprocess.prediction`."""
        return np.ascontiguousarray(self._stretched(_sound(image)[0]), np.float32)

    def to_dict(self) -> dict[str, Any]:
        """See `Preprocess.to_dict`."""
        return {"kind": self.kind, **asdict(self), "noise_counts": list(self.noise_counts)}

    def _scale(self) -> NDArray[np.float64]:
        return np.asarray(self.noise_counts, np.float64)[:, None, None]

    def _stretched(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(values) != len(self.bands):
            raise ValueError(f"{len(values)} bands given to a preprocessing of the bands {self.bands}")
        return np.asarray(np.arcsinh(values / (self.softening * self._scale())))


def _sound(image: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The image with sky where nothing was measured, and where something was."""
    valid = np.isfinite(image)
    for plane, good in zip(image, valid, strict=True):
        good &= ~constant_corners(plane)
    return np.where(valid, image, 0.0).astype(np.float64), valid


def _shifted(values: NDArray[np.float64], down: int, right: int) -> NDArray[np.float64]:
    """Moved by whole pixels; what comes in at the borders repeats them."""
    height, width = values.shape[-2:]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return values[:, rows[:, None], columns]


@dataclass
class NoiseFit:
    """Finds the noise of each band: the median over images of 1.4826 times the MAD of the lower half of the pixels.

    The lower half is free of light; its distance from the median is that of all of the sky's pixels.
    """

    _found: list[list[float]] = field(default_factory=list)

    def add(self, image: NDArray[Any]) -> None:
        """Take an image (bands, height, width) of the training part into account."""
        self._found = self._found or [[] for _ in image]
        for plane, known in zip(image, self._found, strict=True):
            pixels = plane[np.isfinite(plane) & ~constant_corners(plane)].astype(np.float64)
            if pixels.size:
                middle = np.median(pixels)
                spread = 1.4826 * float(np.median(middle - pixels[pixels <= middle]))
                known += [spread] if spread > 0.0 else []

    def result(self) -> tuple[float, ...]:
        """The noise of each band in counts; a band that no image has gets that of the others' median.

        Raises:
            UserError: no image had a band with noise.
        """
        medians = [float(np.median(known)) if known else np.nan for known in self._found]
        if not np.isfinite(medians).any():
            raise UserError("No training image has a band with noise: look at the catalog's unreadable.csv.")
        rest = float(np.nanmedian(medians))
        return tuple(found if np.isfinite(found) else rest for found in medians)


def made(section: params.Preprocess, training: Iterable[NDArray[Any]], bands: str = BANDS) -> Preprocess:
    """The preprocessing that the parameters ask for, fitted on the images of the training part alone.

    Args:
        section: of `params.yaml`.
        training: images (bands, 41, 41) in counts; not touched by the published preprocessing.
        bands: letters of the images' bands.

    Raises:
        UserError: no image had noise to measure.
    """
    if section.kind == "published":
        return PublishedPreprocess(**section.published.model_dump())
    fit = NoiseFit()
    for image in training:
        fit.add(image)
    return OurPreprocess(bands=bands, noise_counts=fit.result(), **section.ours.model_dump())


def from_dict(content: Mapping[str, Any]) -> Preprocess:
    """The preprocessing that `to_dict` described.

    Raises:
        UserError: the description is of no kind that is known, or incomplete.
    """
    kinds: dict[Any, Any] = {"ours": OurPreprocess, "published": PublishedPreprocess}
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    kind = fields.pop("kind", None)
    try:
        restored: Preprocess = kinds[kind](**fields)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"The model's record describes a preprocessing of kind {kind!r} that cannot be restored ({error}): "
            "it was made by another version."
        ) from None
    return restored


def generator(seed: int, epoch: int, sample: str, draw: int) -> np.random.Generator:
    """The random numbers of one view of one sample: no other state decides them."""
    name = int.from_bytes(hashlib.blake2b(sample.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng([seed, epoch, name, draw])
