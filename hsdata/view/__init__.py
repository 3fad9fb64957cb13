"""The verb `view`: a page that shows the cubes of any files, alone or side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hsdata import formats
from hsdata.formats.capture import Capture
from hsdata.view.scene import Map, Scene, step_of, viewer
from hsengine.base.errors import UserError
from hsengine.report.page import Note, Page, Section, Table, write

MOST: Final = 1024 * 1024
"""The most pixels that are read of a file for its picture and map; of larger ones it is every n-th."""

_REFLECTANCE = 2.0


@dataclass(frozen=True)
class Summary:
    """What was made: the page, and how many scenes it shows."""

    file: Path
    scenes: int
    bytes: int

    def __str__(self) -> str:
        scenes = "1 scene" if self.scenes == 1 else f"{self.scenes} scenes"
        return f"wrote {self.file}: {scenes}, {self.bytes / 1e6:.1f} MB; open it in a browser"


def run(
    files: Sequence[str | os.PathLike[str]],
    out: Path,
    *,
    variable: str | None = None,
    wavelengths: NDArray[np.float64] | None = None,
    axes: str | None = None,
) -> Summary:
    """Write a page of the cubes of some files.

    Files of the same height, width and bands are shown side by side, with their difference from the first; others
    each as a scene of their own.

    Args:
        files: what `hsdata.formats.load` reads; values as they stand there, a declared scale applied.
        out: the HTML file.
        variable: see `hsdata.formats.load`; as the two that follow, for all of the files.
        wavelengths: (bands,) nm.
        axes: order of the axes.

    Raises:
        UserError: a file is missing, damaged or ambiguous; or the place cannot be written.
    """
    if not files:
        raise UserError("Name at least one file to view.")
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out}: the page is an HTML file; name one that ends in .html.")
    captures = [formats.load(file, variable=variable, wavelengths=wavelengths, axes=axes) for file in files]
    names = _names([str(file) for file in files])
    if len(captures) > 1 and all(_alike(captures[0], other) for other in captures[1:]):
        scenes = [_scene("; ".join(names), dict(zip(names, captures, strict=True)))]
    else:
        scenes = [_scene(name, {name: capture}) for name, capture in zip(names, captures, strict=True)]
    shown = viewer(scenes)
    write(
        Page(
            title="; ".join(names),
            lead="Values as the files hold them, a declared scale applied.",
            sections=[Section("Cubes", [shown.part]), _about(names, captures)],
            styles=shown.styles,
            scripts=shown.scripts,
            data=shown.data,
        ),
        out,
    )
    return Summary(out, len(scenes), out.stat().st_size)


def _names(files: Sequence[str]) -> list[str]:
    """The files' own names, or whole paths where those are not told apart."""
    short = [Path(file).name for file in files]
    names = short if len(set(short)) == len(short) else list(files)
    if len(set(names)) < len(names):
        raise UserError(f"{names[0]} is named more than once: name each file once.")
    return names


def _alike(first: Capture, second: Capture) -> bool:
    """Whether pixels and bands of two captures correspond."""
    if first.shape != second.shape:
        return False
    if first.wavelengths is None or second.wavelengths is None:
        return first.wavelengths is second.wavelengths
    return bool(np.all(np.abs(first.wavelengths - second.wavelengths) <= 1.0))


def _scene(name: str, captures: dict[str, Capture]) -> Scene:
    first = next(iter(captures.values()))
    _, height, width = first.shape
    stride = step_of(height, width, MOST)
    cubes = {key: _values(capture, stride) for key, capture in captures.items()}
    axis = np.arange(1.0, first.shape[0] + 1) if first.wavelengths is None else first.wavelengths
    values = next(iter(cubes.values()))
    maps = [Map("mean over the bands", np.nan_to_num(values.mean(axis=0)), note=f"of {next(iter(cubes))}")]
    for key in list(cubes)[1:]:
        difference = np.nan_to_num(np.abs(cubes[key] - values).mean(axis=0))
        maps.insert(
            0, Map("mean absolute difference", difference, note=f"over the bands, {key} from {next(iter(cubes))}")
        )
    order = np.argsort(axis, kind="stable")
    return Scene(
        name,
        {key: cube[order] for key, cube in cubes.items()},
        axis[order],
        "band" if first.wavelengths is None else "nm",
        maps,
        quantity="reflectance" if np.nanquantile(values[:, ::8, ::8], 0.99) <= _REFLECTANCE else "stored value",
        stride=stride,
    )


def _values(capture: Capture, stride: int) -> NDArray[np.float32]:
    """(bands, rows, columns) of every `stride`-th pixel, NaN where there are no data."""
    part: NDArray[Any] = np.asarray(capture.values[:, ::stride, ::stride])
    values = part.astype(np.float32)
    thin = Capture(
        part,
        capture.wavelengths,
        capture.source,
        ignore=capture.ignore,
        mask=None if capture.mask is None else capture.mask[::stride, ::stride],
    )
    if capture.scale is not None:
        values /= np.float32(capture.scale)
    values[:, ~thin.valid(part)] = np.nan
    return values


def _about(names: Sequence[str], captures: Sequence[Capture]) -> Section:
    rows = []
    notes = []
    for name, capture in zip(names, captures, strict=True):
        bands, height, width = capture.shape
        centres = capture.wavelengths
        rows.append(
            [
                name,
                f"{height} × {width}",
                str(bands),
                "not named" if centres is None else f"{centres.min():g} to {centres.max():g} nm",
                str(capture.values.dtype),
                "none" if capture.scale is None else f"{capture.scale:g}",
            ]
        )
        notes += [Note(f"{name}: {note}") for note in capture.notes]
    table = Table(["file", "height × width", "bands", "wavelengths", "stored as", "scale"], rows, "read from the files")
    return Section("Files", [table, *notes])
