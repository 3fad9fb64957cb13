"""Cubes of one scene side by side, as the page of cubes shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hsdata.camera import colour
from hsdata.view.packing import Bits, quantised
from hsengine.report.page import Part, Table, asset, filled
from hsengine.report.pictures import picture

__loads__ = (
    "hsdata/view/templates/cubes.html",
    "hsdata/view/assets/cubes.css",
    "hsdata/view/assets/planes.js",
    "hsdata/view/assets/cubes.js",
)

PIXELS: Final = 256 * 256
"""The most pixels of which a page keeps the spectra; of larger frames it is every n-th in both directions."""

FINE: Final = 128 * 128
"""Up to so many pixels are stored with 16 bits a value, more with 8."""


@dataclass(frozen=True)
class Map:
    """A number for each pixel.

    Attributes:
        name: what it is.
        values: (height, width).
        unit: of the values; "" for none.
        note: how to read it.
    """

    name: str
    values: NDArray[np.floating]
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Scene:
    """Cubes of one scene.

    Attributes:
        name: of the scene.
        cubes: by name, (bands, height, width) each, of one shape; the others are compared with the first.
        axis: (bands,) wavelengths in nm, or numbers of bands.
        unit: of `axis`: "nm", or "band".
        maps: of the scene's pixels.
        photo: the input (3, h, w) in [0, 1], of any size; None for none.
        tables: what is known of the whole scene.
        quantity: what the values are.
        stride: every how many pixels of the source those of the cubes lie.
    """

    name: str
    cubes: Mapping[str, NDArray[np.floating]]
    axis: NDArray[np.float64]
    unit: str = "nm"
    maps: Sequence[Map] = ()
    photo: NDArray[np.floating] | None = None
    tables: Sequence[Table] = ()
    quantity: str = "reflectance"
    stride: int = 1


@dataclass(frozen=True)
class Viewer:
    """What a page needs to show scenes: a block of it, styles and scripts, and the data."""

    part: Part
    styles: Sequence[str]
    scripts: Sequence[str]
    data: dict[str, str] = field(repr=False)


def step_of(height: int, width: int, most: int = PIXELS) -> int:
    """Every how many pixels the spectrum of one is kept."""
    step = 1
    while -(-height // step) * -(-width // step) > most:
        step += 1
    return step


def viewer(scenes: Sequence[Scene]) -> Viewer:
    """Make scenes ready for a page."""
    described: list[dict[str, Any]] = []
    data: dict[str, str] = {}
    for number, scene in enumerate(scenes):
        made, blobs = _described(scene, f"scene-{number}")
        described.append(made)
        data |= blobs
    package = "hsdata.view"
    part = Part(filled(package, "cubes.html", scenes=described, tables=[scene.tables for scene in scenes]))
    scripts = [asset(package, "assets", name) for name in ("planes.js", "cubes.js")]
    return Viewer(part, [asset(package, "assets", "cubes.css")], scripts, data)


def _described(scene: Scene, prefix: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What the page's script reads of a scene, and its packed data."""
    height, width = next(iter(scene.cubes.values())).shape[1:]
    step = step_of(height, width)
    kept = np.s_[..., ::step, ::step]
    bits: Bits = 16 if (-(-height // step)) * (-(-width // step)) <= FINE else 8
    data: dict[str, str] = {}
    cubes, errors = [], []
    for number, (name, values) in enumerate(scene.cubes.items()):
        planes = quantised(values[kept], bits)
        data[f"{prefix}-cube-{number}"] = planes.text
        errors.append(f"{name} {planes.worst:.1e} at most, {planes.mean:.1e} on average")
        cubes.append(
            planes.described(f"{prefix}-cube-{number}") | {"name": name, "picture": picture(_render(scene, values))}
        )
    described = {
        "name": scene.name,
        "size": [-(-height // step), -(-width // step)],
        "step": step * scene.stride,
        "axis": [float(value) for value in scene.axis],
        "unit": scene.unit,
        "quantity": scene.quantity,
        "cubes": cubes,
        "maps": None,
        "photo": None if scene.photo is None else picture(scene.photo),
        "stored": _stored(step * scene.stride, bits, errors),
    }
    if scene.maps:
        planes = quantised(np.stack([one.values[kept] for one in scene.maps]), 16)
        data[f"{prefix}-maps"] = planes.text
        described["maps"] = planes.described(f"{prefix}-maps") | {
            "about": [
                {"name": one.name, "unit": one.unit, "note": one.note, "shown": _bright(one.values)}
                for one in scene.maps
            ]
        }
    return described, data


def _stored(step: int, bits: int, errors: Sequence[str]) -> str:
    which = (
        "every pixel" if step == 1 else f"one pixel in {step} in both directions, values of single pixels, not means"
    )
    return f"Spectra: {which}, stored with {bits} bits a value; error of that: {'; '.join(errors)}."


def _bright(values: NDArray[np.floating]) -> float:
    """What a map shows brightest: all but the highest half percent lie below."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, 0.995)) if finite.size else 1.0


def _render(scene: Scene, values: NDArray[np.floating]) -> NDArray[np.floating]:
    """The sRGB of a cube in nm that covers the visible; otherwise three of its bands, stretched."""
    axis = scene.axis
    low, high = colour.VISIBLE
    if scene.unit == "nm" and scene.quantity == "reflectance" and np.sum((axis >= low) & (axis <= high)) >= 3:
        return colour.to_srgb(values, axis)
    wanted = (620.0, 550.0, 460.0) if scene.unit == "nm" else np.quantile(axis, (0.75, 0.5, 0.25))
    chosen = np.stack([values[int(np.argmin(np.abs(axis - one)))] for one in wanted]).astype(np.float64)
    chosen[~np.isfinite(chosen)] = 0.0
    least, most = np.quantile(chosen, (0.01, 0.99), axis=(1, 2), keepdims=True)
    stretched: NDArray[np.float64] = np.clip((chosen - least) / np.maximum(most - least, 1e-12), 0.0, 1.0)
    return stretched ** (1.0 / 2.2)
