"""The stage `train`: a network that tells lenses from other galaxies, on the objects of the training part."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from hsengine import stage
from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsengine.base.wording import close_matches
from hsengine.project import Work
from hsengine.stage import Trained
from hsengine.train.task import Task
from hstasks import networks
from hstasks.about import about
from hstasks.classification import Classification
from hstasks.lenses import catalog as catalogs
from hstasks.lenses import lens_table, regress
from hstasks.lenses import samples as seen
from hstasks.lenses import split as splits
from hstasks.lenses import targets as encoding
from hstasks.lenses.convert import Store
from hstasks.lenses.ensemble import SPLIT_KEY
from hstasks.lenses.log import write_log
from hstasks.lenses.params import Params
from hstasks.lenses.samples import Sample, Sight

ABOUT = {
    "classification": about(
        "lenses",
        "classification",
        "From a cutout of the sky, (bands, height, width), prepared as `input` of `config.json` says, the network "
        "makes the logit of a strong gravitational lens.",
        [
            "Logits are no probabilities until `hstasks evaluate` has fitted temperature and threshold on validation.",
            "Lenses are far rarer in the sky than in training: at the same threshold most of what is found is none.",
        ],
    ),
    "regression": about(
        "lenses",
        "regression",
        "From a cutout of a strong gravitational lens, (bands, height, width), prepared as `input` of `config.json` "
        "says, the network makes the parameters that `targets` there names, in units of their `std` about their "
        "`mean`; an angle θ as its strength times cos 2θ and sin 2θ.",
        ["It was trained on lenses alone: of any other galaxy it says what a lens would have."],
    ),
}
"""What the cards of models say, by task."""


def run(params: Params, *, params_file: Path | None = None, command: Sequence[str] | None = None) -> Trained:
    """Train the network of `params.yaml`, see `hsengine.stage.train`; the published log is beside the curves."""
    from hstasks.lenses.challenge import PROJECT

    made = stage.train(PROJECT, params, params_file=params_file, command=command)
    if made.config:
        write_log(paths.CURVES)
    return made


def prepare(params: Params) -> Work:
    """Make the training of `params.yaml` ready; the test part is not looked at.

    Raises:
        UserError: catalog, store or split are missing or do not belong together, a place in the sky is in two parts,
            nothing is left to learn from, or the network cannot be made.
    """
    frame = catalogs.labelled(catalogs.load())
    decision = splits.load()
    if decision.by_object:
        splits.check(decision, frame[["id", "group", "content"]])
    training = seen.taken(seen.parts(decision, frame, params.input, "train"), frame, params.take)
    held_out = seen.parts(decision, frame, params.input, "val")
    regression = params.target == "parameters"
    table = lens_table.load() if regression else None
    if table is not None:
        training, held_out = (regress.known(part, frame, table) for part in (training, held_out))
    _check_labels(training, frame, regression)
    store = Store()
    look = seen.sight(params.input, params.preprocess, frame[frame["id"].isin({s.id for s in training})], store)
    data = data_hash(training, held_out, frame)
    record: dict[str, Any] = {"challenge": "lenses", "task": "classification"}
    task: Task
    if table is None:
        outputs, task = 1, _classes(params, training, held_out, frame, look, store)
    else:
        targets = encoding.fit(table.loc[[sample.id for sample in training]], params.regress.columns)
        outputs = len(targets.names)
        task = regress.task(
            lambda: network(params, outputs), training, held_out, frame, table, look, store, targets, seed=params.seed
        )
        record |= {"task": "regression", "targets": targets.to_dict()}
        data = regress.data_hash(data, table, [*training, *held_out])
    dumped = params.model_dump(mode="json")
    own = parameters(params)
    files = {"weights": file_hash(own["weights"])} if Path(str(own.get("weights", ""))).is_file() else {}
    names = ("model", "input", "preprocess", "take", *(("target", "regress") if regression else ("mixup",)))
    record |= {
        "model": {"name": params.model, "params": own, "in_channels": look.channels, "out_channels": outputs},
        "input": look.to_dict(),
        SPLIT_KEY: decision.hash,
        "files": files,
    }
    configuration = {name: dumped[name] for name in names} | {"parameters": own, "files": files}
    return Work(task, configuration, data, (len(training), len(held_out)), record, ABOUT[str(record["task"])])


def _check_labels(training: Sequence[Sample], frame: pd.DataFrame, regression: bool) -> None:
    labels = dict(zip(frame["id"], frame["label"], strict=True))
    if regression and not training:
        raise UserError("No training lens has a row in parameters.fits: there is nothing to learn parameters from.")
    if not regression and {labels[sample.id] for sample in training} != {0, 1}:
        raise UserError(
            f"The {len(training)} training samples are not of both classes: look at split, take and input.bands."
        )


def _classes(
    params: Params,
    training: Sequence[Sample],
    held_out: Sequence[Sample],
    frame: pd.DataFrame,
    look: Sight,
    store: Store,
) -> Classification:
    cache = params.machine.cache
    return Classification(
        lambda: network(params),
        seen.objects(training, frame, look, store, training=True, cache=cache, mixup=params.mixup, seed=params.seed),
        seen.objects(held_out, frame, look, store, cache=cache),
        seen.categories(frame),
    )


def data_hash(training: Sequence[Sample], held_out: Sequence[Sample], frame: pd.DataFrame) -> str:
    """Hash of the samples' content and labels, and of which are held out."""
    known = {row.id: (row.content, row.label) for row in frame.itertuples(index=False)}
    digest = hashlib.blake2b(digest_size=16)
    for name, part in (("train", training), ("held out", held_out)):
        digest.update(f"{name}\n".encode())
        for sample in part:
            digest.update(f"{sample.name} {known[sample.id]}\n".encode())
    return digest.hexdigest()


def check(params: Params) -> None:
    """See that the network can be made.

    Raises:
        UserError: it cannot; names the key.
    """
    known = networks.names("classification")
    if params.model not in known:
        raise UserError(
            f"model: there is no network of classes '{params.model}'{close_matches(params.model, known)}; they are "
            f"{', '.join(known)}."
        )
    networks.parameters(params.model, parameters(params))


def network(params: Params, outputs: int = 1) -> nn.Module:
    """A fresh network."""
    channels = len(params.input.bands) if params.input.together else 1
    return networks.build(params.model, parameters(params), channels, outputs)


def parameters(params: Params) -> dict[str, Any]:
    """The network's parameters, where they are set."""
    return dict(params.models.get(params.model, {}))
