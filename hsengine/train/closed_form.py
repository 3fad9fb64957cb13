"""Training of models that are solved for, not trained by descent."""

from __future__ import annotations

import time
from collections.abc import Iterator

from torch import nn

from hsengine.train.averaging import Checkpoint, weights_of
from hsengine.train.results import Result
from hsengine.train.session import Session, unwrapped_errors
from hsengine.train.task import Batch
from hsengine.train.trackers import Curves


def fit(session: Session, model: nn.Module, curves: Curves) -> Result:
    """Fit the model in one pass over the training samples, on the first process, and measure it.

    Args:
        session: the task, its data and its device.
        model: one whose `closed_form` is true.
        curves: gets the measures as those of epoch 0.
    """
    earlier = session.meter.state_dict()
    if session.processes.first:
        started = time.perf_counter()
        session.task.fit(model, _batches(session))
        session.meter.seconds += time.perf_counter() - started
        session.meter.samples += len(session.ids)
    model.load_state_dict(session.processes.from_first(weights_of(model)))
    measured = session.measure(model, full=True)
    curves.log(0, measured.summary, session.meter.since(type(session.meter)(**earlier)))
    curves.show(measured.pictures, 0)
    checkpoint = Checkpoint(weights_of(model), 0, measured.summary, (0,))
    return Result(
        checkpoint, checkpoint, [measured.summary], f"val/{session.task.watch}", "closed form", session.report()
    )


def _batches(session: Session) -> Iterator[Batch]:
    """Every training sample once, one by one, in their own order; this process gets them all."""
    batches = session.batches
    batches.size, batches.rank, batches.world = 1, 0, 1
    batches.begin(0, [(index, 0) for index in range(len(session.ids))])
    for (part,) in session.meter.waiting(unwrapped_errors(session.loader)):
        yield session.on_device(part.batch)
