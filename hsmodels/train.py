"""The stage `train`: from the catalog and the parameters to a trained model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hsdata import catalog as catalogs
from hsdata import paths
from hsdata.cube import BAND_GRID
from hsdata.index import leaks
from hsengine import stage
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsengine.base.wording import listed
from hsengine.project import Work
from hsengine.stage import Trained
from hsmodels import zoo
from hsmodels.about import about
from hsmodels.checkpoint import HELD_OUT
from hsmodels.heldout import data_hash, division
from hsmodels.params import Params
from hsmodels.reconstruction import Reconstruction
from hsmodels.zoo import pretrained

_SHOWN_LEAKS = 5


def run(params: Params, *, params_file: Path | None = None, command: Sequence[str] | None = None) -> Trained:
    """Train the model of `params.yaml`; see `hsengine.stage.train`."""
    from hsmodels.project import PROJECT

    return stage.train(PROJECT, params, params_file=params_file, command=command)


def prepare(params: Params) -> Work:
    """Make the training of `params.yaml` ready.

    Raises:
        UserError: the catalog or the index is missing, they do not belong together, training would see a
            held-out sample, or the model cannot be made.
    """
    catalog = catalogs.load(paths.CATALOG)
    training, held_out = division(catalog)
    if training["synthetic"].any():
        catalog = catalogs.concatenated([catalog, training[training["synthetic"]]])
    found = [str(leak) for leak in leaks(held_out["id"], catalog=catalog, training=training["id"])]
    if found:
        raise UserError(
            f"Training would see held-out samples:\n{listed(found, _SHOWN_LEAKS)}\n"
            "Hold out others, or drop what leaks: 'hsdata index --help' shows how."
        )
    task = Reconstruction(params, training, held_out)
    decides = configuration(params)
    model = {"name": params.model, "params": decides["models"][params.model], **task.around}
    record = {
        "title": zoo.title(model),
        "model": model,
        "track": params.track,
        "input": params.input,
        "target": task.target,
        "wavelengths": [float(value) for value in BAND_GRID],
        "files": decides["files"],
        HELD_OUT: [str(name) for name in held_out["id"]],
    }
    if task.choice is not None:
        record["choice"] = task.choice.record()
    counts = (len(training), len(held_out))
    return Work(task, decides, data_hash(training, held_out), counts, record, about(record))


def configuration(params: Params) -> dict[str, Any]:
    """The parameters that decide a training's result, without `train` and `seed`, and the hashes of files they name."""
    given = params.models.get(params.model, {})
    return {
        "track": params.track,
        "input": params.input,
        "model": params.model,
        "models": {params.model: given},
        "residual": params.residual,
        "residual_folds": params.residual_folds,
        "basis": params.basis,
        "stripes": params.stripes,
        "files": dict(_files(given)),
        "loss": params.loss.model_dump(mode="json"),
        "augment": params.augment.model_dump(mode="json"),
        "convert": params.convert.model_dump(mode="json"),
        "predict": {"floor": params.predict.floor, "consistent": params.predict.consistent},
    }


def _files(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Hashes of the files that parameters of a model name; of the weights to start from, wherever they are."""
    for name, value in sorted(given.items()):
        place = Path(value) if isinstance(value, str) else None
        if isinstance(value, str) and name == "pretrained":
            yield name, hashlib.blake2b(pretrained.content(value), digest_size=16).hexdigest()
        elif place is not None and place.is_file():
            yield name, file_hash(place)
        elif place is not None and place.is_dir():
            files = sorted(file for file in place.rglob("*") if file.is_file())
            yield from ((f"{name}/{file.relative_to(place).as_posix()}", file_hash(file)) for file in files)
