"""Curves: DVCLive always, further trackers by `train.track`."""

from __future__ import annotations

import importlib.util
import netrc
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, DVCLiveTracker, GeneralTracker
from numpy.typing import NDArray

from hsdata.errors import UserError

_PACKAGES = {"wandb": "wandb", "tensorboard": "tensorboard", "mlflow": "mlflow"}
_WANDB_OFFLINE = ("offline", "disabled", "dryrun")


def check(names: Sequence[str]) -> None:
    """See that the trackers can be used, before anything is computed.

    Raises:
        UserError: a package or the credentials are missing.
    """
    for name in names:
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise UserError(
                f"train.track: the package of '{name}' is missing; install it with 'pip install {_PACKAGES[name]}', "
                f"or take '{name}' out of the list."
            )
    if "wandb" in names and os.environ.get("WANDB_MODE") not in _WANDB_OFFLINE and not _wandb_credentials():
        raise UserError(
            "train.track: Weights & Biases has no credentials; run 'wandb login', set WANDB_API_KEY, "
            "or set WANDB_MODE=offline to log to this machine only."
        )
    remote = os.environ.get("MLFLOW_TRACKING_URI", "").startswith("databricks")
    if "mlflow" in names and remote and not (os.environ.get("DATABRICKS_HOST") and os.environ.get("DATABRICKS_TOKEN")):
        raise UserError(
            "train.track: MLFLOW_TRACKING_URI names Databricks, but DATABRICKS_HOST and DATABRICKS_TOKEN are not set; "
            "set them, or unset MLFLOW_TRACKING_URI to log into the folder mlruns."
        )


class Curves:
    """What a training logs, epoch by epoch; does nothing but on the main process.

    The folder of DVCLive is made anew and filled from the epochs that are known already: a resumed
    training leaves the same files as an undisturbed one. Numbers that depend on the clock go to the
    further trackers only.

    Args:
        accelerator: whose trackers are used.
        folder: the folder of DVCLive's files.
        names: further trackers; see `check`.
        configuration: logged as the run's parameters.
        history: rows of the epochs done.
        run_id: continues a run at Weights & Biases.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        folder: Path,
        names: Sequence[str],
        configuration: Mapping[str, Any],
        history: Sequence[Mapping[str, float]],
        run_id: str,
    ) -> None:
        self._folder = folder
        self._live: DVCLiveTracker | None = None
        self._further: list[GeneralTracker] = []
        if not accelerator.is_main_process:
            return
        shutil.rmtree(folder, ignore_errors=True)
        self._live = DVCLiveTracker(None, dir=str(folder), dvcyaml=None, save_dvc_exp=False, report=None)
        self._live.start()
        self._live.store_init_configuration(dict(configuration))
        for name in names:
            tracker = _started(name, folder.parent / name, configuration, run_id)
            self._further.append(tracker)
        for epoch, row in enumerate(history):
            self._live.log(dict(row), step=epoch)
            for tracker in self._further:
                if tracker.name != "wandb":
                    tracker.log(dict(row), step=epoch)

    def log(self, epoch: int, row: Mapping[str, float], clocked: Mapping[str, float]) -> None:
        """Log an epoch: the row of the curves, and what depends on the clock."""
        if self._live is not None:
            self._live.log(dict(row), step=epoch)
        for tracker in self._further:
            tracker.log({**row, **clocked}, step=epoch)

    def show(self, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """Put pictures, (height, width, 3) each, beside the curves, in place of the last ones of their names."""
        if self._live is None:
            return
        for name, picture in pictures.items():
            self._live.tracker.log_image(f"{name}.png", picture)

    def close(self) -> None:
        """Finish all trackers."""
        for tracker in [self._live, *self._further]:
            if tracker is not None:
                tracker.finish()


def _started(name: str, folder: Path, configuration: Mapping[str, Any], run_id: str) -> GeneralTracker:
    """A tracker that runs, with the parameters logged.

    Raises:
        UserError: it cannot be started.
    """
    arguments: dict[str, Any] = {"wandb": {"id": run_id, "resume": "allow"}}.get(name, {})
    try:
        if name == "tensorboard":
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        made = LOGGER_TYPE_TO_CLASS[name]
        tracker = made("hyperobject", *([str(folder)] if made.requires_logging_directory else []), **arguments)
        tracker.start()
        tracker.store_init_configuration(_flat(configuration))
    except Exception as error:
        raise UserError(
            f"train.track: '{name}' could not be started: {error}. See to its settings, or take it out of the list."
        ) from error
    return tracker


def _flat(configuration: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys with plain values, as every tracker takes them."""
    flat: dict[str, Any] = {}
    for name, value in configuration.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, (int, float, str, bool)) else str(value)
    return flat


def _wandb_credentials() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
