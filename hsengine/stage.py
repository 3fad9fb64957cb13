"""The stage `train` of any project: from its parameters to a model's folder."""

from __future__ import annotations

import json
import math
import pkgutil
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hsengine import folder
from hsengine.base import paths
from hsengine.base.files import write_json
from hsengine.base.settings import TrainingParams
from hsengine.card import card
from hsengine.project import Project, Work
from hsengine.train import Result, Task, launch
from hsengine.train import train as engine
from hsengine.train.averaging import Checkpoint
from hsengine.train.identity import identity, surroundings


@dataclass(frozen=True)
class Trained:
    """A finished training: the record in the model's folder, which is empty on all machines but the first."""

    folder: Path
    config: Mapping[str, Any]

    def __str__(self) -> str:
        if not self.config:
            return "took part in the training; machine 0 has the model"
        best, watch = self.config["checkpoints"]["best"], self.config["watch"]
        value = best["measures"].get(watch)
        shown = f"{watch} {value:.4f}" if value is not None else f"no {watch}"
        return (
            f"{self.config.get('title', self.config['model']['name'])}: {shown} at epoch {best['epoch']} of "
            f"{self.config['epochs']} (ended by: {self.config['ended_by']})\nwrote {self.folder} and {paths.CURVES}"
        )


def train(
    project: Project,
    params: TrainingParams,
    *,
    params_file: Path | None = None,
    command: Sequence[str] | None = None,
) -> Trained:
    """Train what `params.yaml` says, going on from a saved state if there is one.

    Writes `outputs/model`, `outputs/curves` and `outputs/throughput.json`. With `machine.launch`, starts
    the processes that share the work; in a process of such a group, takes its part.

    Args:
        project: whose training this is.
        params: its parameters.
        params_file: where they come from, for the record.
        command: what the user typed, for the record; this process's own command by default.

    Raises:
        UserError: the user can mend it: see the message.
        SystemExit: told to stop, with the state saved; or a process of the group failed.
    """
    record = {"command": shlex.join(command or sys.argv), "params_file": str(params_file) if params_file else None}
    folder.check_place(paths.MODEL)
    work = project.prepare(params)
    if not launch.wanted(params.machine.launch):
        return _train(project, work, params, record)
    # It was made to say here, once, what is wrong with the parameters and the data.
    del work
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "run.json"
        write_json(file, {"project": project.place, "params": params.model_dump_json(), "record": record})
        machine = launch.spawn(__name__, [str(file)], params.machine.launch)
    return Trained(paths.MODEL, folder.record(paths.MODEL) if machine == 0 else {})


def _train(project: Project, work: Work, params: TrainingParams, record: Mapping[str, Any]) -> Trained:
    made = identity(work, params.train, seed=params.seed, entries=project.entries)
    config: dict[str, Any] = {}

    def finish(result: Result) -> None:
        checkpoints = _checkpoints(result)
        training, held_out = work.counts
        config.update(
            {
                "format": 1,
                **work.record,
                "checkpoints": {which: _described(which, checkpoint) for which, checkpoint in checkpoints.items()},
                "watch": result.watch,
                "epochs": len(result.history),
                "ended_by": result.reason,
                "data": {"hash": made.data, "training": training, "held_out": held_out},
                "code": made.code,
                "training": made.key,
                **record,
                **surroundings(project.packages),
                "params": params.model_dump(mode="json"),
            }
        )
        write_json(paths.THROUGHPUT, dict(result.speed))
        weights = {which: _weights(work.task, one) for which, one in checkpoints.items()}
        config.update(folder.save(paths.MODEL, weights, config, card(work.about, config)))

    engine(work.task, params.train, params.machine, seed=params.seed, identity=made, name=project.name, finish=finish)
    return Trained(paths.MODEL, config)


def _checkpoints(result: Result) -> dict[str, Checkpoint]:
    """What is kept of a training, by name."""
    kept = {f"snapshot-{number}": made for number, made in enumerate(result.kept, start=1)}
    return {"best": result.best, "last": result.last, **kept}


def _weights(task: Task, made: Checkpoint) -> Mapping[str, Tensor]:
    """The state of the part of the model that is kept."""
    if type(task).inner is Task.inner:
        return made.weights
    model = task.model()
    model.load_state_dict(made.weights)
    return task.inner(model).state_dict()


def _described(which: str, made: Checkpoint) -> dict[str, Any]:
    """What a file of weights is."""
    return {
        "file": folder.file_of(which),
        "epoch": made.epoch,
        "mean_of_epochs": list(made.averaged),
        "moving_average": made.moving,
        "ensemble": False,
        "snapshot": which not in folder.FILES,
        "measures": {name: value if math.isfinite(value) else None for name, value in made.measures.items()},
    }


def _worker(file: Path) -> None:
    """The part of one process of a group."""
    given = json.loads(file.read_text(encoding="utf-8"))
    project: Project = pkgutil.resolve_name(given["project"])
    params = project.schema.model_validate_json(given["params"])
    _train(project, project.prepare(params), params, given["record"])


if __name__ == "__main__":
    launch.worker(lambda: _worker(Path(sys.argv[1])))
