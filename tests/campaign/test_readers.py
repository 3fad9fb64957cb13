"""Every reader of the registries on spoiled files: a sound image, or words to the user."""

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image
from spoiling import Fault, at_length, attempt, binary, spoiled

from hsdata import formats
from hsdata.cube import Cube
from hsdata.formats import envi, hdf5, image, mosaic, zarr
from hsdata.formats.capture import Capture
from hsengine.base.errors import UserError

BANDS = np.arange(450.0, 950.0, 100.0)


def cube() -> Cube:
    values = np.random.default_rng(1).random((5, 8, 6)).astype(np.float32)
    return Cube(values, BANDS, "made up")


def _envi(file: Path) -> None:
    _, data = envi.write(file.with_suffix(".hdr"), cube())
    if file.suffix != ".hdr":
        data.rename(file)


def _tiff(file: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="the package tifffile is not installed")
    tifffile.imwrite(file, cube().values, compression="zlib" if file.suffix == ".tif" else None)
    (file.parent / f"{file.stem}_wavelengths.csv").write_text("nm\n" + "\n".join(map(str, BANDS)))


def _numpy(file: Path) -> None:
    if file.suffix == ".npz":
        np.savez_compressed(file, cube=cube().values, wavelengths=BANDS, mask=np.ones((8, 6), np.uint8))
    else:
        np.save(file, cube().values)
        (file.parent / f"{file.stem}_wavelengths.txt").write_text("\n".join(map(str, BANDS)))


# One for each module of the registry: a new format is tried as soon as it can write a sound file here.
SOUND: dict[str, Callable[[Path], Any]] = {
    "hdf5": lambda file: hdf5.write(file, cube(), gzip=4 if file.suffix == ".h5" else None),
    "zarr": lambda file: zarr.write(file, cube()),
    "envi": _envi,
    "matlab": lambda file: scipy.io.savemat(file, {"cube": cube().values, "wavelengths": BANDS}),
    "tiff": _tiff,
    "numpy": _numpy,
}


def _sound_cube(found: Cube) -> None:
    assert np.isfinite(found.wavelengths).all()
    assert (found.wavelengths > 0).all()
    assert len(found.wavelengths) == found.bands
    assert found.values.size > 0


def _sound_capture(found: Capture) -> None:
    np.asarray(found.values[:, :1])
    assert found.scale is None or (np.isfinite(found.scale) and found.scale > 0)


def test_every_format_has_a_sound_file_here() -> None:
    assert set(formats.READERS.values()) == set(SOUND)


@pytest.mark.parametrize("suffix", sorted(formats.READERS))
def test_a_spoiled_file_is_sound_or_explained(suffix: str, place: Path) -> None:
    folder = place / f"of{suffix}"
    folder.mkdir()
    file = folder / f"image{suffix}"
    SOUND[formats.READERS[suffix]](file)
    _sound_cube(formats.open_cube(file))
    parts = [part for part in sorted(folder.rglob("*")) if part.is_file()]
    kept = {part: part.read_bytes() for part in parts}

    def tried(found: list[Fault]) -> None:
        # Which of a format's files follows from the faults.
        part = parts[sum(len(data) for _, _, data in found) % len(parts)]
        # A new file each time: an open map of the last one must not change.
        part.unlink()
        part.write_bytes(spoiled(kept[part], found))
        try:
            attempt(lambda: formats.open_cube(file), _sound_cube)
            attempt(lambda: formats.load(file), _sound_capture)
        finally:
            part.unlink()
            part.write_bytes(kept[part])

    module = formats.READERS[suffix]
    at_length(module, binary, tried, share=1.0 / list(formats.READERS.values()).count(module))


@pytest.mark.parametrize("suffix", sorted(formats.READERS))
@pytest.mark.parametrize("nature", ["empty", "folder", "pipe", "another format", "a link to itself"])
def test_what_is_no_such_file_is_refused(suffix: str, nature: str, tmp_path: Path) -> None:
    file = tmp_path / f"image{suffix}"
    if nature == "folder":
        file.mkdir()
    elif nature == "pipe":
        os.mkfifo(file)
    elif nature == "a link to itself":
        file.symlink_to(file)
    else:
        file.write_bytes(b"" if nature == "empty" else b"%PDF-1.7 something else entirely")
    for read in (formats.open_cube, formats.load):
        with pytest.raises(UserError, match="image"):
            read(file)


@pytest.mark.parametrize("name", ["cube", "wavelengths", "mask"])
def test_a_dataset_that_was_never_written_takes_no_memory(name: str, tmp_path: Path) -> None:
    shapes = {"cube": (8, 6, 5), "wavelengths": (5,), "mask": (8, 6)} | {
        name: {"cube": (10**6, 10**6, 5), "wavelengths": (10**13,), "mask": (10**7, 10**7)}[name]
    }
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        for key, shape in shapes.items():
            file.create_dataset(key, shape, "f4", chunks=tuple(min(64, length) for length in shape))
    with pytest.raises(UserError, match=r"declares an array of [\d,]+ bytes"):
        formats.open_cube(tmp_path / "huge.h5")


@pytest.mark.parametrize(("number", "length"), [(1, 2**64 - 16), (1, 2**64 - 20), (0, 0)])
def test_a_heap_without_end_is_refused(number: int, length: int, tmp_path: Path) -> None:
    file = tmp_path / "cube.h5"
    hdf5.write(file, Cube(cube().values[:, :5], BANDS, "bands first or last"))
    content = bytearray(file.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first : first + 16] = struct.pack("<HHIQ", number, 1, 0, length)
    file.write_bytes(content)
    for read in (formats.open_cube, formats.load):
        with pytest.raises(UserError, match="a heap of its texts"):
            read(file)


def test_pages_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    file = tmp_path / "image.tif"
    _tiff(file)
    content = bytearray(file.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * tags, first)
    file.write_bytes(content)
    attempt(lambda: formats.open_cube(file), _sound_cube)


def test_a_capture_with_a_name_that_is_no_text_is_read(tmp_path: Path) -> None:
    hdf5.write(tmp_path / "cube.h5", cube())
    file = tmp_path / os.fsdecode(b"caf\xe9.h5")
    shutil.move(tmp_path / "cube.h5", file)
    _sound_cube(formats.open_cube(file))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".npy"])
def test_a_spoiled_input_is_sound_or_explained(suffix: str, place: Path) -> None:
    file = place / f"input{suffix}"
    if suffix == ".npy":
        mosaic.write(file, np.random.default_rng(2).random((1, 8, 8)))
    else:
        Image.fromarray(np.random.default_rng(2).integers(0, 255, (8, 8, 3), np.uint8)).save(file)
    kept = file.read_bytes()
    read = mosaic.read if suffix == ".npy" else image.read

    def tried(found: list[Fault]) -> None:
        file.unlink()
        file.write_bytes(spoiled(kept, found))
        attempt(lambda: read(file), lambda values: np.testing.assert_array_equal(np.isfinite(values), True))

    at_length(f"input {suffix}", binary, tried)


def _task_formats() -> list[str]:
    readers = pytest.importorskip("hstasks.images.readers")
    return sorted(readers.FORMATS)


@pytest.mark.parametrize("suffix", _task_formats())
def test_a_spoiled_picture_of_a_task_is_sound_or_explained(suffix: str, place: Path) -> None:
    from hstasks.images import readers

    file = place / f"picture{suffix}"
    Image.fromarray(np.random.default_rng(3).integers(0, 255, (8, 8), np.uint8)).save(file)
    kept = file.read_bytes()

    def tried(found: list[Fault]) -> None:
        file.write_bytes(spoiled(kept, found))
        attempt(lambda: readers.to_float(readers.read(file)))
        attempt(lambda: readers.read_mask(file))

    kind = readers.FORMATS[suffix]
    at_length(f"picture {kind.name}", binary, tried, share=1.0 / list(readers.FORMATS.values()).count(kind))


@pytest.mark.parametrize("kind", ["training", "blind"])
def test_a_spoiled_cutout_is_sound_or_explained(kind: str, place: Path) -> None:
    pytest.importorskip("astropy", reason="the package astropy is not installed")
    from hstasks.lenses.cutout import open_cutout
    from hstasks.lenses.sky import released

    pixels = np.random.default_rng(4).standard_normal((41, 41))
    content = released.training_file("Lens ID", "7", "g", pixels) if kind == "training" else released.blind_file(pixels)
    file = place / "object_00001_g.fits"

    def tried(found: list[Fault]) -> None:
        file.write_bytes(spoiled(content, found))
        attempt(lambda: open_cutout(file))

    at_length("cutout FITS", binary, tried, share=0.5)
