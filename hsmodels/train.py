"""The stage `train`: from the catalog and the parameters to a trained model."""

from __future__ import annotations

import json
import math
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from hsdata import BAND_GRID, paths, smote
from hsdata import catalog as catalogs
from hsdata.index import leaks
from hsengine.base.errors import UserError
from hsengine.base.files import write_json
from hsengine.train import Identity, Result, launch, train
from hsengine.train.averaging import Checkpoint
from hsmodels import checkpoint, zoo
from hsmodels import record as records
from hsmodels.heldout import held_out_rows, training_rows
from hsmodels.params import Params
from hsmodels.reconstruction import Reconstruction

_SHOWN_LEAKS = 5


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
            f"{self.config['model']['name']}: {shown} at epoch {best['epoch']} of {self.config['epochs']} "
            f"(ended by: {self.config['ended_by']})\nwrote {self.folder} and {paths.CURVES}"
        )


def run(params: Params, *, params_file: Path | None = None, command: Sequence[str] | None = None) -> Trained:
    """Train the model of `params.yaml`, going on from a saved state if there is one.

    Writes `outputs/model`, `outputs/curves` and `outputs/throughput.json`. With `machine.launch`, starts
    the processes that share the work; in a process of such a group, takes its part.

    Args:
        params: the parameters.
        params_file: where they come from, for the record.
        command: what the user typed, for the record; this process's own command by default.

    Raises:
        UserError: the user can mend it: see the message.
        SystemExit: told to stop, with the state saved; or a process of the group failed.
    """
    record = {"command": shlex.join(command or sys.argv), "params_file": str(params_file) if params_file else None}
    if launch.wanted(params.machine.launch):
        # What is wrong with the parameters and the data is said here, once.
        _materials(params)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "run.json"
            write_json(file, {"params": params.model_dump_json(), "record": record})
            machine = launch.spawn("hsmodels.train", [str(file)], params.machine.launch)
        return Trained(paths.MODEL, checkpoint.record(paths.MODEL) if machine == 0 else {})
    return _train(params, record)


def _train(params: Params, record: Mapping[str, Any]) -> Trained:
    training, held_out = _materials(params)
    task = Reconstruction(params, training, held_out)
    identity = records.identity(params, training, held_out)
    config: dict[str, Any] = {}

    def finish(result: Result) -> None:
        config.update(_config(params, identity, result, record, (len(training), len(held_out)), task.around))
        write_json(paths.THROUGHPUT, dict(result.speed))
        weights = {which: _network_state(task, made) for which, made in _both(result).items()}
        checkpoint.save(paths.MODEL, weights, config)

    train(task, params.train, params.machine, seed=params.seed, identity=identity, name="hyperobject", finish=finish)
    return Trained(paths.MODEL, config)


def _materials(params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Catalog rows to learn from, synthetic ones included, and those held out.

    Raises:
        UserError: the catalog or the index is missing, they do not belong together, or training would
            see a held-out sample.
    """
    catalog = catalogs.load(paths.CATALOG)
    held_out, training = held_out_rows(catalog), training_rows(catalog)
    if (paths.SMOTE / smote.CATALOG_FILE).exists():
        training = catalogs.concatenated([training, smote.load(paths.SMOTE)])
        catalog = catalogs.concatenated([catalog, training[training["synthetic"]]])
    found = leaks(held_out["id"], catalog=catalog, training=training["id"])
    if found:
        shown = "\n".join(f"  {leak}" for leak in found[:_SHOWN_LEAKS])
        more = f"\n  and {len(found) - _SHOWN_LEAKS} more" if len(found) > _SHOWN_LEAKS else ""
        raise UserError(
            f"Training would see held-out samples:\n{shown}{more}\n"
            "Hold out others, or drop what leaks: 'hsdata index --help' shows how."
        )
    return training, held_out


def _config(
    params: Params,
    identity: Identity,
    result: Result,
    record: Mapping[str, Any],
    counts: tuple[int, int],
    around: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of a training."""
    return {
        "format": 1,
        "model": {
            "name": params.model,
            "params": params.models.get(params.model, {}),
            **around,
        },
        "track": params.track,
        "target": zoo.target_of(params.model),
        "wavelengths": [float(value) for value in BAND_GRID],
        "checkpoints": {which: _checkpoint_record(which, made) for which, made in _both(result).items()},
        "watch": result.watch,
        "epochs": len(result.history),
        "ended_by": result.reason,
        "data": {"hash": identity.data, "training": counts[0], "held_out": counts[1]},
        "code": identity.code,
        "files": identity.configuration["files"],
        "training": identity.key,
        **record,
        **records.surroundings(),
        "params": params.model_dump(mode="json"),
    }


def _checkpoint_record(which: checkpoint.Which, made: Checkpoint) -> dict[str, Any]:
    """What a file of weights is."""
    return {
        "file": checkpoint.WEIGHTS[which],
        "epoch": made.epoch,
        "mean_of_epochs": list(made.averaged),
        "moving_average": made.moving,
        "ensemble": False,
        "measures": {name: value if math.isfinite(value) else None for name, value in made.measures.items()},
    }


def _both(result: Result) -> dict[checkpoint.Which, Checkpoint]:
    return {"best": result.best, "last": result.last}


def _network_state(task: Reconstruction, made: Checkpoint) -> Mapping[str, Tensor]:
    """A checkpoint's weights under the keys of the published models."""
    model = task.model()
    model.load_state_dict(made.weights)
    return zoo.inner(model).state_dict()


def _worker(file: Path) -> None:
    """The part of one process of a group."""
    given = json.loads(file.read_text(encoding="utf-8"))
    _train(Params.model_validate_json(given["params"]), given["record"])


if __name__ == "__main__":
    launch.worker(lambda: _worker(Path(sys.argv[1])))
