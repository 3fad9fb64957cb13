"""What grows with the number of samples: catalog, hold-out, plan and leak check, in processor time and memory.

Each step runs in a process of its own on a made-up catalog with groups of up to four samples. With `--files` the
catalog is also made from files on disk, for the first time and again: what a changed data folder costs once it has been
read. The files are links to few tiny ones, so that it is the work for each sample that is measured, not the disk.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from hsdata import catalog, index, smote
from hsdata.params import Index
from hsdata.testing import catalog_of, data_folder, numbered

SHARES = {1: 0.30, 2: 0.18, 3: 0.34, 4: 0.18}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--files", action="store_true", help="make the catalog from files, too")
    options = parser.parse_args()
    for count in options.samples:
        with tempfile.TemporaryDirectory(prefix="scale-") as folder:
            os.chdir(folder)
            catalog.save(made_up(count), "catalog.csv")
            steps = {name: (step, count) for name, step in STEPS.items()}
            if options.files:
                files(count)
                steps |= {"catalog of files": (remade, count), "catalog of files, again": (remade, count)}
            print(f"{count:,} samples")
            for name, step in steps.items():
                seconds, memory = measured(*step)
                print(f"  {name:28s} {seconds:8.2f} s {memory:6.0f} MB", flush=True)
            os.chdir("/")


def made_up(count: int) -> pd.DataFrame:
    """A catalog of so many training samples, a tenth of test-public, in groups of up to four."""
    ids = [name for category, share in SHARES.items() for name in numbered(category, round(share * count))]
    public = {name for place, name in enumerate(ids) if place // 4 % 10 == 0}
    groups = {name: f"{name[:10]}-{place // (1 + place // 4 % 4)}" for place, name in enumerate(ids)}
    split = {"train": [name for name in ids if name not in public], "test-public": sorted(public)}
    return catalog_of(split, group=groups)


def read(count: int) -> pd.DataFrame:
    return catalog.load("catalog.csv")


def public(count: int) -> None:
    index.make(read(count), Index(strategy="public"), 0)


def stratified(count: int) -> None:
    index.make(read(count), Index(strategy="stratified", per_category=max(1, count // 50)), 0)


def folds(count: int) -> None:
    index.make(read(count), Index(strategy="folds", folds=5), 0)


def unknown(count: int) -> None:
    Path("unknown.txt").write_text("".join(f"Categry-1_a_{number:04d}\n" for number in range(300)))
    try:
        index.make(read(count), Index(strategy="file", path="unknown.txt"), 0)
    except Exception as error:
        assert "is not in the catalog" in str(error)


def plan(count: int) -> None:
    frame = read(count)
    decision = index.make(frame, Index(strategy="folds", folds=5), 0)
    smote.planned(frame, decision.train, balance="max").write(".")


def leaks(count: int) -> None:
    frame = read(count)
    decision = index.make(frame, Index(strategy="folds", folds=5), 0)
    made = smote.planned(frame, decision.train, balance="max").plan
    assert not index.leaks(decision.held_out, plan=made, catalog=frame, training=decision.train)


STEPS: dict[str, Callable[[int], Any]] = {
    "catalog read": read,
    "index: public": public,
    "index: stratified": stratified,
    "index: folds": folds,
    "index: 300 unknown ids": unknown,
    "smote plan": plan,
    "leak check": leaks,
}


def files(count: int) -> None:
    """A data folder of links to a few tiny samples."""
    names = [name for category, share in SHARES.items() for name in numbered(category, round(share * count))]
    originals = data_folder("originals", {"train": names[:4]})
    for modality, suffix in (("rgb_2", "png"), ("hsi_61", "h5")):
        place = Path("data/track2/train", modality)
        place.mkdir(parents=True)
        sources = [originals / "track2/train" / modality / f"{name}.{suffix}" for name in names[:4]]
        for number, name in enumerate(names):
            os.link(sources[number % 4], place / f"{name}.{suffix}")


def remade(count: int) -> None:
    catalog.make("data", 2)


def measured(step: Callable[[int], Any], count: int) -> tuple[float, float]:
    """Seconds of a step, and MB at its most above those of the imports, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(theirs, step, count))
    process.start()
    theirs.close()
    seconds, memory = ours.recv()
    process.join()
    return seconds, memory


def child(pipe: Any, step: Callable[[int], Any], count: int) -> None:
    before, start = high_water(), processor_time()
    step(count)
    pipe.send((processor_time() - start, high_water() - before))


def processor_time() -> float:
    """Seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def high_water() -> float:
    """The most memory that this process has held, in MB; unlike `getrusage` without what its parent held."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()
