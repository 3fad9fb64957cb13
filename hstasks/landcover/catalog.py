"""The stage `catalog`: which tiles exist, are they sound, and where on the ground they lie.

Masks are not opened here: which of them are the test's is not known yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hsengine.base import paths, workers
from hsengine.base.errors import UserError
from hsengine.base.wording import listed, some
from hstasks.images import catalog as catalogs
from hstasks.images import geotiff, readers
from hstasks.images.blocks import FOOTPRINT
from hstasks.landcover import layout
from hstasks.landcover.layout import Tile
from hstasks.landcover.params import Params

OWN: dict[str, str] = {**FOOTPRINT, "pixel": "float64", "crs": "str", "valid": "float64"}
"""Columns beside the common ones: the footprint; a pixel's side in its unit; the coordinate system, in short; the
share of pixels with data."""

_CHUNK, _WORTH_PROCESSES = 50, 1000


def run(params: Params) -> catalogs.Summary:
    """List the target's tiles, check every image, and write `derived/catalog.csv`.

    Raises:
        UserError: a tile cannot be used (with `data.unsound` refuse), or none is left.
    """
    return catalogs.kept(make(params))


def load() -> pd.DataFrame:
    """The catalog that `run` wrote.

    Raises:
        UserError: there is none, or it is another one.
    """
    return catalogs.load(paths.CATALOG, OWN)


def make(params: Params) -> pd.DataFrame:
    """The catalog of a data folder; see `run`. `attrs` has `problems` and `notes`."""
    found = layout.find(params.data.root)
    chunks = [found.tiles[start : start + _CHUNK] for start in range(0, len(found.tiles), _CHUNK)]
    count = 1 if not params.machine.workers and len(found.tiles) < _WORTH_PROCESSES else params.machine.workers
    results = [result for part in workers.run(_read, chunks, workers=count, label="catalog") for result in part]
    problems = found.problems + [problem for _, problem in results if problem]
    if problems and params.data.unsound == "refuse":
        raise UserError(
            f"{found.root} is unsound:\n{listed(problems)}\n"
            "Mend or remove these files, or set data.unsound to 'drop' to leave them out."
        )
    rows = [row for row, _ in results if row]
    if not rows:
        raise UserError(f"No sound tile is left in {found.root}:\n{listed(problems)}")
    frame = _one_system(rows)
    same = catalogs.duplicates(frame).values()
    notes = found.notes + [f"the same image is {some(ids)}" for ids in same]
    counts = frame["site"].value_counts().sort_index()
    notes.append(f"{len(counts)} sites: " + ", ".join(f"{site} {count}" for site, count in counts.items()))
    frame.attrs.update(problems=problems, notes=notes)
    return frame


def _read(tiles: Sequence[Tile]) -> list[tuple[dict[str, Any], str]]:
    """A row, or what is wrong, for each tile."""
    found: list[tuple[dict[str, Any], str]] = []
    for tile in tiles:
        try:
            found.append((_row(tile), ""))
        except UserError as error:
            found.append(({}, f"{tile.id}: {error}"))
    return found


def _row(tile: Tile) -> dict[str, Any]:
    pixels = readers.read(tile.image)
    where = geotiff.place(tile.image)
    valid = geotiff.validity(pixels, where.nodata)
    row: dict[str, Any] = {
        "id": tile.id,
        "split": "pool" if tile.mask else "unlabelled",
        "image": tile.image.as_posix(),
        "mask": tile.mask.as_posix() if tile.mask else "",
        "channels": len(pixels),
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "group": tile.site,
        "site": tile.site,
        "content": catalogs.content_hash(pixels),
        "valid": float(valid.mean()),
        "defects": " ".join(
            name for name, holds in (("void", not valid.any()), ("nowhere", not where.georeferenced)) if holds
        ),
    }
    if where.georeferenced:
        left, bottom, right, top = where.bounds
        row |= {"left": left, "bottom": bottom, "right": right, "top": top, "crs": where.crs}
        row["pixel"] = float(np.hypot(where.transform[0], where.transform[3]))
    return row


def _one_system(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The catalog, the footprints of each site in the coordinate system of its first tile."""
    first: dict[str, str] = {}
    for row in rows:
        system, own = first.setdefault(row["site"], row.get("crs", "")), row.get("crs", "")
        if own and system and own != system:
            from rasterio.warp import transform_bounds  # type: ignore[import-untyped]

            box = transform_bounds(own, system, row["left"], row["bottom"], row["right"], row["top"])
            row |= dict(zip(("left", "bottom", "right", "top"), map(float, box), strict=True))
    for row in rows:
        row["crs"] = _short(row.get("crs", ""))
    return catalogs.framed(rows, OWN)


def _short(crs: str) -> str:
    """A coordinate system as `EPSG:4326` where it has such a name, else its own."""
    if not crs:
        return ""
    from rasterio.crs import CRS  # type: ignore[import-untyped]

    system = CRS.from_wkt(crs)
    number = system.to_epsg()
    return f"EPSG:{number}" if number else (crs.split('"')[1] if '"' in crs else crs)
