"""The hyperspectral cube: reflectance values with the wavelengths of their bands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hsengine.base.errors import UserError

BAND_GRID: NDArray[np.float64] = np.arange(400.0, 1001.0, 10.0)
"""The challenge's band centres in nm, shape (61,)."""
BAND_GRID.flags.writeable = False


@dataclass(frozen=True, eq=False)
class Cube:
    """A hyperspectral image.

    Attributes:
        values: (bands, height, width) float32, reflectance nominally in [0, 1].
        wavelengths: (bands,) float64, band centres in nm.
        source: where the cube came from (a file or a sample id), for messages and records.
        mask: (height, width) bool, True where the pixel is valid; None means all are.
    """

    values: NDArray[np.float32]
    wavelengths: NDArray[np.float64]
    source: str = "cube"
    mask: NDArray[np.bool_] | None = field(default=None)

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float32)
        wavelengths = np.asarray(self.wavelengths, dtype=np.float64).reshape(-1)
        if values.ndim != 3:
            raise UserError(f"{self.source}: a cube has 3 axes (bands, height, width), not shape {values.shape}.")
        if 0 in values.shape:
            raise UserError(f"{self.source} is empty: its shape is {values.shape} (bands, height, width).")
        if len(wavelengths) != values.shape[0]:
            raise UserError(
                f"{self.source}: {values.shape[0]} bands but {len(wavelengths)} wavelengths; give one in nm per band."
            )
        if self.mask is not None and self.mask.shape != values.shape[1:]:
            raise UserError(
                f"{self.source}: the mask has shape {self.mask.shape}, the image {values.shape[1:]}; they must agree."
            )
        if not (np.isfinite(wavelengths) & (wavelengths > 0)).all():
            raise UserError(f"{self.source} has wavelengths that are not finite numbers above 0: mend its list.")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "wavelengths", wavelengths)

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self.values.shape[0])

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.values.shape[1])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.values.shape[2])

    def on_grid(self, grid: NDArray[np.float64] = BAND_GRID, tolerance: float = 0.5) -> bool:
        """Whether the bands are those of `grid`, each within `tolerance` nm."""
        return len(self.wavelengths) == len(grid) and bool(np.all(np.abs(self.wavelengths - grid) <= tolerance))

    def sorted(self) -> Cube:
        """The cube with wavelengths strictly ascending; of bands at one wavelength the mean is kept."""
        if np.all(np.diff(self.wavelengths) > 0):
            return self
        unique, inverse = np.unique(self.wavelengths, return_inverse=True)
        values = np.zeros((len(unique), self.height, self.width), dtype=np.float32)
        np.add.at(values, inverse, self.values)
        values /= np.bincount(inverse).astype(np.float32)[:, None, None]
        return replace(self, values=values, wavelengths=unique)

    def resampled(
        self,
        grid: NDArray[np.float64] = BAND_GRID,
        *,
        method: Literal["linear", "gaussian"] = "linear",
        fwhm: float = 10.0,
        extrapolate: bool = False,
    ) -> Cube:
        """The cube at other band centres.

        Args:
            grid: (new bands,) band centres in nm, ascending.
            method: `linear` interpolates between neighbouring bands; `gaussian` averages the bands
                with weights of a Gaussian response of full width at half maximum `fwhm` nm.
            fwhm: width of the Gaussian response in nm.
            extrapolate: hold the end values beyond the measured range instead of refusing.

        Raises:
            UserError: `grid` reaches beyond the measured wavelengths and `extrapolate` is false.
        """
        cube = self.sorted()
        low, high = cube.wavelengths[0], cube.wavelengths[-1]
        if not extrapolate and (grid[0] < low - 1e-6 or grid[-1] > high + 1e-6):
            raise UserError(
                f"{self.source}: bands at {grid[0]:g} to {grid[-1]:g} nm are asked for, but {low:g} to {high:g} nm "
                "were measured; allow extrapolation to hold the end values."
            )
        weights = _resampling_weights(cube.wavelengths, np.asarray(grid, dtype=np.float64), method, fwhm)
        values = np.tensordot(weights, cube.values, axes=(1, 0))
        return replace(cube, values=values, wavelengths=np.asarray(grid, dtype=np.float64))


def _resampling_weights(
    centres: NDArray[np.float64], grid: NDArray[np.float64], method: str, fwhm: float
) -> NDArray[np.float32]:
    """(new bands, bands) rows that sum to one."""
    linear = np.stack([np.interp(grid, centres, row) for row in np.eye(len(centres))], axis=1)
    if method == "linear" or len(centres) == 1:
        return linear.astype(np.float32)
    sigma = fwhm / (2.0 * np.sqrt(2.0 * np.log(2.0)))
    gaussian = np.exp(-0.5 * ((grid[:, None] - centres[None, :]) / sigma) ** 2)
    # Unequally spaced bands stand for intervals of unequal width.
    gaussian *= np.abs(np.gradient(centres))[None, :]
    total = gaussian.sum(axis=1, keepdims=True)
    # Where no band lies under the response, its neighbours decide.
    enough = (np.abs(grid[:, None] - centres[None, :]) <= fwhm / 2.0).any(axis=1, keepdims=True)
    weights = np.where(enough & (total > 0), gaussian / np.where(total > 0, total, 1.0), linear)
    return weights.astype(np.float32)
