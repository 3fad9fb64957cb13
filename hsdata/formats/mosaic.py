"""Bayer mosaics: one RGGB plane in a `.npy` file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsdata.formats.access import access_error, fetched, is_url
from hsengine.base import reading
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_array

# How far rounding may take a value in [0, 1] beyond 1; from there on values are levels of 8 bits.
_ROUNDING = 1e-3


def read(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Read a mosaic stored as (height, width) or (height, width, 1) as float32 (1, height, width) in [0, 1].

    `path` can be a URL of any file system that fsspec knows.

    Integers, and arrays with values above 1, are 8-bit levels and are divided by 255.

    Raises:
        UserError: the file is missing, damaged or no such array, has an odd height or width, or holds NaN or
            values below 0 or above 255.
    """
    with _opened(path) as stored:
        return _decoded(stored, _has_eight_bits(stored, path))


class MosaicFile:
    """A mosaic read by crops through a memory map.

    The first crop looks at the whole file once, to check it and to know how its values are to be read.

    Args:
        path: the file; one at a URL is fetched whole for each crop.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._eight_bits: bool | None = None

    def read(self, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
        """A crop as float32 (1, height, width) in [0, 1]; see `read` of this module for the errors."""
        with _opened(self.path) as stored:
            if self._eight_bits is None:
                self._eight_bits = _has_eight_bits(stored, self.path)
            return _decoded(stored[top : top + height, left : left + width], self._eight_bits)


def size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) in pixels, from the file's header alone.

    Raises:
        UserError: the file is missing, damaged or no mosaic.
    """
    with _opened(path) as stored:
        return int(stored.shape[0]), int(stored.shape[1])


def write(path: str | os.PathLike[str], plane: NDArray[np.floating]) -> None:
    """Write a mosaic (1, height, width) or (height, width) in [0, 1] as float32 (height, width).

    Raises:
        UserError: the disk is full or the place cannot be written.
        ValueError: the plane has another shape, or an odd height or width.
    """
    values = np.asarray(plane, dtype="<f4")
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or values.shape[0] % 2 or values.shape[1] % 2:
        raise ValueError(f"a mosaic is (1, height, width) with even height and width, not of shape {plane.shape}")
    with replacing(path) as scratch:
        write_array(scratch, values)


def _has_eight_bits(stored: NDArray[Any], path: str | os.PathLike[str]) -> bool:
    """Whether the values are 8-bit levels, once they are known to be sound."""
    low, high = float(stored.min()), float(stored.max())
    if not np.isfinite(low + high):
        raise UserError(f"{path} holds NaN or infinite values: mend the mosaic or leave the sample out.")
    if low < 0.0 or high > 255.0:
        raise UserError(
            f"{path} holds values from {low:g} to {high:g}: a mosaic is in [0, 1] or 8-bit, 0 to 255; divide it by the "
            "sensor's largest value."
        )
    return stored.dtype.kind in "iu" or high > 1.0 + _ROUNDING


def _decoded(stored: NDArray[Any], eight_bits: bool) -> NDArray[np.float32]:
    """Stored values (height, width) or (height, width, 1) as (1, height, width) in [0, 1]."""
    values = np.array(stored, dtype=np.float32).reshape(1, *stored.shape[:2])
    if eight_bits:
        values /= np.float32(255.0)
    return np.minimum(values, 1.0, out=values)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[NDArray[Any]]:
    """The array of the file, mapped and not read, once its type and shape are those of a mosaic."""
    if not is_url(path):
        reading.check_kind(path)
    try:
        # A stored object could run code when it is loaded.
        if is_url(path):
            stored = np.load(fetched(str(path)), allow_pickle=False)
        else:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"There is no mosaic at {path}: check the path.") from None
    # Damaged headers make NumPy raise anything, down to errors of the tokenizer.
    except Exception as error:
        raise access_error(str(path), error) or UserError(
            f"{path} is truncated, damaged or no plain .npy array ({error}); get the file again ('dvc pull' or "
            "download)."
        ) from error
    if not isinstance(stored, np.ndarray):
        stored.close()
        raise UserError(f"{path} is an archive of arrays: a mosaic is a single array in a .npy file.")
    shape = stored.shape
    if stored.dtype.kind not in "fiu" or not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)):
        raise UserError(
            f"{path} holds {stored.dtype} of shape {shape}: a mosaic is one plane of numbers, (height, width) or "
            "(height, width, 1)."
        )
    if shape[0] % 2 or shape[1] % 2 or 0 in shape:
        raise UserError(
            f"{path} has {shape[0]} x {shape[1]} pixels: a Bayer mosaic has an even height and width; crop the last "
            "row or column."
        )
    yield stored
