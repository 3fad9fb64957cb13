"""The training loop against a bare loop over batches in memory: overhead, and time spent waiting for data.

The bare loop is forward, loss, backward and step on crops that lie in memory, with the same model, loss and
optimiser. The engine reads as many crops from Zarr in worker processes, augments them, checks losses and
gradients, and saves its state after every epoch; measuring held-out samples is left out of its time. The two
take turns, the first turn warms up. Makes its own data.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from hsdata import catalog as catalogs
from hsdata import convert, index, paths, sample
from hsmodels.engine import Identity, train
from hsmodels.heldout import held_out_rows, training_rows
from hsmodels.params import Params
from hsmodels.reconstruction import Reconstruction


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="pixels a side of a cube")
    parser.add_argument("--crop", type=int, default=64, help="pixels a side of a crop of the input")
    parser.add_argument("--samples", type=int, default=24, help="training samples")
    parser.add_argument("--batch", type=int, default=4, help="crops in a batch")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each turn")
    parser.add_argument("--repeat", type=int, default=3, help="turns that count")
    parser.add_argument("--workers", type=int, default=1, help="processes that read")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads that compute, in both loops")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="loop-") as folder:
        os.chdir(folder)
        bench(options)


def bench(options: argparse.Namespace) -> None:
    params = prepared(options)
    frame = catalogs.load(paths.CATALOG)
    task = Reconstruction(params, training_rows(frame), held_out_rows(frame).iloc[:1])
    batches = in_memory(task, options.batch)
    pixels = f"{options.crop} x {options.crop} -> {2 * options.crop} x {2 * options.crop} x 61"
    print(f"mstpp (31 features, 1 stage), batches of {options.batch} crops {pixels}, {options.threads} threads")
    bare, engine, speeds = [], [], []
    for turn in range(options.repeat + 1):
        by_hand = bare_loop(task, batches, params)
        speed = engine_loop(task, params, Path(f"turn-{turn}"))
        if turn:
            bare.append(by_hand)
            engine.append((speed["training_seconds"] + speed["saving_seconds"]) / (options.epochs * len(batches)))
            speeds.append(speed)
    report(bare, engine, speeds)


def prepared(options: argparse.Namespace) -> Params:
    """Data and parameters in the current folder."""
    sample.make("data", size=options.size, train=options.samples, test_public=4, test_private=1, workers=1)
    training = {
        "epochs": options.epochs,
        "batch_size": options.batch,
        "loader_workers": options.workers,
        "score_every": 1000,
        "clip_norm": 1.0,
    }
    params = Params.model_validate(
        {
            "model": "mstpp",
            "models": {"mstpp": {"n_feat": 31, "stage": 1}},
            "augment": {"crop": options.crop},
            "train": training,
        }
    )
    frame = catalogs.make("data", params.track, workers=1)
    catalogs.save(frame, paths.CATALOG)
    convert.run(frame, paths.ZARR, chunk=params.convert.chunk, dtype="float32", workers=1)
    index.write(index.make(frame, params.index, params.seed), paths.INDEX)
    return params


def in_memory(task: Reconstruction, size: int) -> list[dict[str, Tensor]]:
    samples = task.training()
    items = [samples[0, place, 0] for place in range(len(samples))]
    return [default_collate(items[first : first + size]) for first in range(0, len(items), size)]


def bare_loop(task: Reconstruction, batches: list[dict[str, Tensor]], params: Params) -> float:
    """Seconds an update."""
    model = task.model().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=params.train.lr)
    started = time.perf_counter()
    for _ in range(params.train.epochs):
        for batch in batches:
            losses, _ = task.loss(model(batch["input"]), batch["target"])
            losses.mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return (time.perf_counter() - started) / (params.train.epochs * len(batches))


def engine_loop(task: Reconstruction, params: Params, folder: Path) -> Mapping[str, Any]:
    """What the engine reports of its speed."""
    identity = Identity({"turn": folder.name}, "", "")
    places = {"curves": folder / "curves", "states": folder / "states"}
    return train(task, params.train, seed=0, identity=identity, say=print, **places).speed


def report(bare: list[float], engine: list[float], speeds: list[Mapping[str, Any]]) -> None:
    print(f"bare loop  {statistics.median(bare):8.3f} s an update")
    print(f"engine     {statistics.median(engine):8.3f} s an update, its state saved after every epoch")
    overheads = [with_engine / without - 1.0 for without, with_engine in zip(bare, engine, strict=True)]
    print(f"overhead   {statistics.median(overheads):8.1%}   ({min(overheads):.1%} to {max(overheads):.1%})")
    for name, key, scale, unit in (
        ("waiting", "data_wait_share", 100, "% of the time, for data"),
        ("speed", "samples_per_second", 1, "samples a second"),
        ("memory", "peak_memory_mb", 1, "MB at most, reading processes left out"),
    ):
        print(f"{name:10} {statistics.median(speed[key] for speed in speeds) * scale:8.1f} {unit}")


if __name__ == "__main__":
    main()
