"""Cut-outs of lenses: reading files by astropy and by the fast path, converting, and reading objects from the store.

Makes its own files in the release's layout. Prints rates and peak memory, and what they mean for the challenge's
1,000,000 labelled and 500,000 blind files, if these were as near as the ones measured here.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from hstasks.lenses import catalog, convert, cutout
from hstasks.lenses.layout import BANDS, SIDE
from hstasks.lenses.params import Convert, Data, LensSections
from hstasks.lenses.sky import released


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000, help="files to make, half labelled, half blind")
    parser.add_argument("--reads", type=int, default=2_000, help="objects read at random from the store")
    parser.add_argument("--workers", type=int, default=0, help="processes of the stages; 0: one a core")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cutouts-"))
    try:
        bench(folder, options.files // 2 // len(BANDS), options.reads, options.workers)
    finally:
        shutil.rmtree(folder)


def bench(folder: Path, objects: int, reads: int, workers: int) -> None:
    seconds = seconds_of(lambda: make(folder, objects))
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{2 * objects * len(BANDS)} files made in {seconds:.0f} s; {load}")
    for name, path in (
        ("labelled", folder / "hsc_lenses" / "D2_L_00000001_g.fits"),
        ("blind", folder / "test" / "object_00001_g.fits"),
    ):
        reader(name, path)
    rows = stages(folder, workers)
    store(folder, rows, reads)


def make(folder: Path, objects: int) -> None:
    """Noise of one seed for all objects, told apart by their first pixel, so that making them is quick."""
    image = np.random.default_rng(0).standard_normal((len(BANDS), SIDE, SIDE))
    for name in ("hsc_lenses", "test"):
        (folder / name).mkdir()
    for index in range(objects):
        image[:, 0, 0] = np.arange(len(BANDS)) + index
        for band, plane in zip(BANDS, image, strict=True):
            content = released.training_file("Lens ID", f"{index:017d}", band, plane)
            (folder / "hsc_lenses" / f"D2_L_{index:08d}_{band}.fits").write_bytes(content)
            blind = released.blind_file(plane + 0.5)
            (folder / "test" / f"object_{index:05d}_{band}.fits").write_bytes(blind)


def reader(name: str, path: Path, repeat: int = 300) -> None:
    """One file again and again: what decoding costs where the disk costs nothing."""
    content = path.read_bytes()
    ours = seconds_of(lambda: [cutout._released(content) for _ in range(10 * repeat)]) / 10 / repeat
    theirs = seconds_of(lambda: [cutout._any(path, content) for _ in range(repeat)]) / repeat
    whole = seconds_of(lambda: [cutout.open_cutout(path) for _ in range(10 * repeat)]) / 10 / repeat
    print(
        f"{name:9s} decoding {ours * 1e6:5.0f} us, by astropy {theirs * 1e6:5.0f} us ({theirs / ours:.0f} x); "
        f"open_cutout with the disk {whole * 1e6:.0f} us"
    )


def stages(folder: Path, workers: int) -> pd.DataFrame:
    params = LensSections(data=Data(root=str(folder)), convert=Convert())
    table, out = folder / "catalog.csv", folder / "store"
    seconds = seconds_of(lambda: catalog.run(params, out=table, workers=workers))
    rows = catalog.load(table)
    count = int(rows["bands"].str.len().sum())
    rate = count / seconds
    print(f"catalog   {rate:7.0f} files/s, peak {memory()}; 1.5 million files: {1.5e6 / rate / 60:.0f} min")
    seconds = seconds_of(lambda: convert.run(params, catalog=table, out=out, workers=workers))
    rate = count / seconds
    print(f"convert   {rate:7.0f} files/s, peak {memory()}; 1.5 million files: {1.5e6 / rate / 60:.0f} min")
    seconds = seconds_of(lambda: convert.run(params, catalog=table, out=out, workers=workers))
    print(f"again, nothing changed {seconds:.1f} s")
    return rows


def store(folder: Path, rows: pd.DataFrame, reads: int) -> None:
    drawn = rows.iloc[np.random.default_rng(1).integers(len(rows), size=reads)]
    places = list(zip(drawn["bucket"], drawn["row"].tolist(), strict=True))
    opened, group = convert.Store(folder / "store"), zarr.open_group(folder / "store", mode="r")
    arrays: dict[str, Any] = {name: group[name] for name in rows["bucket"].unique()}
    files = [catalog.files_of(row) for row in drawn.head(200).itertuples()]
    for label, work, count in (
        ("five files", lambda: [[cutout.open_cutout(path) for path in entry.values()] for entry in files], len(files)),
        ("the store", lambda: [opened.read(*place) for place in places], reads),
        ("the store, by zarr", lambda: [arrays[name][row] for name, row in places[:200]], len(places[:200])),
    ):
        work()  # type: ignore[no-untyped-call]
        seconds = seconds_of(work)
        print(f"an object from {label:20s} {seconds / count * 1e6:7.0f} us, {count / seconds:7.0f} objects/s")
    block = np.stack([opened.read(*place) for place in places[:512]])
    by_zarr = seconds_of(lambda: written_by_zarr(folder / "block", block))
    print(f"a shard of {len(block)} objects written by zarr: {by_zarr * 1e3:.0f} ms")
    by_hand = seconds_of(lambda: written_by_hand(folder / "hand", block))
    print(f"the same by hand: {by_hand * 1e3:.0f} ms")


def written_by_zarr(path: Path, block: Any) -> None:
    array = zarr.create_array(
        path, shape=block.shape, chunks=(1, *block.shape[1:]), shards=block.shape, dtype="float32", compressors=None
    )
    array[...] = block


def written_by_hand(path: Path, block: Any) -> None:
    with path.open("wb") as stream:
        for image in block:
            stream.write(image.astype("<f4", copy=False).tobytes())


def seconds_of(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def memory() -> str:
    """Peak of this process and of the largest of its workers."""
    peaks: Sequence[int] = [
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return " and ".join(f"{peak / 1024:.0f} MB" for peak in peaks) + " (this process, its largest worker)"


if __name__ == "__main__":
    main()
