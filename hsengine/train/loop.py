"""Training by gradient steps, from any state to the end."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import nn
from tqdm import tqdm

from hsengine.base.errors import UserError
from hsengine.train import sharding
from hsengine.train.averaging import Checkpoint, MovingAverage, better, mean_of, weights_of
from hsengine.train.batches import Part
from hsengine.train.interruption import Interruption, Preempted
from hsengine.train.keeping import Keeper
from hsengine.train.meter import Meter
from hsengine.train.results import Measured, Pictures, Result
from hsengine.train.schedule import Schedule
from hsengine.train.session import Interrupted, Session, unwrapped_errors
from hsengine.train.state import StateFolder
from hsengine.train.step import Stepper
from hsengine.train.task import seeded
from hsengine.train.totals import Totals
from hsengine.train.trackers import Curves
from hsengine.train.watch import Patience, found, resolve


class Loop:
    """Epochs of updates, each followed by measuring the held-out samples.

    Everything that the numbers depend on is in `state_dict`, or is a function of (seed, epoch, step).

    Args:
        session: the task, its data and its device.
        model: the session's model.
        interruption: knows whether a signal asked to stop.
        states: where the state is kept; None on all processes but the first.

    Raises:
        UserError: a measure that a parameter names is unknown.
    """

    def __init__(
        self, session: Session, model: nn.Module, interruption: Interruption, states: StateFolder | None
    ) -> None:
        self.session, self.interruption, self.states = session, interruption, states
        self.settings = settings = session.settings
        self.processes = session.processes
        default = session.task.watch if session.held_out_ids else "train/loss"
        directions = session.task.directions
        self.watch, self.direction = resolve(settings.watch or default, "train.watch", directions)
        stop_on = resolve(settings.stop_on or settings.watch or default, "train.stop_on", directions)
        self.patience = Patience(settings.patience, *stop_on)
        on = settings.plateau_on
        self._plateau = None if on is None else resolve(on, "train.plateau_on", directions)
        self.model = model
        # Whole, for measuring: processes with fewer samples than others would keep those waiting for their parts.
        self._whole = session.spare_model() if session.sharded else None
        self.stepper = Stepper(session, model)
        self.schedule = Schedule(self.stepper.optimizer.optimizer, settings)
        self.average = self._moving_average()
        self.keeper = Keeper(settings, self.direction)
        self.epoch = 0
        self.update = 0
        self.spent = 0.0
        self.totals = Totals()
        self.history: list[dict[str, float]] = []
        self.pictures: Pictures = {}
        self.reason = ""
        self._ahead: Iterator[list[Part]] | None = None
        self._saved = time.monotonic()
        self._earlier = Meter()

    def run(self, curves: Curves) -> Result:
        """Train to the end.

        Raises:
            UserError: a loss was not finite, or a measure that a parameter names is not logged.
            Preempted: told to stop; the state is saved.
        """
        updates = -(-len(self.session.sampler) // (self.settings.batch_size * self.settings.accumulate))
        # None: silent where there is no terminal.
        disable = None if self.processes.first else True
        with tqdm(total=self.settings.epochs * updates, disable=disable, unit="update", desc="training") as bar:
            bar.update(self.epoch * updates + self.update)
            while not self.reason:
                self._train(bar)
                self._close_epoch(curves)
                shown = ["train/loss", "val/loss", *([self.watch] if self.watch in self.history[-1] else [])]
                bar.set_postfix({name: f"{self.history[-1][name]:.4g}" for name in shown if name in self.history[-1]})
        return self._result()

    def _train(self, bar: tqdm[Any]) -> None:
        """The rest of the running epoch."""
        session = self.session
        self._earlier = replace(session.meter)
        stream = self._ahead or self._batches(self.epoch)
        self._ahead = None
        updates = self.stepper.updates()
        if self.update >= updates:
            return
        self.stepper.model.train()
        while self.update < updates and not self.reason:
            started = time.perf_counter()
            done = max(self.epoch + self.update / updates, self.spent * self.settings.epochs)
            self.totals.rate = self.schedule.set(done, updates)
            session.task.progress(done / self.settings.epochs)
            flags = [float(self.interruption.number > 0), float(self._late()), float(self._due()), self._spent()]
            changed, (told, late, due, self.spent) = self.stepper.update(
                stream, self.epoch, self.update, self.totals, flags
            )
            if changed and self.average is not None:
                self.average.update()
            if changed:
                session.task.updated(self.model)
            self.update += 1
            session.meter.seconds += time.perf_counter() - started
            bar.update()
            if told:
                self._stop()
            if late:
                self.reason = "time"
            elif due:
                self._save()

    def _batches(self, epoch: int) -> Iterator[list[Part]]:
        """The batches of an epoch that are still to come; processes that read begin at once."""
        session, skip = self.session, self.update * self.settings.accumulate if epoch == self.epoch else 0
        session.batches.begin(epoch, session.sampler.epoch(epoch), skip=skip)
        return session.meter.waiting(unwrapped_errors(iter(session.loader)))

    def _late(self) -> bool:
        """Whether what is left of the time budget is needed for scoring the model. The first process's clock counts."""
        return self._share_of_time() > 1.0

    def _spent(self) -> float:
        """The share of the time for training that is spent, where the schedule follows it; 0 otherwise."""
        return min(1.0, self._share_of_time()) if self.settings.schedule_by == "time" else 0.0

    def _share_of_time(self) -> float:
        budget, meter = self.settings.max_minutes, self.session.meter
        if budget is None or not self.processes.first:
            return 0.0
        left = 60 * budget - 1.1 * meter.longest_scoring
        return meter.elapsed / left if left > 0 else math.inf

    def _due(self) -> bool:
        """Whether the state is to be saved in mid-epoch. The first process's clock counts."""
        return self.processes.first and time.monotonic() - self._saved > 60 * self.session.machine.state_minutes

    def _close_epoch(self, curves: Curves) -> None:
        """Measure, decide, log, save."""
        session, epoch = self.session, self.epoch
        if not self.totals.samples:
            raise UserError(f"No update of epoch {epoch} had finite losses: lower train.lr, or look at the samples.")
        if epoch + 1 == self.settings.epochs:
            self.reason = self.reason or "epochs"
        if not self.reason and session.sampler.watches == "nothing":
            # Read while the held-out samples are measured.
            self._ahead = self._batches(epoch + 1)
        full = bool(self.reason) or (epoch + 1) % self.settings.score_every == 0 or self.keeper.ends_cycle(epoch)
        measured = self._measure(full)
        row = self.totals.row()
        if self.patience.exhausted(epoch, (row | measured.summary).get(self.patience.curve)):
            self.reason = self.reason or "patience"
            if not full:
                full, measured = True, self._measure(True)
        row |= measured.summary
        found(row, self.patience.curve, "train.stop_on", complete=full)
        value = found(row, self.watch, "train.watch", complete=full)
        self.keeper.offer(epoch, value, lambda: self._checkpoint(epoch, row))
        if self._plateau is None:
            self.schedule.end_epoch(row.get("val/loss", row["train/loss"]))
        else:
            curve, direction = self._plateau
            self.schedule.end_epoch(found(row, curve, "train.plateau_on", complete=full), direction)
        if session.sampler.watches == "validation":
            session.sampler.update(measured.rows)
        elif session.sampler.watches == "training":
            session.sampler.update(self.totals.training_rows(session.ids))
        seeded(session.seed, epoch)
        self.model.eval()
        session.task.epoch_ended(self.model, epoch, measured.rows)
        self.history.append(row)
        self.pictures |= measured.pictures
        curves.log(epoch, row, session.meter.since(self._earlier))
        curves.show(measured.pictures, epoch)
        self.epoch, self.update, self.totals = epoch + 1, 0, Totals()
        self._save()
        if self.processes.sums([float(self.interruption.number > 0)])[0] and not self.reason:
            self._stop(save=False)

    def _measure(self, full: bool) -> Measured:
        """Measure the model, or its moving average; a signal leads to a state from which measuring starts again."""
        try:
            with self._measured() as model:
                return self.session.measure(model, full=full, interruption=self.interruption)
        except Interrupted:
            if self.reason != "time" and self.epoch < self.settings.epochs:
                self.reason = ""
            self._stop()

    @contextmanager
    def _measured(self) -> Iterator[nn.Module]:
        """The model as it is measured: averaged where that is wanted, and whole."""
        with self._averaged():
            if self._whole is None:
                yield self.model
                return
            self._whole.load_state_dict(weights_of(self.model))
            try:
                yield self._whole.to(self.session.device)
            finally:
                self._whole.to("cpu")

    def _moving_average(self) -> MovingAverage | None:
        decay, warmup = self.settings.ema, self.settings.ema_warmup
        return MovingAverage(self.model, decay, warmup=warmup) if decay else None

    def _averaged(self) -> AbstractContextManager[None]:
        return nullcontext() if self.average is None else self.average.applied()

    def _checkpoint(self, epoch: int, row: Mapping[str, float]) -> Checkpoint:
        with self._averaged():
            weights = weights_of(self.model)
        return Checkpoint(weights, epoch, dict(row), (epoch,), moving=self.average is not None)

    def _result(self) -> Result:
        """The checkpoints; the mean of the kept ones takes the best one's place where it measures better."""
        last = self._checkpoint(self.epoch - 1, self.history[-1])
        single, kept = self.keeper.best, self.keeper.averaged
        best, value = single.best or last, single.value
        mean = mean_of(kept)
        if mean is not None and value is not None:
            sharding.load_model(self.model, mean)
            self.average = None
            row = self._measure(True).summary
            if self.watch in row and better(row[self.watch], value, self.direction):
                epochs = tuple(sorted(checkpoint.epoch for checkpoint in kept))
                best = Checkpoint(mean, epochs[-1], row, epochs, moving=best.moving)
        return Result(best, last, self.history, self.watch, self.reason, self.session.report(), kept=self.keeper.files)

    def _stop(self, *, save: bool = True) -> NoReturn:
        """Save and leave; all processes come here together.

        Raises:
            Preempted: always.
        """
        if save:
            self._save()
        self.session.say("Stopped; the state is saved. Run the same command again to go on.")
        self.session.accelerator.wait_for_everyone()
        raise Preempted(self.interruption.number or signal.SIGTERM)

    def _save(self) -> None:
        started = time.monotonic()
        if self.states is not None or self.session.sharded:
            state = self.state_dict()
            if self.states is not None:
                self.states.save(state)
        self._saved = time.monotonic()
        self.session.meter.saving += self._saved - started

    def state_dict(self) -> dict[str, Any]:
        """All that a resumption needs, as whole tensors and plain values."""
        scaler = self.session.accelerator.scaler
        return {
            "model": sharding.whole(self.model.state_dict()),
            "optimizer": sharding.whole(self.stepper.optimizer.state_dict()),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "average": self.average.state_dict() if self.average is not None else {},
            "keeper": self.keeper.state_dict(),
            "patience": self.patience.state_dict(),
            "schedule": self.schedule.state_dict(),
            "sampler": self.session.sampler.state_dict(),
            "task": dict(self.session.task.state_dict()),
            "meter": self.session.meter.state_dict(),
            "totals": self.totals.state_dict(),
            "epoch": self.epoch,
            "update": self.update,
            "spent": self.spent,
            "history": self.history,
            "pictures": {name: torch.from_numpy(picture) for name, picture in self.pictures.items()},
            "reason": self.reason,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        scaler = self.session.accelerator.scaler
        sharding.load_model(self.model, state["model"])
        sharding.load_optimizer(self.stepper.optimizer, state["optimizer"])
        if scaler is not None and state["scaler"]:
            scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.keeper.load_state_dict(state["keeper"])
        self.patience.load_state_dict(state["patience"])
        self.schedule.load_state_dict(state["schedule"])
        self.session.sampler.load_state_dict(state["sampler"])
        self.session.task.load_state_dict(state["task"])
        self.session.meter = Meter(**state["meter"])
        self.totals = Totals(**state["totals"])
        self.epoch, self.update, self.spent = state["epoch"], state["update"], state["spent"]
        self.history = state["history"]
        self.pictures = {name: picture.numpy() for name, picture in state["pictures"].items()}
        self.reason = state["reason"]
