"""Values of predictions: of an image, and their means over images, categories, regions and bands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsdata import region
from hsmodels import score

SCORE = "SSC"
PSNR = "PSNR_dB"


@dataclass(frozen=True)
class Image:
    """A scored image.

    Attributes:
        id: the sample.
        category: its category.
        values: every value of the whole image, the leading one first in importance: SSC, or PSNR for RGB.
        regions: SSC of each region that the image has.
    """

    id: str
    category: int
    values: Mapping[str, float]
    regions: Mapping[str, float] = field(default_factory=dict)


def scored_cube(
    truth: Tensor, prediction: Tensor, wavelengths: NDArray[np.float64]
) -> tuple[dict[str, float], dict[str, float]]:
    """All values of a finished cube, and the SSC of each region that the truth has.

    Args:
        truth: (bands, H, W) reflectance.
        prediction: (bands, H, W) reflectance, on any device; the score is computed there.
        wavelengths: (bands,) nm.
    """
    shown = truth.to(prediction.device)
    masks = region.regions(truth.cpu().numpy(), wavelengths)
    # Not as a mask of all pixels: sums in another order would differ in the last digits from validation's.
    values = score.ssc(shown, prediction, wavelengths=wavelengths)
    by_region = score.ssc_regions(shown, prediction, masks, wavelengths=wavelengths)
    return values, {name: part[SCORE] for name, part in by_region.items()}


def scored_rgb(truth: Tensor, prediction: Tensor) -> dict[str, float]:
    """PSNR in dB of RGB (3, H, W) in [0, 1], at most 120."""
    error = (truth.to(prediction.device) - prediction).double().square().mean()
    return {PSNR: float(-10.0 * torch.log10(error.clamp_min(1e-12)))}


class Tally:
    """Values of images as they come.

    Args:
        leading: the value that categories are compared by.
    """

    def __init__(self, leading: str = SCORE):
        self.leading = leading
        self.images: list[Image] = []

    def add(self, image: Image) -> None:
        """Count an image."""
        self.images.append(image)

    def table(self) -> pd.DataFrame:
        """A row an image; a region that an image has not got is left empty."""
        return pd.DataFrame(
            [
                {"id": image.id, "category": image.category, **image.values}
                | {f"{SCORE}_{name}": value for name, value in image.regions.items()}
                for image in self.images
            ]
        )

    def metrics(self) -> dict[str, Any]:
        """The mean over the images of each image's value over all its pixels.

        A category's is over its images, a region's over the images that have it, the region of an image
        scored by itself.
        """
        categories: dict[str, list[float]] = defaultdict(list)
        regions: dict[str, list[float]] = defaultdict(list)
        for image in self.images:
            categories[str(image.category)].append(image.values[self.leading])
            for name, value in image.regions.items():
                regions[name].append(value)
        found: dict[str, Any] = {
            **{name: mean([image.values[name] for image in self.images]) for name in self.images[0].values},
            "images": len(self.images),
            "category": {
                name: {self.leading: mean(values), "images": len(values)} for name, values in sorted(categories.items())
            },
        }
        if regions:
            found["region"] = {name: {SCORE: mean(values)} for name, values in sorted(regions.items())}
        return found


class BandErrors:
    """Errors of each band over the pixels of all images.

    Args:
        wavelengths: (bands,) nm.
    """

    def __init__(self, wavelengths: NDArray[np.float64]):
        self._wavelengths = wavelengths
        self._pixels = 0
        # Rows: sums of the error, its magnitude and its square.
        self._sums = torch.zeros((3, len(wavelengths)), dtype=torch.float64)

    def add(self, truth: Tensor, prediction: Tensor) -> None:
        """Count an image: (bands, H, W) each."""
        self._pixels += truth[0].numel()
        for band, (true, predicted) in enumerate(zip(truth.to(prediction.device), prediction, strict=True)):
            error = (predicted - true).double()
            self._sums[:, band] += torch.stack([error.sum(), error.abs().sum(), error.square().sum()]).cpu()

    def table(self) -> pd.DataFrame:
        """Root mean squared error, mean absolute error and bias in reflectance, a row a band."""
        bias, absolute, square = (self._sums / self._pixels).numpy()
        return pd.DataFrame({"wavelength": self._wavelengths, "RMSE": np.sqrt(square), "MAE": absolute, "bias": bias})


def mean(values: Sequence[float]) -> float:
    """The mean in double precision."""
    return float(np.mean(values))
