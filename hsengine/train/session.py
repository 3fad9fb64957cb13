"""What any way of training needs: the device, the processes, the data, and the measuring."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import send_to_device
from numpy.typing import NDArray
from torch import nn

from hsengine.base.errors import UserError
from hsengine.base.settings import Machine, Train
from hsengine.base.workers import available_cores
from hsengine.train import checkpointing, sampling
from hsengine.train.averaging import Checkpoint
from hsengine.train.batches import GlobalBatches, Part, Single, loader
from hsengine.train.interruption import Interruption
from hsengine.train.launch import check_world
from hsengine.train.meter import Meter
from hsengine.train.processes import Processes
from hsengine.train.task import Batch, Row, Task, categories_of, ids_of, seeded

Pictures = dict[str, NDArray[np.uint8]]
MEASURED = "val/"
# One process seldom feeds on more.
_MOST_READERS = 8


class Interrupted(Exception):  # noqa: N818
    """The measuring was broken off by a signal that some process got."""


@dataclass(frozen=True)
class Measured:
    """The held-out set's measures: rows sorted by id, their summary by curve, pictures by name."""

    rows: list[Row]
    summary: dict[str, float]
    pictures: Pictures


@dataclass(frozen=True)
class Result:
    """What a training made.

    Attributes:
        best: the checkpoint with the best watched measure.
        last: the one after the last epoch.
        history: what was logged after each epoch, by curve.
        watch: the curve that decided.
        reason: why it ended: `epochs`, `patience`, `time`, or `closed form`.
        speed: samples a second, waiting for data, memory.
    """

    best: Checkpoint
    last: Checkpoint
    history: list[dict[str, float]]
    watch: str
    reason: str
    speed: Mapping[str, Any] = field(repr=False)


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
        self.sampler = sampling.build(
            settings.sampling, self.ids, categories_of(self.samples), seed=seed, epochs=settings.epochs
        )
        rank, world, pin = self.processes.rank, self.processes.world, self.device.type == "cuda"
        self.batches = GlobalBatches(settings.batch_size, rank=rank, world=world)
        # Samples that lie on the device are not read by other processes.
        resident = bool(getattr(self.samples, "resident", False))
        readers = _readers(machine, self.device)
        workers = 0 if resident else readers
        self.loader = loader(self.samples, self.batches, workers=workers, pin=pin and not resident)
        single = Single(len(self.held_out), rank=rank, world=world)
        self.held_out_loader = loader(self.held_out, single, workers=min(readers, len(single)), pin=pin)

    def model(self) -> nn.Module:
        """The task's model with weights that follow from the seed, on the device."""
        with torch.random.fork_rng(devices=[]):
            seeded(self.seed)
            model = self.task.model()
        if self.settings.gradient_checkpointing:
            checkpointing.enable(model)
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
            full: whether the dear measures and the pictures are wanted.
            interruption: looked at between samples.

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
        # Every process makes as many rounds, so that they agree on stopping.
        rounds = -(-len(self.held_out) // self.processes.world)
        stream = unwrapped_errors(self.held_out_loader)
        for turn in range(rounds):
            if interruption is not None and self.processes.sums([interruption.number])[0]:
                raise Interrupted
            index = turn * self.processes.world + self.processes.rank
            if index >= len(self.held_out):
                continue
            (part,) = next(stream)
            batch = self.on_device(part.batch)
            (measured,) = self.task.measures(model, batch, full=full)
            if index in shown:
                made = self.task.pictures(model, batch)
                pictures += [(f"{self.held_out_ids[index]}/{name}", made[name]) for name in sorted(made)]
            known = {"id": self.held_out_ids[index], "category": self.held_out_categories[index]}
            rows.append(known | {name: float(value) for name, value in measured.items()})
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


@contextmanager
def explained() -> Iterator[None]:
    """Turn what a GPU refuses into advice.

    Raises:
        UserError: memory ran out, or an operation has no deterministic form.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            f"The GPU's memory is full ({str(error).splitlines()[0][:160]}): lower train.batch_size (and raise "
            "train.accumulate), set augment.crop, train.precision bf16 or train.gradient_checkpointing."
        ) from error
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise UserError(
            f"train.deterministic: {traceback.format_exception_only(error)[-1].splitlines()[0][:300]} "
            "Set it to false, or choose a model without that operation."
        ) from error


def deterministic(wanted: bool) -> AbstractContextManager[None]:
    """While it lasts, operations give the same bits on every run, on GPUs too; or nothing changes."""
    return _deterministic() if wanted else nullcontext()


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


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
