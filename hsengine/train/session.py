"""What any way of training needs: the device, the processes, the data, and the measuring."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import send_to_device
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import default_collate

from hsengine.base.errors import UserError
from hsengine.base.settings import Machine, Train
from hsengine.base.workers import available_cores
from hsengine.train import checkpointing, sampling
from hsengine.train.batches import GlobalBatches, HeldOutBatches, Part, loader
from hsengine.train.interruption import Interruption
from hsengine.train.launch import check_world
from hsengine.train.meter import Meter
from hsengine.train.processes import Processes
from hsengine.train.results import Measured
from hsengine.train.sampling import Sampler
from hsengine.train.task import Batch, Row, Task, categories_of, ids_of, seeded

MEASURED = "val/"
# One process seldom feeds on more.
_MOST_READERS = 8


class Interrupted(Exception):  # noqa: N818
    """The measuring was broken off by a signal that some process got."""


class Session:
    """A task on its device, among its processes.

    Args:
        task: what is trained.
        settings: how, as far as it decides the result.
        machine: how, as far as it does not.
        seed: of the model's first weights, the samples' order and each step.
        say: tells the user something; called on the first process only.

    Raises:
        UserError: the device has not got the precision, or there is nothing to train on.
    """

    def __init__(self, task: Task, settings: Train, machine: Machine, *, seed: int, say: Callable[[str], None]) -> None:
        self.task, self.settings, self.machine, self.seed = task, settings, machine, seed
        # One process may train several times, with different precisions.
        AcceleratorState._reset_state()
        _check_precision(settings.precision)
        self.accelerator = Accelerator(mixed_precision=settings.precision, cpu=not torch.cuda.is_available())
        self.device = self.accelerator.device
        self.processes = Processes(self.accelerator)
        check_world(self.processes.world)
        # One process has nobody to share with.
        self.sharded = machine.launch.shard and self.processes.world > 1
        self.say: Callable[[str], None] = say if self.processes.first else lambda message: None
        if machine.launch.shard and not self.sharded:
            self.say("machine.launch.shard: one process has nobody to share the model with, so nothing changes.")
        self.meter = Meter()
        self.samples, self.held_out = task.training(), task.held_out()
        if len(self.samples) == 0:
            raise UserError("There is no sample to train on: see which ones are held out, and what the data hold.")
        self.ids, self.held_out_ids = ids_of(self.samples), ids_of(self.held_out)
        self.held_out_categories = categories_of(self.held_out)
        self.sampler = self._sampler()
        rank, world, pin = self.processes.rank, self.processes.world, self.device.type == "cuda"
        self.batches = GlobalBatches(settings.batch_size, rank=rank, world=world)
        # Samples that lie on the device are not read by other processes.
        resident = bool(getattr(self.samples, "resident", False))
        readers = _readers(machine, self.device)
        workers = 0 if resident else readers
        self.loader = loader(self.samples, self.batches, workers=workers, pin=pin and not resident)
        self.measuring = HeldOutBatches(len(self.held_out), machine.measure_batch, rank=rank, world=world)
        self.held_out_loader = loader(self.held_out, self.measuring, workers=min(readers, len(self.measuring)), pin=pin)

    def _sampler(self) -> Sampler:
        """What `train.sampling` names, with as many visits as `train.updates` needs."""
        settings = self.settings
        size = settings.updates * settings.accumulate * settings.batch_size if settings.updates else None
        given = self.ids, categories_of(self.samples)
        if settings.sampling != "task":
            return sampling.build(settings.sampling, *given, seed=self.seed, epochs=settings.epochs, size=size)
        made = self.task.sampler(*given, seed=self.seed, epochs=settings.epochs, size=size)
        if size is not None and len(made) != size:
            raise ValueError(f"Task.sampler is to make {size} visits an epoch (train.updates), but makes {len(made)}.")
        return made

    def model(self) -> nn.Module:
        """The task's model with weights that follow from the seed, on the device."""
        with torch.random.fork_rng(devices=[]):
            seeded(self.seed)
            model = self.task.model()
        if self.settings.gradient_checkpointing:
            checkpointing.enable(model, self.task.advice)
        if self.settings.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model.to(self.device)

    def spare_model(self) -> nn.Module:
        """A second model in main memory, of the same precision; not to be trained."""
        made: nn.Module = self.accelerator.prepare_model(
            self.model().to("cpu"), device_placement=False, evaluation_mode=True
        )
        return made

    def on_device(self, batch: Batch) -> Batch:
        """A loader's batch on the device, images in the memory layout that is asked for."""
        batch = send_to_device(batch, self.device, non_blocking=True)
        if self.settings.channels_last and isinstance(batch, dict):
            return {
                name: value.contiguous(memory_format=torch.channels_last)
                if isinstance(value, torch.Tensor) and value.ndim == 4
                else value
                for name, value in batch.items()
            }
        return batch

    @torch.no_grad()
    def measure(self, model: nn.Module, *, full: bool, interruption: Interruption | None = None) -> Measured:
        """Measure the held-out samples, shared out over the processes.

        Args:
            model: unwrapped; it is left in evaluation mode.
            full: whether the expensive measures and the pictures are wanted.
            interruption: looked at between batches.

        Returns:
            The same on every process, whatever their number.

        Raises:
            Interrupted: a process was told to stop.
        """
        started = time.perf_counter()
        model.eval()
        self.task.progress(1.0)
        self.processes.share_buffers(model)
        rows: list[Row] = []
        pictures: list[tuple[str, NDArray[np.uint8]]] = []
        shown = set(range(min(self.machine.pictures, len(self.held_out)))) if full else set()
        parts = zip(self.measuring, unwrapped_errors(self.held_out_loader), strict=True)
        # Every process makes as many rounds, so that they agree on stopping.
        for _ in range(self.measuring.rounds):
            if interruption is not None and self.processes.sums([interruption.number])[0]:
                raise Interrupted
            keys, of_one_size = next(parts, ([], []))
            for part in of_one_size:
                indices = [keys[place][1] for place in part.places]
                batch = self.on_device(part.batch)
                for index, measured in zip(indices, self.task.measures(model, batch, full=full), strict=True):
                    known = {"id": self.held_out_ids[index], "category": self.held_out_categories[index]}
                    rows.append(known | {name: float(value) for name, value in measured.items()})
                for index in sorted(shown.intersection(indices)):
                    if len(indices) > 1:
                        batch = self.on_device(default_collate([self.held_out[0, index, 0]]))
                    made = self.task.pictures(model, batch)
                    pictures += [(f"{self.held_out_ids[index]}/{name}", made[name]) for name in sorted(made)]
        rows = sorted(self.processes.all_of(rows), key=lambda row: row["id"])
        summary = {MEASURED + name: value for name, value in self.task.summary(rows).items()} if rows else {}
        shown_ones = dict(sorted(self.processes.all_of(pictures), key=lambda item: item[0]))
        spent = time.perf_counter() - started
        self.meter.scoring += spent
        if full:
            self.meter.longest_scoring = max(self.meter.longest_scoring, spent)
        return Measured(rows, summary, shown_ones)

    def report(self) -> dict[str, Any]:
        """Throughput and memory of the training; memory is that of the process that needs most."""
        mine = self.meter.report(self.device, self.processes.world)
        peaks = self.processes.all_of([float(mine["peak_memory_mb"])])
        return mine | {"peak_memory_mb": max(peaks)}


def unwrapped_errors(batches: Iterable[list[Part]]) -> Iterator[list[Part]]:
    """The batches; a user's mistake found in a loader's worker comes out as its own message."""
    try:
        yield from batches
    except UserError as error:
        text = str(error)
        if "Original Traceback" not in text:
            raise
        name = type(error).__name__
        raise UserError(text.rpartition(f"{name}: ")[2].strip()) from None


def _readers(machine: Machine, device: torch.device) -> int:
    """Processes that read for this one.

    Unless it is given, a GPU has its share of the machine's cores, one core left to what feeds it. On a CPU
    the model needs the cores, and takes far longer than reading.
    """
    if machine.loader_workers is not None:
        return machine.loader_workers
    if device.type == "cpu":
        return 0
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(max(available_cores() // beside - 1, 1), _MOST_READERS)


def _check_precision(precision: str) -> None:
    cuda = torch.cuda.is_available()
    if precision == "fp16" and not cuda:
        raise UserError("train.precision: fp16 needs a GPU; choose bf16 or no.")
    if precision == "bf16" and cuda and not torch.cuda.is_bf16_supported():
        raise UserError("train.precision: this GPU has no bf16; choose fp16 or no.")
