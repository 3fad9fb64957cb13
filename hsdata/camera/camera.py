"""What cameras see of a cube: a full-size picture, a half-size picture, a Bayer mosaic."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsdata.camera import colour
from hsdata.cube import Cube
from hsengine.base import reading
from hsengine.base.errors import UserError

_COLUMNS = ("wavelength", "r", "g", "b")


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera in the light of D65.

    Without sensitivities it is the standard observer: its picture is the sRGB render of the cube.

    Attributes:
        sensitivities: (3, samples) relative response of red, green and blue; None for the standard observer.
        wavelengths: (samples,) nm, ascending, where the sensitivities are known; beyond they are 0.
        linear: whether the half-size picture averages light and the mosaic holds light. By default both are
            taken from encoded values, which is how the challenge's inputs go with its cubes.
    """

    sensitivities: NDArray[np.float64] | None = None
    wavelengths: NDArray[np.float64] | None = None
    linear: bool = False

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], *, linear: bool = False) -> Camera:
        """A camera from a table with the columns wavelength (in nm), r, g and b.

        Raises:
            UserError: the file is missing, lacks a column, or holds something other than finite numbers.
        """
        file = Path(path)
        lines = reading.text(file, "a table of sensitivities").splitlines()
        try:
            rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
        except csv.Error as error:
            raise UserError(f"{file} cannot be read as a table of sensitivities ({error}).") from None
        names = {str(name).strip().lower(): name for name in (rows[0] if rows else {})}
        missing = [column for column in _COLUMNS if column not in names]
        if missing:
            raise UserError(
                f"{file} lacks {', '.join(missing)}: a table of sensitivities has a line of the names "
                f"'{','.join(_COLUMNS)}' and then a line for each wavelength in nm."
            )
        try:
            table = np.array([[float(row[names[column]]) for column in _COLUMNS] for row in rows]).T
        except (TypeError, ValueError) as error:
            raise UserError(f"{file} holds something other than numbers ({error}).") from None
        if not np.isfinite(table).all() or len(np.unique(table[0])) != table.shape[1] or table.shape[1] < 2:
            raise UserError(f"{file} must hold finite numbers at two or more different wavelengths.")
        table = table[:, np.argsort(table[0])]
        return cls(table[1:], table[0], linear)

    def weights(self, wavelengths: ArrayLike) -> NDArray[np.float64]:
        """Linear red, green and blue as a matrix on the bands, (3, bands); a perfect white gives 1 in each.

        Args:
            wavelengths: (bands,) band centres in nm.

        Raises:
            UserError: the bands miss the camera's (or the observer's) range.
        """
        if self.sensitivities is None or self.wavelengths is None:
            return colour.srgb_weights(wavelengths)
        bands = np.asarray(wavelengths, dtype=np.float64).reshape(-1)
        low, high = self.wavelengths[0], self.wavelengths[-1]
        weights = np.stack([np.interp(bands, self.wavelengths, row, 0.0, 0.0) for row in self.sensitivities])
        weights *= colour.light(bands)
        white = weights.sum(axis=1, keepdims=True)
        if not np.all(white > 0.0):
            raise UserError(
                f"No band of this cube ({bands.min():g} to {bands.max():g} nm) meets the sensitivity of every channel "
                f"of the camera ({low:g} to {high:g} nm): check that both are in nm."
            )
        balanced: NDArray[np.float64] = weights / white
        return balanced

    def linear_rgb(self, values: NDArray[np.floating], wavelengths: ArrayLike) -> NDArray[np.float32]:
        """Light on the sensor, (3, ...) at least 0, 1 for a perfect white, of reflectance (bands, ...)."""
        light = colour.project(values, self.weights(wavelengths))
        return np.maximum(light, 0.0, out=light)

    def rgb_full(self, cube: Cube) -> NDArray[np.float32]:
        """The picture (3, height, width), sRGB-encoded, in [0, 1]."""
        return colour.encode(self.linear_rgb(cube.values, cube.wavelengths))

    def rgb_2(self, cube: Cube) -> NDArray[np.float32]:
        """The picture of half the size, (3, height/2, width/2), sRGB-encoded, in [0, 1].

        Raises:
            UserError: the cube has an odd height or width.
        """
        _require_even(cube, "a picture of half its size")
        if self.linear:
            return colour.encode(_halved(np.minimum(self.linear_rgb(cube.values, cube.wavelengths), 1.0)))
        return _halved(self.rgb_full(cube))

    def mosaic(self, cube: Cube) -> NDArray[np.float32]:
        """The RGGB mosaic (1, height, width) in [0, 1]: red at even rows and columns, blue at odd ones.

        Raises:
            UserError: the cube has an odd height or width.
        """
        _require_even(cube, "a Bayer mosaic")
        light = self.linear_rgb(cube.values, cube.wavelengths)
        return sampled(np.minimum(light, 1.0) if self.linear else colour.encode(light))


def sampled(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """The RGGB mosaic (1, height, width) of a picture (3, height, width)."""
    mosaic = rgb[1:2].copy()
    mosaic[:, 0::2, 0::2] = rgb[0:1, 0::2, 0::2]
    mosaic[:, 1::2, 1::2] = rgb[2:3, 1::2, 1::2]
    return mosaic


STANDARD_OBSERVER = Camera()


def rgb_full(cube: Cube, camera: Camera = STANDARD_OBSERVER) -> NDArray[np.float32]:
    """The picture (3, height, width) that the camera takes; see `Camera.rgb_full`."""
    return camera.rgb_full(cube)


def rgb_2(cube: Cube, camera: Camera = STANDARD_OBSERVER) -> NDArray[np.float32]:
    """The picture of half the size, (3, height/2, width/2); see `Camera.rgb_2`."""
    return camera.rgb_2(cube)


def mosaic(cube: Cube, camera: Camera = STANDARD_OBSERVER) -> NDArray[np.float32]:
    """The RGGB mosaic (1, height, width); see `Camera.mosaic`."""
    return camera.mosaic(cube)


def _halved(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of squares of 2 x 2 pixels."""
    total: NDArray[np.float32] = rgb[:, 0::2, 0::2] + rgb[:, 0::2, 1::2]
    total += rgb[:, 1::2, 0::2]
    total += rgb[:, 1::2, 1::2]
    total *= np.float32(0.25)
    return total


def _require_even(cube: Cube, what: str) -> None:
    if cube.height % 2 or cube.width % 2:
        raise UserError(
            f"{cube.source}: {cube.height} x {cube.width} pixels do not make {what}; crop it to an even height and "
            "width."
        )
