"""Curves: DVCLive always, further trackers by `machine.trackers`."""

from __future__ import annotations

import importlib.util
import netrc
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, DVCLiveTracker, GeneralTracker
from numpy.typing import NDArray
from scmrepo.exceptions import SCMError

from hsengine.base.errors import UserError
from hsengine.base.params import flat

_WANDB_OFFLINE = ("offline", "disabled", "dryrun")


def check(names: Sequence[str]) -> None:
    """See that the trackers can be used, before anything is computed.

    Raises:
        UserError: a package or the credentials are missing.
    """
    for name in names:
        found = importlib.util.find_spec(name)
        # A folder of that name, which a tracker left here, is no package.
        if found is None or found.origin is None:
            raise UserError(
                f"machine.trackers: the package of '{name}' is missing; install it with "
                f"'pip install {name}', or take '{name}' out of the list."
            )
    if "wandb" in names and os.environ.get("WANDB_MODE") not in _WANDB_OFFLINE and not _wandb_credentials():
        raise UserError(
            "machine.trackers: Weights & Biases has no credentials; run 'wandb login', set WANDB_API_KEY, "
            "or set WANDB_MODE=offline to log to this machine only."
        )
    remote = os.environ.get("MLFLOW_TRACKING_URI", "").startswith("databricks")
    if "mlflow" in names and remote and not (os.environ.get("DATABRICKS_HOST") and os.environ.get("DATABRICKS_TOKEN")):
        raise UserError(
            "machine.trackers: MLFLOW_TRACKING_URI names Databricks, but DATABRICKS_HOST and DATABRICKS_TOKEN are "
            "not set; set them, or unset MLFLOW_TRACKING_URI to log into outputs/mlflow."
        )


class Curves:
    """What a training logs, epoch by epoch, until the block ends; does nothing but on the main process.

    The folder of DVCLive is made anew and filled from the epochs that are known already: a resumed
    training leaves the same files as an undisturbed one. Numbers that depend on the clock go to the
    further trackers only.

    Args:
        accelerator: whose trackers are used.
        project: the project's name in the further trackers.
        folder: the folder of DVCLive's files.
        names: further trackers; see `check`.
        configuration: logged as the run's parameters.
        history: rows of the epochs done.
        run_id: continues a run at Weights & Biases.

    Raises:
        UserError: the project's git repository has no commit yet.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        project: str,
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
        try:
            self._live.start()
        except SCMError as error:
            raise UserError(
                f"DVCLive cannot log beside this git repository ({error}). Where it has no commit yet, make the first "
                "one: git add . && git commit -m begin"
            ) from None
        self._live.store_init_configuration(dict(configuration))
        for name in names:
            tracker = _started(name, project, folder.parent / name, configuration, run_id)
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

    def show(self, pictures: Mapping[str, NDArray[np.uint8]], epoch: int, *, again: bool = False) -> None:
        """Put pictures, (height, width, 3) each, beside the curves, in place of the last ones of their names.

        Args:
            pictures: by name.
            epoch: the epoch that they show.
            again: whether they were shown before the training was interrupted.
        """
        if self._live is None:
            return
        for name, picture in pictures.items():
            self._live.tracker.log_image(f"{name}.png", picture)
            for tracker in self._further:
                if not (again and tracker.name == "wandb"):
                    _show(tracker, name, picture, epoch)

    def __enter__(self) -> Curves:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Finish all trackers; a training that failed is told why by its own error."""
        for tracker in [self._live, *self._further]:
            with nullcontext() if kind is None else suppress(Exception):
                if tracker is not None:
                    tracker.finish()


def _started(name: str, project: str, folder: Path, configuration: Mapping[str, Any], run_id: str) -> GeneralTracker:
    """A tracker that runs, with the parameters logged.

    Raises:
        UserError: it cannot be started.
    """
    try:
        arguments = _PLACES[name](folder)
        if name == "wandb":
            arguments |= {"id": run_id, "resume": "allow"}
        made = LOGGER_TYPE_TO_CLASS[name]
        tracker = made(project, *([str(folder)] if made.requires_logging_directory else []), **arguments)
        tracker.start()
        plain = (int, float, str)
        tracker.store_init_configuration(
            {key: value if isinstance(value, plain) else str(value) for key, value in flat(configuration).items()}
        )
    except Exception as error:
        raise UserError(
            f"machine.trackers: '{name}' could not be started: {error}. See to its settings, or take it out of the "
            "list."
        ) from error
    return tracker


def _wandb(folder: Path) -> dict[str, Any]:
    if "WANDB_DIR" in os.environ:
        return {}
    # It makes a folder of its own name in there.
    folder.parent.mkdir(parents=True, exist_ok=True)
    return {"dir": str(folder.parent)}


def _tensorboard(folder: Path) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return {}


def _mlflow(folder: Path) -> dict[str, Any]:
    import mlflow

    if mlflow.is_tracking_uri_set():  # type: ignore[no-untyped-call]
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
    return {"logging_dir": folder.resolve().as_uri()}


# What makes a tracker write into its folder, unless the user has said where.
_PLACES: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "wandb": _wandb,
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}


def _show(tracker: GeneralTracker, name: str, picture: NDArray[np.uint8], epoch: int) -> None:
    if tracker.name == "tensorboard":
        tracker.log_images({name: picture[None]}, step=epoch, dataformats="NHWC")
    elif tracker.name == "wandb":
        tracker.log_images({name: [picture]}, step=epoch)
    elif tracker.name == "mlflow":
        import mlflow

        mlflow.log_image(picture, artifact_file=f"{name}.png")


def _wandb_credentials() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(server) is not None
    except (OSError, netrc.NetrcParseError):
        return False
