"""GeoTIFF, by rasterio: any bands, whole or floating point, with what is no data and where on the ground it lies."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsengine.base.errors import UserError

Palette = dict[int, tuple[int, int, int]]

# Pixels of the largest image that is read whole; larger ones are scenes, read by windows.
_LARGEST = 400_000_000


@dataclass(frozen=True)
class Place:
    """Where the pixels of an image lie.

    Attributes:
        height: rows.
        width: columns.
        bands: of the file.
        crs: the coordinate system as text; empty where the file has none.
        transform: (a, b, c, d, e, f): x = a column + b row + c, y = d column + e row + f.
        nodata: the value that stands for no data; None without one.
    """

    height: int
    width: int
    bands: int
    crs: str
    transform: tuple[float, float, float, float, float, float]
    nodata: float | None = None

    @property
    def georeferenced(self) -> bool:
        """Whether the file says where it lies."""
        return bool(self.crs) or self.transform != (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of the rectangle along the axes that holds all pixels."""
        a, b, c, d, e, f = self.transform
        corners = [(column, row) for column in (0, self.width) for row in (0, self.height)]
        x = [a * column + b * row + c for column, row in corners]
        y = [d * column + e * row + f for column, row in corners]
        return min(x), min(y), max(x), max(y)


def decode(path: Path) -> NDArray[Any]:
    """The pixels, (bands, H, W), as the file has them."""
    with opened(path) as dataset:
        if dataset.width * dataset.height > _LARGEST:
            raise ValueError(f"it has {dataset.width} x {dataset.height} pixels: read it by windows, as a scene")
        pixels: NDArray[Any] = dataset.read()
    return pixels


def labels(path: Path) -> NDArray[Any]:
    """The values of a label image of one band, (H, W)."""
    pixels = decode(path)
    if len(pixels) != 1 or pixels.dtype.kind not in "bui":
        raise ValueError(f"it has {len(pixels)} bands of {pixels.dtype}, and labels are one whole number a pixel")
    plane: NDArray[Any] = pixels[0]
    return plane


def place(path: Path) -> Place:
    """Where a file's pixels lie, without reading them.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with opened(path) as dataset:
            return place_of(dataset)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as GeoTIFF: {error}") from error


def place_of(dataset: Any) -> Place:
    """The place of a dataset of rasterio."""
    crs = dataset.crs.to_wkt() if dataset.crs else ""
    a, b, c, d, e, f = (float(value) for value in tuple(dataset.transform)[:6])
    nodata = None if dataset.nodata is None else float(dataset.nodata)
    return Place(dataset.height, dataset.width, dataset.count, crs, (a, b, c, d, e, f), nodata)


def validity(pixels: NDArray[Any], nodata: float | None = None) -> NDArray[np.bool_]:
    """Where an image, (bands, H, W), has data, (H, W).

    No data is a pixel with a band that is no number or `nodata`, or with 0 in every band.
    """
    none = (pixels == 0).all(axis=0)
    if pixels.dtype.kind == "f":
        none |= ~np.isfinite(pixels).all(axis=0)
    if nodata is not None and np.isfinite(nodata) and nodata != 0:
        none |= (pixels == nodata).any(axis=0)
    valid: NDArray[np.bool_] = ~none
    return valid


def write(path: Path, pixels: NDArray[Any], where: Place, *, palette: Palette | None = None) -> None:
    """Write an image (bands, H, W) or labels (H, W) where `where` says."""
    planes = pixels if pixels.ndim == 3 else pixels[np.newaxis]
    with writing(path, where, len(planes), planes.dtype.name, palette=palette) as dataset:
        dataset.write(planes)


@contextlib.contextmanager
def writing(
    path: Path, where: Place, bands: int, kind: str, *, nodata: float | None = None, palette: Palette | None = None
) -> Iterator[Any]:
    """A dataset of rasterio to write windows into, compressed, with the place of `where`."""
    import rasterio
    from rasterio.transform import Affine  # type: ignore[import-untyped]

    options: dict[str, Any] = {"crs": where.crs} if where.crs else {}
    if where.georeferenced:
        options["transform"] = Affine(*where.transform)
    if nodata is not None:
        options["nodata"] = nodata
    size = {"height": where.height, "width": where.width, "count": bands}
    with _quiet(), rasterio.open(path, "w", driver="GTiff", dtype=kind, compress="deflate", **size, **options) as made:
        if palette is not None:
            made.write_colormap(1, {number: (*colour, 255) for number, colour in palette.items()})
        yield made


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A dataset of rasterio to read from."""
    import rasterio

    # A small cache: blocks are read once, and scenes may be larger than memory.
    with _quiet(), rasterio.Env(GDAL_CACHEMAX=64), rasterio.open(path, driver="GTiff") as dataset:
        yield dataset


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
