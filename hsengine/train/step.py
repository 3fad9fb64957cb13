"""One update of the weights, over all processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.train import optimizers, sharding
from hsengine.train.batches import Part
from hsengine.train.normalization import share_statistics
from hsengine.train.session import Session
from hsengine.train.task import Key, seeded
from hsengine.train.totals import Totals


class Stepper:
    """Turns batches into updates.

    An update is made from `accumulate` global batches; its gradient is the mean over all their
    samples, however many processes share them and however short the last batch is.

    Args:
        session: the task, its batches and its device.
        model: the module to train, not wrapped.

    Attributes:
        model: the module to call, wrapped for several processes and mixed precision.
        optimizer: prepared by Accelerate.
    """

    def __init__(self, session: Session, model: nn.Module) -> None:
        self.session = session
        self.settings = settings = session.settings
        self.processes = session.processes
        self._bare = model
        self._norms = share_statistics(model, self.processes.world)
        groups = optimizers.groups_of(session.task.groups(model), model)
        if session.sharded:
            sharding.shard(model, session.device)
            groups = optimizers.groups_of(session.task.groups(model), model)
        # The loss scaler of fp16 cannot tell when a fused step was left out.
        fused = session.device.type == "cuda" and settings.precision != "fp16"
        optimizer = optimizers.build(settings, groups, fused=fused)
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = session.accelerator.prepare_optimizer(optimizer)
        # Sharded parameters exchange their gradients by themselves: what is wrapped then is only the precision.
        self.model = session.accelerator.prepare_model(model, evaluation_mode=session.sharded)
        if settings.compile:
            # In place, so that the keys of the state stay plain.
            model.compile()

    def updates(self) -> int:
        """Updates in the epoch that is laid out in the session's batches."""
        return -(-self.session.batches.total // self.settings.accumulate)

    def update(
        self, stream: Iterator[list[Part]], epoch: int, number: int, totals: Totals, flags: Sequence[float]
    ) -> tuple[bool, list[float]]:
        """Make one update.

        Args:
            stream: this process's batches, from the update's first on.
            epoch: the running epoch.
            number: the update's number in the epoch.
            totals: taken forward by this update.
            flags: this process's numbers for the others.

        Returns:
            Whether the weights changed, and the flags summed over the processes.

        Raises:
            UserError: a loss was not finite, and that is to stop the training.
        """
        session, batches, accumulate = self.session, self.session.batches, self.settings.accumulate
        steps = range(number * accumulate, min((number + 1) * accumulate, batches.total))
        samples = sum(len(batches.everyone(step)) for step in steps)
        skipping = self.settings.nonfinite == "skip"
        buffers = [buffer.clone() for buffer in self._bare.buffers()] if skipping else []
        keys: list[Key] = []
        tables: list[Tensor] = []
        names: list[str] = []
        for step in steps:
            mine = batches.mine(step)
            of_one_size = self._in_step(next(stream))
            # After the loader, which draws from the generators when an epoch, or a resumed part of one, begins.
            seeded(session.seed, epoch, step, self.processes.rank)
            for turn, part in enumerate(of_one_size):
                batch = session.on_device(part.batch)
                own = [mine[place] for place in part.places if place < len(mine)]
                # Gradients are exchanged once an update; the factor makes the mean over processes one over samples.
                last = step == steps[-1] and turn + 1 == len(of_one_size)
                for norm in self._norms:
                    norm.counted = bool(own)
                with nullcontext() if last or session.sharded else session.accelerator.no_sync(self.model):
                    losses, parts = session.task.losses(self.model, batch)
                    session.accelerator.backward(losses[: len(own)].sum() * (self.processes.world / samples))
                names = sorted(parts)
                table = torch.stack([losses.detach(), *(parts[name].detach() for name in names)])
                tables.append(table[:, : len(own)].double())
                keys += own
        session.meter.samples += samples
        table = torch.cat(tables, dim=1)
        bad = (~torch.isfinite(table[0])).sum()[None].double()
        sums = self.processes.sums([*torch.cat([table.sum(1), bad]).tolist(), *flags])
        width = 1 + len(names)
        if sums[width]:
            self._report(table[0], keys, epoch, number)
            for buffer, before in zip(self._bare.buffers(), buffers, strict=True):
                buffer.copy_(before)
            totals.skipped += 1
            changed = False
        else:
            totals.add(dict(zip(["loss", *names], sums[:width], strict=True)), samples)
            changed = self._apply(totals)
            if session.sampler.watches == "training":
                visits = [(key[1], loss) for key, loss in zip(keys, table[0].tolist(), strict=True)]
                totals.visits += self.processes.all_of(visits)
        self.optimizer.zero_grad()
        return changed, sums[width + 1 :]

    def _in_step(self, parts: list[Part]) -> list[Part]:
        """As many parts on every process where they share statistics or weights; those added count as nothing."""
        if not self._norms and not self.session.sharded:
            return parts
        most = max(self.processes.all_of([len(parts)]))
        return parts + [Part([], parts[-1].batch)] * (most - len(parts))

    def _apply(self, totals: Totals) -> bool:
        """Clip the gradients and step; false where fp16's scaler left the step out, looking for its scale."""
        self.session.accelerator.unscale_gradients()
        norm = sharding.gradient_norm(self._trained)
        if self.settings.clip_norm is not None:
            sharding.clip(self._trained, self.settings.clip_norm, norm)
        self.optimizer.step()
        if self.optimizer.step_was_skipped:
            totals.overflows += 1
            return False
        totals.norms += float(norm)
        totals.steps += 1
        return True

    def _report(self, losses: Tensor, keys: Sequence[Key], epoch: int, number: int) -> None:
        """Say which samples gave a loss that is not finite.

        Raises:
            UserError: that is to stop the training.
        """
        finite = torch.isfinite(losses).tolist()
        mine = [self.session.ids[key[1]] for key, sound in zip(keys, finite, strict=True) if not sound]
        bad = ", ".join(sorted(self.processes.all_of(mine)))
        where = f"The loss of {bad} is not finite in epoch {epoch}, update {number}"
        if self.settings.nonfinite == "stop":
            raise UserError(
                f"{where}: look at these samples, lower train.lr or set train.clip_norm; "
                "'train.nonfinite: skip' passes over such updates."
            )
        self.session.say(f"{where}: the update is left out.")
