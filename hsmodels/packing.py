"""The two archives of a submission: written sample by sample, the same bytes each time, checked by reading them."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hsengine.base.errors import UserError

KAGGLE = "submission.zip"
SITE = "site.zip"
TABLE = "submission.csv"

_DATE = (1980, 1, 1, 0, 0, 0)


def write(folder: Path, cubes: Iterable[tuple[str, NDArray[np.float32]]]) -> None:
    """Write `submission.zip` for Kaggle and `site.zip` for the challenge's own site.

    Nothing is compressed: the bytes depend on no compressor's version, and float32 reflectance would hardly
    shrink. One cube is in memory at a time.

    Args:
        folder: an existing folder.
        cubes: (id, (bands, H, W) reflectance in [0, 1]), in the order of the archives.
    """
    names = []
    with ExitStack() as stack:
        kaggle = stack.enter_context(zipfile.ZipFile(folder / KAGGLE, "w"))
        site = stack.enter_context(zipfile.ZipFile(folder / SITE, "w"))
        for name, cube in cubes:
            pixels = bands_last(cube)
            write_npy(site, f"{name}.npy", pixels)
            # An archive within an archive: made beside, as its length must be known first.
            inner = folder / f"{name}.npz"
            write_npz(inner, {"cube": pixels})
            with inner.open("rb") as source, entry(kaggle, inner.name, inner.stat().st_size) as stream:
                shutil.copyfileobj(source, stream, 1 << 20)
            inner.unlink()
            names.append(name)
        table = "id,prediction\n" + "".join(f"{name},0\n" for name in names)
        with entry(kaggle, TABLE, len(table)) as stream:
            stream.write(table.encode())


def bands_last(cube: NDArray[np.float32]) -> NDArray[np.float32]:
    """A cube (bands, H, W) as (H, W, bands), contiguous float32."""
    return np.ascontiguousarray(np.moveaxis(cube, 0, 2), dtype=np.float32)


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as an uncompressed `.npz` whose bytes depend on nothing else."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            write_npy(archive, f"{name}.npy", array)


def write_npy(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Add an array to an archive as `.npy`."""
    with entry(archive, name, array.nbytes + 4096) as stream:
        np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)


def check(folder: Path, expected: Mapping[str, tuple[int, int, int]]) -> None:
    """Read both archives back and compare them with what they must hold.

    Args:
        folder: where they are.
        expected: id → (H, W, bands).

    Raises:
        UserError: a sample is missing, too much, of another shape or type, or outside [0, 1].
    """
    with _opened(folder / KAGGLE) as archive:
        _check_names(archive, {TABLE, *(f"{name}.npz" for name in expected)})
        lines = archive.read(TABLE).decode().splitlines()
        if lines[:1] != ["id,prediction"] or sorted(lines[1:]) != sorted(f"{name},0" for name in expected):
            raise UserError(f"{KAGGLE}: {TABLE} must have a row '<id>,0' for each of the {len(expected)} samples.")
        for name, shape in expected.items():
            content = np.load(io.BytesIO(archive.read(f"{name}.npz")), allow_pickle=False)
            if content.files != ["cube"]:
                raise UserError(f"{KAGGLE}: {name}.npz must hold one array 'cube', not {content.files}.")
            _check_cube(f"{KAGGLE}: {name}.npz", content["cube"], shape)
    with _opened(folder / SITE) as archive:
        _check_names(archive, {f"{name}.npy" for name in expected})
        for name, shape in expected.items():
            with archive.open(f"{name}.npy") as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
            _check_cube(f"{SITE}: {name}.npy", array, shape)


def _check_names(archive: zipfile.ZipFile, expected: set[str]) -> None:
    names = archive.namelist()
    file = Path(str(archive.filename)).name
    if missing := sorted(expected - set(names)):
        raise UserError(f"{file} lacks {', '.join(missing)}.")
    if extra := sorted(set(names) - expected):
        raise UserError(f"{file} holds what it should not: {', '.join(extra)}.")
    if len(names) != len(expected):
        raise UserError(f"{file} holds a name twice.")


def _check_cube(source: str, cube: NDArray[Any], shape: tuple[int, int, int]) -> None:
    if cube.dtype != np.float32 or not cube.flags.c_contiguous:
        raise UserError(f"{source} must be float32 in C order, not {cube.dtype}.")
    if cube.shape != shape:
        raise UserError(f"{source} has shape {cube.shape}; its input asks for {shape} (height, width, bands).")
    low, high = float(cube.min()), float(cube.max())
    if not (low >= 0.0 and high <= 1.0):
        raise UserError(f"{source} has values from {low:g} to {high:g}; they must lie in [0, 1].")


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    # Checksums are compared as content is read.
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path.name} cannot be read back ({error}): check the disk and run the command again."
        ) from None


def entry(archive: zipfile.ZipFile, name: str, size: int) -> IO[bytes]:
    """A new file in an archive whose header says nothing about when, where and by whom it was made."""
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return archive.open(info, "w", force_zip64=size >= zipfile.ZIP64_LIMIT)
