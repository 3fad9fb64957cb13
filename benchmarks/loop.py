"""The training loop against a bare loop over batches in memory: overhead, and time spent waiting for data.

The bare loop is forward, loss, backward and step on crops that lie in memory, with the same model, loss and
optimiser. The engine reads as many crops from Zarr in worker processes, augments them, checks losses and
gradients, and saves its state after every epoch; measuring held-out samples is left out of its time. The two
take turns update by update, so that whatever else the machine does meets both alike; the first epoch warms up
and starts the readers. How long the engine waits for data is taken from a training without such turns. Where other
work keeps the cores busy, look at the processor time of the training process, and at the median updates, which
leave out what seldom happens. Makes its own data.
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

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate

from hsdata import catalog as catalogs
from hsdata import convert, index, paths, sample
from hsengine.train import Identity, train
from hsmodels.heldout import division
from hsmodels.params import Params
from hsmodels.reconstruction import Reconstruction

Seconds = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="pixels a side of a cube")
    parser.add_argument("--crop", type=int, default=64, help="pixels a side of a crop of the input")
    parser.add_argument("--samples", type=int, default=48, help="training samples; the challenge has 167")
    parser.add_argument("--batch", type=int, default=4, help="crops in a batch")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of a training, the first does not count")
    parser.add_argument("--repeat", type=int, default=3, help="trainings")
    parser.add_argument("--workers", type=int, default=1, help="processes that read")
    parser.add_argument("--cache", choices=("auto", "none", "memory"), default="auto", help="machine.cache")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads that compute, in both loops")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="loop-") as folder:
        os.chdir(folder)
        bench(options)


def bench(options: argparse.Namespace) -> None:
    params = prepared(options)
    frame = catalogs.load(paths.CATALOG)
    training, held_out = division(frame)
    rows = training, held_out.iloc[:1]
    pixels = f"{options.crop} x {options.crop} -> {2 * options.crop} x {2 * options.crop} x 61"
    print(f"mstpp (31 features, 1 stage), batches of {options.batch} crops {pixels}, {options.threads} threads")
    print(f"machine.cache: {options.cache}")
    bare, engine, typical, saving, speeds = [], [], [], [], []
    for number in range(options.repeat):
        task = TakingTurns(params, *rows, options.batch)
        speed = engine_loop(task, params, Path(f"turns-{number}"))
        counted = task.batches_per_epoch * (options.epochs - 1)
        bare.append(np.mean(task.bare[-counted:], axis=0))
        engine.append(np.mean(task.engine[-counted:], axis=0))
        typical.append(np.median(task.engine[-counted:], axis=0) / np.median(task.bare[-counted:], axis=0) - 1.0)
        saving.append(speed["saving_seconds"] / (task.batches_per_epoch * options.epochs))
        speeds.append(engine_loop(Reconstruction(params, *rows), params, Path(f"alone-{number}")))
    report(bare, engine, typical, saving, speeds)


def now() -> Seconds:
    return np.array([time.perf_counter(), time.process_time()])


class TakingTurns(Reconstruction):
    """Makes an update of the bare loop before each of the engine's, and times both.

    Attributes:
        bare: seconds of each update of the bare loop, by the clock and of this process on the processor.
        engine: the same of each of the engine's, from its first act to what follows it.
    """

    def __init__(self, params: Params, training: pd.DataFrame, held_out: pd.DataFrame, size: int) -> None:
        super().__init__(params, training, held_out)
        self._batches = in_memory(self, size)
        self.batches_per_epoch = len(self._batches)
        self._network = self.model().train()
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=params.train.lr)
        self.bare: list[Seconds] = []
        self.engine: list[Seconds] = []
        self._since: Seconds | None = None

    def progress(self, done: float) -> None:
        """What the engine calls before each update, and before it measures."""
        if self._since is not None:
            self.engine.append(now() - self._since)
        super().progress(done)
        self._since = None
        if done < 1.0:
            self.bare.append(self._update(self._batches[len(self.bare) % len(self._batches)]))
            self._since = now()

    def _update(self, batch: dict[str, Tensor]) -> Seconds:
        """An update of the bare loop, and how long it took."""
        state = torch.get_rng_state()
        started = now()
        losses, _ = self.loss(self._network(batch["input"]), batch["target"])
        losses.mean().backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        spent = now() - started
        torch.set_rng_state(state)
        return spent


def prepared(options: argparse.Namespace) -> Params:
    """Data and parameters in the current folder."""
    sample.make("data", size=options.size, train=options.samples, test_public=4, test_private=1, workers=1)
    training = {
        "epochs": options.epochs,
        "batch_size": options.batch,
        "score_every": 1000,
        "clip_norm": 1.0,
    }
    params = Params.model_validate(
        {
            "model": "mstpp",
            "models": {"mstpp": {"n_feat": 31, "stage": 1}},
            "augment": {"crop": options.crop},
            "train": training,
            "machine": {"loader_workers": options.workers, "cache": options.cache},
        }
    )
    frame = catalogs.make("data", params.track, workers=1)
    catalogs.save(frame, paths.CATALOG)
    convert.update(frame, paths.ZARR, chunk=params.convert.chunk, dtype="float32", workers=1)
    index.write(index.make(frame, params.index, params.seed), paths.INDEX)
    return params


def in_memory(task: Reconstruction, size: int) -> list[dict[str, Tensor]]:
    samples = task.training()
    items = [samples[0, place, 0] for place in range(len(samples))]
    return [default_collate(items[first : first + size]) for first in range(0, len(items), size)]


def engine_loop(task: Reconstruction, params: Params, folder: Path) -> Mapping[str, Any]:
    """What the engine reports of its speed."""
    identity = Identity({"turn": folder.name}, "", "")
    places = {"curves": folder / "curves", "states": folder / "states"}
    return train(task, params.train, params.machine, seed=0, identity=identity, say=print, **places).speed


def report(
    bare: list[Seconds],
    engine: list[Seconds],
    typical: list[Seconds],
    saving: list[float],
    speeds: list[Mapping[str, Any]],
) -> None:
    print(f"bare loop  {statistics.median(seconds[0] for seconds in bare):8.3f} s an update")
    print(f"engine     {statistics.median(seconds[0] for seconds in engine):8.3f} s an update")
    print(f"saving     {statistics.median(saving):8.3f} s an update, for the state after every epoch")
    whole = [seconds + saved for seconds, saved in zip(engine, saving, strict=True)]
    ratios = [with_engine / without - 1.0 for without, with_engine in zip(bare, whole, strict=True)]
    for place, name, unit in ((0, "overhead", ""), (1, "processor", " of overhead in processor time")):
        found = [ratio[place] for ratio in ratios]
        print(f"{name:10} {statistics.median(found):8.1%}{unit}   ({min(found):.1%} to {max(found):.1%})")
    found = [float(ratio[0]) for ratio in typical]
    print(f"typical    {statistics.median(found):8.1%} between the medians   ({min(found):.1%} to {max(found):.1%})")
    for name, key, scale, unit in (
        ("waiting", "data_wait_share", 100, "% of the time, for data, starting the readers included"),
        ("speed", "samples_per_second", 1, "samples a second"),
        ("memory", "peak_memory_mb", 1, "MB at most, reading processes left out"),
    ):
        print(f"{name:10} {statistics.median(speed[key] for speed in speeds) * scale:8.1f} {unit}")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"load       {load} over 1, 5 and 15 minutes")


if __name__ == "__main__":
    main()
