"""What a data file holds: shape, content hash, soundness; read by strips and remembered between runs."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsdata import layout, raw
from hsengine.base import remembered, workers
from hsengine.base.errors import UserError

# Where facts are remembered: another name when a reader comes to decode the same bytes differently.
STORE = "facts-2"
# Opening a file takes as long as reading this many bytes.
_OPENING = 2**18

FileKey = tuple[str, str]
"""(modality, path): how to read a file, and where it is."""


@dataclass(frozen=True)
class Facts:
    """What is known of a file's decoded values, (bands, height, width) float32.

    Attributes:
        bands: length of the first axis; 3 for a picture, 1 for a mosaic.
        height: in pixels.
        width: in pixels.
        content: hash of the values and their shape, see `Content`.
        invalid: how many values are NaN or infinite.
        below: how many values are below 0.
        above: how many values are above 1.
        wavelengths: band centres of a cube in nm; empty for an input.
        error: why the file cannot be read; the other fields then say nothing.
    """

    bands: int = 0
    height: int = 0
    width: int = 0
    content: str = ""
    invalid: int = 0
    below: int = 0
    above: int = 0
    wavelengths: tuple[float, ...] = ()
    error: str = ""


class Content:
    """Hash and counts of an image that is seen strip by strip, in any strip height.

    The hash is BLAKE2b-128 over the shape and the BLAKE2b-128 of each band's float32 values, rows
    from the top: equal images have equal hashes however they are stored and read.
    """

    def __init__(self, bands: int) -> None:
        self._bands = [hashlib.blake2b(digest_size=16) for _ in range(bands)]
        self.height = 0
        self.width = 0
        self.invalid = 0
        self.below = 0
        self.above = 0

    def update(self, strip: NDArray[np.float32]) -> None:
        """Take in the next rows, (bands, rows, width)."""
        for digest, band in zip(self._bands, contiguous(strip), strict=True):
            rows = band.astype("<f4", copy=False)
            digest.update(rows.data)
            self.invalid += rows.size - int(np.count_nonzero(np.isfinite(rows)))
            self.below += int(np.count_nonzero(rows < 0.0))
            self.above += int(np.count_nonzero(rows > 1.0))
        self.height += strip.shape[1]
        self.width = strip.shape[2]

    def hexdigest(self) -> str:
        """The hash of what was taken in, 32 hexadecimal digits."""
        whole = hashlib.blake2b(digest_size=16)
        whole.update(np.array([len(self._bands), self.height, self.width], dtype="<i8").tobytes())
        for digest in self._bands:
            whole.update(digest.digest())
        return whole.hexdigest()

    def facts(self, wavelengths: Iterable[float] = ()) -> Facts:
        """Everything that was found out."""
        return Facts(
            bands=len(self._bands),
            height=self.height,
            width=self.width,
            content=self.hexdigest(),
            invalid=self.invalid,
            below=self.below,
            above=self.above,
            wavelengths=tuple(float(centre) for centre in wavelengths),
        )


def contiguous(strip: NDArray[np.float32]) -> NDArray[np.float32]:
    """The strip, (bands, rows, width), with its values in that order in memory."""
    if strip.flags.c_contiguous:
        return strip
    values = np.empty(strip.shape, dtype=np.float32)
    # Transposed row by row, source and destination stay in the processor's cache.
    for row in range(strip.shape[1]):
        values[:, row] = strip[:, row]
    return values


def content_hash(values: NDArray[np.float32]) -> str:
    """The hash that `Content` gives an image in memory, (bands, height, width)."""
    content = Content(values.shape[0])
    content.update(values)
    return content.hexdigest()


def read(key: FileKey) -> Facts:
    """Read one file and say what it holds; an unreadable one has `error` set."""
    modality, path = key
    try:
        return _read_cube(path) if modality == layout.CUBES else _read_input(modality, path)
    except UserError as error:
        return Facts(error=str(error))


def _read_cube(path: str) -> Facts:
    from hsdata.formats import hdf5

    with hdf5.opened(path) as cube:
        content = Content(cube.shape[0])
        for strip in cube.strips():
            content.update(strip)
        return content.facts(cube.wavelengths)


def _read_input(modality: str, path: str) -> Facts:
    from hsdata.formats import image, mosaic

    values = mosaic.read(path) if modality == "mosaic" else image.read(path)
    content = Content(values.shape[0])
    content.update(values)
    return content.facts()


def of_files(keys: Iterable[FileKey], *, count: int = 0, scheduler: str | None = None) -> dict[FileKey, Facts]:
    """The facts of each file; those that have not changed since they were last read are not read again.

    A file counts as unchanged while its real path, size, modification time and inode are.

    Args:
        keys: the files, each once.
        count: processes; 0 means one a core, where that pays.
        scheduler: a Dask scheduler instead of processes.
    """
    wanted = list(keys)
    stamps = {key: remembered.stamp(key[1]) for key in wanted}
    found: dict[FileKey, Facts] = {}
    with remembered.Store(STORE) as store:
        for key in wanted:
            known = store.get(stamps[key], key[0])
            if isinstance(known, dict):
                with contextlib.suppress(TypeError, KeyError):
                    found[key] = Facts(**{**known, "wavelengths": tuple(known["wavelengths"])})
        unknown = [key for key in wanted if key not in found]
        count = workers.sensible(count, sum(_OPENING + stamp.size for key in unknown if (stamp := stamps[key])))
        items = [(modality, raw.location(path, scheduler)) for modality, path in unknown]
        for place, facts in workers.stream(read, items, workers=count, scheduler=scheduler, label="reading"):
            key = unknown[place]
            found[key] = facts
            stamp = stamps[key]
            if not facts.error and stamp is not None and stamp.settled and stamp == remembered.stamp(key[1]):
                store.put(stamp, vars(facts), key[0])
    return found
