"""Pictures of predictions beside the truth."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hsdata.camera import colour
from hsengine.base.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A fixed scale: pictures of different runs can be laid side by side.
ERROR_RANGE = (1e-3, 3e-1)
_QUANTILES = (0.97, 0.7, 0.4, 0.05)
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
_SIDE = 384


def points_of(truth: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Four pixels (row, column) from bright to dark, at fixed quantiles of the truth's mean reflectance.

    Args:
        truth: (bands, H, W).
    """
    brightness = truth.mean(axis=0)
    found = []
    for quantile in _QUANTILES:
        level = np.quantile(brightness, quantile)
        place = int(np.argmin(np.abs(brightness - level)))
        found.append((place // brightness.shape[1], place % brightness.shape[1]))
    return found


def comparison(
    truth: NDArray[np.float32],
    prediction: NDArray[np.float32],
    wavelengths: NDArray[np.float64],
    *,
    title: str = "",
    points: Sequence[tuple[int, int]] | None = None,
) -> Figure:
    """Truth and prediction in sRGB, the error of each pixel, and spectra at a few pixels.

    Args:
        truth: (bands, H, W) reflectance.
        prediction: (bands, H, W) reflectance.
        wavelengths: (bands,) nm.
        title: a line above.
        points: pixels (row, column) whose spectra are drawn; by default those of `points_of`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    chosen = points_of(truth) if points is None else points
    figure = Figure(figsize=(13.0, 3.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 4, gridspec_kw={"width_ratios": [1.0, 1.0, 1.2, 1.6]})
    extent = (-0.5, truth.shape[2] - 0.5, truth.shape[1] - 0.5, -0.5)
    for axis, cube, name in ((axes[0], truth, "truth"), (axes[1], prediction, "prediction")):
        axis.imshow(np.moveaxis(colour.to_srgb(_thinned(cube), wavelengths), 0, 2), extent=extent)
        axis.set_title(name)
    error = np.abs(_thinned(prediction) - _thinned(truth)).mean(axis=0)
    low, high = ERROR_RANGE
    shown = axes[2].imshow(np.clip(error, low, high), norm=LogNorm(low, high), cmap="magma", extent=extent)
    axes[2].set_title("mean absolute error over the bands")
    figure.colorbar(shown, ax=axes[2], fraction=0.046)
    for axis in axes[:3]:
        axis.set_xticks([])
        axis.set_yticks([])
    for (row, column), tint in zip(chosen, _COLOURS, strict=False):
        for axis in axes[:2]:
            axis.plot(column, row, "o", markersize=6, markerfacecolor=tint, markeredgecolor="white")
        axes[3].plot(wavelengths, truth[:, row, column], color=tint)
        axes[3].plot(wavelengths, prediction[:, row, column], color=tint, linestyle="--")
    axes[3].set_title("spectra: truth solid, prediction dashed")
    axes[3].set_xlabel("wavelength (nm)")
    axes[3].set_ylabel("reflectance")
    axes[3].grid(alpha=0.3)
    if title:
        figure.suptitle(title)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, whole or not at all; equal figures give equal bytes."""
    with replacing(path) as scratch:
        scratch.write_bytes(_png(figure))


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """A figure as (height, width, 3) values of 0 to 255."""
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _thinned(cube: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every n-th pixel of a large cube: a picture shows no more."""
    step = max(1, max(cube.shape[1:]) // _SIDE)
    return cube[:, ::step, ::step]
