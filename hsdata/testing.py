"""Tiny made-up data for tests: catalogs without files, and folders in the challenge's layout."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsdata import catalog, layout
from hsdata.cube import BAND_GRID, Cube


def numbered(category: int, count: int, start: int = 0) -> list[str]:
    """Ids as the challenge has them: `Category-<category>_a_<start>` and so on."""
    return [f"Category-{category}_a_{number:04d}" for number in range(start, start + count)]


def catalog_of(ids: Mapping[str, Sequence[str]], **columns: Mapping[str, object]) -> pd.DataFrame:
    """A catalog without files.

    Args:
        ids: the ids of each split.
        columns: for some columns, the values by id; every other cell is filled in.
    """
    rows: list[dict[str, Any]] = [
        {
            "id": name,
            "split": split,
            "track": 2,
            "category": layout.category_of(name),
            "category_name": name.partition("_")[0],
            "group": "",
            "height": 8,
            "width": 8,
            "bands": len(BAND_GRID),
            "input": f"data/track2/{split}/rgb_2/{name}.png",
            "cube": f"data/track2/{split}/hsi_61/{name}.h5" if split in layout.LABELLED_SPLITS else "",
            "rgb_full": "",
            "synthetic": False,
            "id1": "",
            "id2": "",
            "lam": float("nan"),
            "below": 0,
            "above": 0,
            "cube_hash": f"cube of {name}" if split in layout.LABELLED_SPLITS else "",
            "input_hash": f"input of {name}",
            **{column: values[name] for column, values in columns.items() if name in values},
        }
        for split, names in ids.items()
        for name in names
    ]
    return pd.DataFrame(rows, columns=list(catalog.COLUMNS))


def smooth_cube(seed: int, height: int = 8, width: int = 8) -> Cube:
    """A cube on the band grid, smooth along the bands, with values between 0.05 and 0.95."""
    rng = np.random.default_rng(seed)
    phase, pitch = rng.random((2, height, width))
    values = 0.5 + 0.45 * np.sin(BAND_GRID[:, None, None] / 100.0 * (0.5 + pitch) + 6.0 * phase)
    return Cube(values.astype(np.float32), BAND_GRID, f"made up from {seed}")


def data_folder(root: str | os.PathLike[str], ids: Mapping[str, Sequence[str]], *, size: int = 8) -> Path:
    """Write a data folder with both tracks; the cubes lie under track 2, which the tracks share.

    Args:
        root: the folder to make.
        ids: the ids of each split.
        size: pixels a side of a cube; a multiple of 4.
    """
    from hsdata.camera import camera
    from hsdata.formats import hdf5, image, mosaic

    seed = 0
    for split, names in ids.items():
        for name in names:
            seed += 1
            cube = smooth_cube(seed, size, size)
            folder = {track: Path(root) / f"track{track}" / split for track in (1, 2)}
            mosaic.write(folder[1] / "mosaic" / f"{name}.npy", camera.mosaic(cube))
            image.write(folder[2] / "rgb_2" / f"{name}.png", camera.rgb_2(cube))
            if split in layout.LABELLED_SPLITS:
                hdf5.write(folder[2] / "hsi_61" / f"{name}.h5", cube)
    return Path(root)
