"""Train a task: the engine's entry."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.settings import Machine, Train
from hsengine.train import closed_form, optimizers, start, trackers
from hsengine.train.averaging import weights_of
from hsengine.train.guards import deterministic, explained
from hsengine.train.interruption import Interruption
from hsengine.train.loop import Loop
from hsengine.train.results import Result
from hsengine.train.session import Session
from hsengine.train.state import Identity, StateFolder
from hsengine.train.task import Task
from hsengine.train.trackers import Curves


def say(message: str) -> None:
    """Tell the user something, past any progress bar."""
    tqdm.write(message, file=sys.stderr)


def train(
    task: Task,
    settings: Train,
    machine: Machine,
    *,
    seed: int,
    identity: Identity,
    name: str = "training",
    finish: Callable[[Result], None] = lambda result: None,
    curves: Path = paths.CURVES,
    states: Path | None = None,
    say: Callable[[str], None] = say,
) -> Result:
    """Train a task to the end, going on from a saved state if there is one.

    Every process of a distributed training calls this; see `hsengine.train.launch`.

    Args:
        task: what is trained.
        settings: the section `train`.
        machine: the section `machine`.
        seed: of the model's first weights, the samples' order and each step.
        identity: finds the state again; a training with another identity starts afresh.
        name: of the project: begins the name of the state's folder, and is the project's name in trackers.
        finish: called on the first process with the result, before the state is removed.
        curves: the folder of DVCLive's files.
        states: the folder of the saved states; `runs` in `hsengine.base.paths.state_folder()` by default.
        say: tells the user something.

    Returns:
        The checkpoints and what was logged; the same on every process.

    Raises:
        UserError: the user can mend it: see the message.
        SystemExit: SIGTERM or Ctrl-C came; the state is saved. The code after SIGTERM is
            `hsengine.train.interruption.PREEMPTED`.
    """
    trackers.check(machine.trackers)
    optimizers.check(settings)
    with deterministic(settings.deterministic), explained(task.advice), Interruption() as interruption:
        session = Session(task, settings, machine, seed=seed, say=say)
        folder = _opened(session, states or paths.state_folder() / "runs", name, identity)
        run_id = folder.run_id if folder is not None else ""

        def curves_from(history: list[dict[str, float]]) -> Curves:
            return Curves(session.accelerator, name, curves, machine.trackers, identity.configuration, history, run_id)

        try:
            model = session.model()
            if task.is_closed_form(model):
                if settings.start:
                    raise UserError("train.start: this model is solved for and starts from nothing; set it to null.")
                with curves_from([]) as logged:
                    result = closed_form.fit(session, model, logged)
            else:
                state = session.processes.from_first(folder.load() if folder is not None else None)
                if state is None:
                    _prepare(session, model)
                loop = Loop(session, model, interruption, folder)
                if state is not None:
                    _resume(loop, state)
                with curves_from(loop.history) as logged:
                    logged.show(loop.pictures, loop.epoch - 1, again=True)
                    result = loop.run(logged)
            if folder is not None:
                finish(result)
                folder.remove()
        finally:
            if folder is not None:
                folder.close()
        session.accelerator.wait_for_everyone()
    return result


def _opened(session: Session, root: Path, name: str, identity: Identity) -> StateFolder | None:
    """The folder of this training's state, on the first process."""
    return StateFolder(root, identity, session.say, name=name) if session.processes.first else None


def _prepare(session: Session, model: nn.Module) -> None:
    """Fill a fresh model with what it starts from and let the task complete it, on the first process for all."""
    changed = False
    if session.processes.first:
        if session.settings.start:
            start.fill(session.task.inner(model), session.settings, session.say)
        changed = session.task.prepare(model) or bool(session.settings.start)
    if session.processes.sums([float(changed)])[0]:
        model.load_state_dict(session.processes.from_first(weights_of(model)))
        if session.processes.world > 1:
            session.task.load_state_dict(session.processes.from_first(dict(session.task.state_dict())))


def _resume(loop: Loop, state: Mapping[str, Any]) -> None:
    """Put a saved state back."""
    loop.load_state_dict(state)
    updates = f", update {loop.update}" if loop.update else ""
    loop.session.say(f"Going on from a saved state: epoch {loop.epoch}{updates}.")
