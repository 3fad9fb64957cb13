"""One process of trainings of the toy task, one after the other.

Arguments: a specification and where its result goes, for each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from toy_task import Learned, Toy, machine, settings

from hsengine.train import Identity, launch, train
from hsengine.train.interruption import PREEMPTED
from hsengine.train.sharding import local


class Noted(Toy):
    """The toy task, slowed down, telling which samples it sees in which step; the first process can get SIGTERM."""

    def __init__(self, log, pause=0.0, stop_in=None, **options):
        super().__init__(**options)
        self.log, self.pause, self.stop_in = log, pause, stop_in
        self.steps = 0
        self.share = 0.0

    def losses(self, model, batch):
        if torch.is_grad_enabled():
            self.steps += 1
            parameters = list(model.parameters())
            self.share = sum(local(value).numel() for value in parameters) / sum(value.numel() for value in parameters)
            if self.steps == self.stop_in and int(os.environ.get("RANK", 0)) == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            with Path(f"{self.log}.{os.environ.get('RANK', 0)}").open("a") as stream:
                stream.write(json.dumps(batch["index"].tolist()) + "\n")
        time.sleep(self.pause)
        return super().losses(model, batch)


class NotedLearned(Noted, Learned):
    """The one with all that a task may add."""


def run(specification: Path, result: Path) -> None:
    spec = json.loads(specification.read_text())
    folder = Path(spec["folder"])
    options = spec.get("task", {})
    kind = NotedLearned if options.pop("learned", False) else Noted
    task = kind(result.with_suffix(".log"), **options)
    made = train(
        task,
        settings(**spec["settings"]),
        machine(**spec["settings"]),
        seed=3,
        identity=Identity({name: value for name, value in spec["settings"].items() if name != "launch"}, "", ""),
        curves=folder / "curves",
        states=folder / "runs",
    )
    if int(os.environ.get("RANK", 0)) == 0:
        weights = {"best": made.best.weights, "last": made.last.weights}
        weights |= {f"kept {number}": kept.weights for number, kept in enumerate(made.kept)}
        result.write_text(
            json.dumps(
                {
                    "history": made.history,
                    "world": int(os.environ.get("WORLD_SIZE", 1)),
                    "share": task.share,
                    "averaged": made.best.averaged,
                    "weights": {
                        which: {name: value.tolist() for name, value in state.items()}
                        for which, state in weights.items()
                    },
                }
            )
        )


def run_all(arguments: list[str]) -> None:
    """Run each of several; those that are stopped leave the word to the next."""
    for specification, result in zip(arguments[::2], arguments[1::2], strict=True):
        try:
            run(Path(specification), Path(result))
        except SystemExit as end:
            if end.code != PREEMPTED or len(arguments) == 2:
                raise


if __name__ == "__main__":
    launch.worker(lambda: run_all(sys.argv[1:]))
