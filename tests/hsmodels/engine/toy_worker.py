"""One process of a training of the toy task: `python -m toy_worker SPEC RESULT`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
from toy_task import Toy

from hsmodels.engine import Identity, launch, train
from hsmodels.params import Train


class Noted(Toy):
    """The toy task, slowed down, telling which samples it sees in which step."""

    def __init__(self, log, pause=0.0, **options):
        super().__init__(**options)
        self.log, self.pause = log, pause

    def losses(self, model, batch):
        if torch.is_grad_enabled():
            with Path(f"{self.log}.{os.environ.get('RANK', 0)}").open("a") as stream:
                stream.write(json.dumps(batch["index"].tolist()) + "\n")
        time.sleep(self.pause)
        return super().losses(model, batch)


def run(specification: Path, result: Path) -> None:
    spec = json.loads(specification.read_text())
    folder = Path(spec["folder"])
    made = train(
        Noted(result.with_suffix(".log"), **spec.get("task", {})),
        Train(**spec["settings"]),
        seed=3,
        identity=Identity(spec["settings"], "code", "data"),
        curves=folder / "curves",
        states=folder / "runs",
    )
    if int(os.environ.get("RANK", 0)) == 0:
        result.write_text(
            json.dumps(
                {
                    "history": made.history,
                    "world": int(os.environ.get("WORLD_SIZE", 1)),
                    "weights": {name: value.tolist() for name, value in made.last.weights.items()},
                }
            )
        )


if __name__ == "__main__":
    launch.worker(lambda: run(*map(Path, sys.argv[1:])))
