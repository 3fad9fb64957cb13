"""Reading crops and whole cubes, and converting: this project's stores against the published layout.

The published layout is a Zarr array in chunks of (61, 512, 512), Blosc LZ4 with bit shuffle, that is read whole
and then cropped. On this project's own store its reader runs against Zarr's, also with the pipeline zarrs, and
tensorstore. Prints times, bytes read from files and peak memory. Makes its own data.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import zarr
import zarr.codecs
from numcodecs import blosc
from numpy.typing import NDArray

from hsdata import BAND_GRID, Cube, convert
from hsdata.camera.camera import STANDARD_OBSERVER
from hsdata.formats import _shard, hdf5
from hsdata.formats import zarr as stores
from hsdata.mixing import mixing
from hsengine.base import workers

Values = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="height and width of the cube in pixels")
    parser.add_argument("--crop", type=int, default=256, help="height and width of a crop in pixels")
    parser.add_argument("--repeat", type=int, default=5, help="measurements of each kind; crops: four times as many")
    parser.add_argument("--chunk", type=int, default=64, help="side of a chunk in pixels")
    options = parser.parse_args()
    if not 0 < options.crop <= options.size:
        parser.error("the crop must fit into the cube")
    folder = Path(tempfile.mkdtemp(prefix="crops-"))
    try:
        bench(folder, options.size, options.crop, options.repeat, options.chunk)
    finally:
        shutil.rmtree(folder)


def bench(folder: Path, size: int, crop: int, repeat: int, chunk: int) -> None:
    values = scene(size)
    crop_bytes = values.itemsize * len(values) * crop**2
    print(f"cube {values.shape} float32, {values.nbytes / 1e6:.0f} MB; crops of {crop} x {crop}; {cores()} cores")
    published = make_published(folder, values)
    raw = folder / "raw.h5"
    hdf5.write(raw, Cube(values, BAND_GRID), gzip=1)
    paths: dict[str, Path] = {}
    for dtype in ("float32", "uint16"):
        paths[dtype] = folder / f"{dtype}.zarr"
        stores.write(paths[dtype], Cube(values, BAND_GRID), chunk=chunk, dtype=dtype)  # type: ignore[arg-type]
    del values

    corners = positions(size - crop, 4 * repeat)
    few = corners[:repeat]
    whole = timed(lambda top, left: zarr_whole(published, top, left, crop), few)
    gzip = timed(lambda top, left: hdf5_crop(raw, top, left, crop), few[: max(2, repeat // 3)])
    print(f"\ncrop, published layout read whole    {whole * 1e3:8.1f} ms")
    print(f"crop, gzip HDF5                      {gzip * 1e3:8.1f} ms    {whole / gzip:6.1f} x as fast")
    for dtype, path in paths.items():
        for threads in dict.fromkeys((1, _shard.threads())):
            _shard.threads = lambda threads=threads: threads  # type: ignore[misc]
            store = stores.ZarrCube(path)
            store.read(0, 0, crop, crop)
            seconds = timed(lambda top, left, store=store: store.read(top, left, crop, crop), corners)
            label = f"crop, store {dtype}, {threads} thread{'s' * (threads > 1)}"
            print(f"{label:36s} {seconds * 1e3:8.1f} ms    {whole / seconds:6.1f} x as fast")
        before = bytes_read()
        for top, left in corners:
            store.read(top, left, crop, crop)
        touched = (bytes_read() - before) / len(corners) / crop_bytes
        decoded = statistics.mean(chunks_under(top, left, crop, chunk) for top, left in corners) * chunk**2 / crop**2
        print(f"  read from the file {touched:.2f} x the crop's bytes, decoded {decoded:.2f} x")

    libraries(paths["float32"], corners, crop)

    frame = timed(lambda *_: np.asarray(zarr.open_array(published, mode="r")[...]), few)
    print(f"\nframe, published layout              {frame * 1e3:8.1f} ms")
    for dtype, path in paths.items():
        seconds = timed(lambda *_, path=path: stores.ZarrCube(path).read(), few)
        print(f"frame, store {dtype:8s}                {seconds * 1e3:8.1f} ms    {frame / seconds:6.1f} x as fast")
    seconds = timed(lambda *_: hdf5.read(raw).values, few[:2])
    print(f"frame, gzip HDF5                     {seconds * 1e3:8.1f} ms    {frame / seconds:6.1f} x as fast")

    conversion(folder, raw, size, chunk, max(1, repeat // 3))


def libraries(path: Path, corners: list[tuple[int, int]], crop: int) -> None:
    """Readers of one store, in turn for each crop, so that what else the machine does troubles all of them alike."""
    readers = readers_of(path, crop)
    expected = readers["this project"](*corners[0])
    figures: dict[str, list[tuple[float, float, int]]] = {name: [] for name in readers}
    for name, read in readers.items():
        assert np.array_equal(read(*corners[0]), expected), name
    for number, corner in enumerate(corners):
        order = list(readers)
        for name in order[number % len(order) :] + order[: number % len(order)]:
            size, start, processor = bytes_read(), time.perf_counter(), time.process_time()
            readers[name](*corner)
            seconds = time.perf_counter() - start
            figures[name].append((seconds, time.process_time() - processor, bytes_read() - size))
    print("\ncrop of the float32 store by     clock    processor   bytes read (of the crop's), medians")
    for name, taken in figures.items():
        clock, processor, size = (statistics.median(column) for column in zip(*taken, strict=True))
        print(f"  {name:25s} {clock * 1e3:8.1f} ms {processor * 1e3:8.1f} ms {size / expected.nbytes:8.2f} x")


def readers_of(path: Path, crop: int) -> dict[str, Callable[[int, int], Values]]:
    """What gives (bands, crop, crop) float32 at a corner, by name; libraries that are not installed are left out."""
    ours = stores.ZarrCube(path)
    plain = zarr.open_array(path, mode="r")
    found: dict[str, Callable[[int, int], Values]] = {
        "this project": lambda top, left: ours.read(top, left, crop, crop),
        "zarr": lambda top, left: np.asarray(plain[:, top : top + crop, left : left + crop]),
    }
    with contextlib.suppress(ImportError):
        importlib.import_module("zarrs")
        with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
            piped = zarr.open_array(path, mode="r")
        found["zarr, pipeline zarrs"] = lambda top, left: np.asarray(piped[:, top : top + crop, left : left + crop])
    with contextlib.suppress(ImportError):
        tensorstore: Any = importlib.import_module("tensorstore")
        kvstore = {"driver": "file", "path": str(path)}
        # Nothing of the shard but its index is remembered, as by the others.
        opened = tensorstore.open(
            {"driver": "zarr3", "kvstore": kvstore}, read=True, recheck_cached_data=False
        ).result()
        found["tensorstore"] = lambda top, left: opened[:, top : top + crop, left : left + crop].read().result()
    return found


def conversion(folder: Path, raw: Path, size: int, chunk: int, repeat: int) -> None:
    """One cube against bare decompression and compression, then several on all cores, and peak memory."""
    shape = (len(BAND_GRID), size, size)
    cube_mb = 4e-6 * math.prod(shape)
    bare = min(seconds_of(lambda: decompress_and_compress(raw, chunk)) for _ in range(repeat))
    work = convert.Work("a", str(raw), str(folder / "converted.zarr"), shape, chunk, "float32")
    ours = min(seconds_of(lambda: convert.convert(work)) for _ in range(repeat))
    print(f"\nbare decompression and compression   {bare:8.2f} s")
    print(f"conversion of one cube               {ours:8.2f} s     {ours / bare:6.2f} x the bare time")

    count = max(6, 2 * cores())
    rows = [{"id": f"s{i}", "split": "train", "cube": str(raw), "cube_hash": str(i)} for i in range(count)]
    catalog = pd.DataFrame(rows).assign(bands=shape[0], height=size, width=size)
    out = folder / "out"
    seconds = seconds_of(lambda: convert.update(catalog, out, chunk=chunk))
    ideal = bare * count / cores()
    label = f"conversion of {count} cubes, {cores()} cores"
    print(f"{label:36s} {seconds:8.2f} s     {seconds / ideal:6.2f} x the bare time, with the start of the workers")
    seconds = seconds_of(lambda: convert.update(catalog, out, chunk=chunk))
    print(f"the same again, nothing changed      {seconds:8.2f} s")
    one_more(folder, raw, shape, chunk, ours)
    for dtype in ("float32", "uint16"):
        peak = peak_memory(convert.convert, replace(work, dtype=dtype))
        print(f"peak memory of converting, {dtype:7s}   {peak:8.0f} MB    {peak / cube_mb:6.2f} x the cube")
    peak = peak_memory(mixing.make, mixture(folder, raw, shape, chunk))
    print(f"peak memory of mixing two cubes      {peak:8.0f} MB    {peak / cube_mb:6.2f} x one cube")
    peak = peak_memory(read_crop, str(folder / "float32.zarr"))
    print(f"peak memory of reading a crop        {peak:8.0f} MB    {peak / cube_mb:6.2f} x the cube")


def one_more(folder: Path, raw: Path, shape: tuple[int, int, int], chunk: int, one: float) -> None:
    """A thousand small cubes are up to date; then one of full size joins them."""
    small = folder / "small.h5"
    hdf5.write(small, Cube(np.zeros((shape[0], 16, 16), np.float32), BAND_GRID))
    rows = [
        {"id": f"t{i}", "split": "train", "cube": str(small), "cube_hash": str(i), "height": 16, "width": 16}
        for i in range(1000)
    ]
    rows.append({**rows[0], "id": "more", "cube": str(raw), "height": shape[1], "width": shape[2]})
    catalog = pd.DataFrame(rows).assign(bands=shape[0])
    out = folder / "thousand"
    convert.update(catalog[:-1], out, chunk=chunk, workers=1)
    seconds = seconds_of(lambda: convert.update(catalog, out, chunk=chunk, workers=1))
    print(f"one cube more among a thousand       {seconds:8.2f} s     {seconds / one:6.2f} x converting it")


def mixture(folder: Path, raw: Path, shape: tuple[int, int, int], chunk: int) -> mixing.Work:
    """A synthetic sample of two cubes of full size."""
    return mixing.Work(
        name="mixed",
        cubes=(str(raw), str(raw)),
        inputs=("", ""),
        shapes=(shape, shape),
        lam=0.3,
        size=shape[1:],
        track=2,
        normalize="none",
        rgb="render",
        chunk=chunk,
        dtype="float32",
        device="cpu",
        camera=STANDARD_OBSERVER,
        cube_out=str(folder / "mixed.zarr"),
        input_out=str(folder / "mixed.png"),
        rgb_out=str(folder / "mixed_full.png"),
    )


def scene(size: int) -> Values:
    """Smooth spectra on a few surfaces, with the stripes and the noise of a real sensor."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / size
    values = np.empty((len(BAND_GRID), size, size), dtype=np.float32)
    for band, wavelength in enumerate(BAND_GRID):
        red_edge = 1.0 / (1.0 + np.exp(-(wavelength - 710.0) / 15.0))
        leaf = 0.05 + 0.4 * red_edge
        surface = np.where(np.hypot(rows - 0.4, columns - 0.5) < 0.3, leaf, 0.75 + 0.1 * np.sin(wavelength / 90.0))
        surface = np.where(rows > 0.85, 0.002, surface) * (0.9 + 0.1 * np.cos(4.0 * columns))
        stripes = rng.uniform(-0.003, 0.003, size)
        values[band] = surface + stripes + rng.normal(0.0, 0.001, (size, size))
    return values


def make_published(folder: Path, values: Values) -> Path:
    path = folder / "published.zarr"
    side = min(512, values.shape[1])
    codec = zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")
    array = zarr.create_array(
        path, shape=values.shape, dtype=values.dtype, chunks=(len(values), side, side), compressors=codec
    )
    array[...] = values
    return path


def zarr_whole(path: Path, top: int, left: int, crop: int) -> Values:
    return np.asarray(zarr.open_array(path, mode="r")[...])[:, top : top + crop, left : left + crop].copy()


def hdf5_crop(path: Path, top: int, left: int, crop: int) -> Values:
    with h5py.File(path) as file:
        return np.ascontiguousarray(np.moveaxis(file["cube"][top : top + crop, left : left + crop], 2, 0))


def read_crop(path: str) -> Values:
    return stores.ZarrCube(path).read(100, 100, 256, 256)


def decompress_and_compress(path: Path, chunk: int) -> None:
    """What no conversion can do without: inflate every chunk, compress every tile; nothing is written."""
    with h5py.File(path) as file:
        values = file["cube"][...]
    for top in range(0, values.shape[0], chunk):
        for left in range(0, values.shape[1], chunk):
            tile = np.ascontiguousarray(np.moveaxis(values[top : top + chunk, left : left + chunk], 2, 0))
            blosc.compress(tile, b"lz4", 5, 1, 0, 4)


def positions(most: int, count: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(1)
    return [(int(top), int(left)) for top, left in rng.integers(0, most + 1, (count, 2))]


def chunks_under(top: int, left: int, crop: int, chunk: int) -> int:
    rows, columns = ((start + crop - 1) // chunk - start // chunk + 1 for start in (top, left))
    return rows * columns


def cores() -> int:
    return workers.available_cores()


def seconds_of(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def timed(read: Callable[[int, int], object], corners: list[tuple[int, int]]) -> float:
    """The median time of a read."""
    return statistics.median(seconds_of(lambda corner=corner: read(*corner)) for corner in corners)


def bytes_read() -> int:
    """Bytes that this process has read from files, by the system's count."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def peak_memory(function: Callable[..., object], argument: object) -> float:
    """MB above those of the imports, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(theirs, function, argument))
    process.start()
    theirs.close()
    peak: float = ours.recv()
    process.join()
    return peak


def measure(pipe: object, function: Callable[..., object], argument: object) -> None:
    before = high_water()
    function(argument)
    pipe.send(high_water() - before)  # type: ignore[attr-defined]


def high_water() -> float:
    """The most memory that this process has held, in MB; unlike `getrusage` without what its parent held."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()
