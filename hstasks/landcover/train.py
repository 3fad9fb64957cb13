"""The stage `train`: one of the trainings of `stages`, with what it adds and from what it starts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hsengine import folder as folders
from hsengine import stage as engine
from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash, replacing
from hsengine.project import Work
from hsengine.stage import Trained
from hstasks import networks
from hstasks.about import about
from hstasks.distillation import Teacher
from hstasks.images.samples import ImageSamples
from hstasks.landcover import draws, relabel, replicate, split, stages
from hstasks.landcover.learner import bands, classes, losses, network, parameters, standardised, supervision
from hstasks.landcover.params import Crops, Params
from hstasks.landcover.samples import samples
from hstasks.landcover.task import LandCover, published_mapping

_SEES = ("data", "learns", "model", "input", "standardise", "augment", "crops")
_DECIDES = (*_SEES, "loss", "smoothing", "balance", "auxiliary", "replicas", "draws", "oem", "distillation", "stage")
ABOUT = about(
    "landcover",
    "segmentation",
    "From an aerial tile, (bands, height, width), the network makes logits of the classes of land cover, "
    "(classes, height, width); class 0 is background, which is no truth.",
    [
        "Bands, their order, the value that counts as white and the size of a pixel on the ground are those of the "
        "training tiles.",
        "Minorities are few: look at the score of each class in `metrics.json` before using one.",
    ],
)


def run(
    params: Params, *, stage: str | None = None, params_file: Path | None = None, command: Sequence[str] | None = None
) -> Trained:
    """Train a stage; model and curves come to `outputs/stages/<stage>`.

    Args:
        params: of the file.
        stage: its name; None: `params.stage`.
        params_file: where the parameters come from, for the record.
        command: what the user typed, for the record.

    Raises:
        UserError: see `prepare` and `hsengine.stage.train`.
    """
    from hstasks.landcover.challenge import PROJECT

    chosen = standardised(stages.resolved(params, stage))
    made = engine.train(PROJECT, chosen, params_file=params_file, command=command)
    place = stages.place(chosen)
    folders.check_place(place / paths.MODEL.name)
    for written in (paths.MODEL, paths.CURVES):
        if written.is_dir():
            with replacing(place / written.name) as scratch:
                written.rename(scratch)
    if paths.THROUGHPUT.is_file():
        # What the training cost lies with its curves: the next stage writes its own.
        paths.THROUGHPUT.replace(place / paths.CURVES.name / paths.THROUGHPUT.name)
    return Trained(place / paths.MODEL.name, made.config)


def prepare(params: Params) -> Work:
    """Make the training of resolved parameters ready.

    Raises:
        UserError: a derived file is missing or of another split; what it starts from, or a teacher, has seen what is
            held out now; the network or the loss cannot be made.
    """
    check(params)
    division = split.load()
    training, held_out, second, sets = _rows(params, division)
    learner = params.learns == "target"
    augment, crops = params.augment, params.crops
    if second is not None and crops.size is None:
        raise UserError("crops.size: tiles of two sets differ in size; set the side of the window to learn from.")
    teacher = _teacher(params)
    files = {
        name: file_hash(Path(path) / folders.file_of("best"))
        for name, path in (("draws", params.draws.model), ("teacher", params.distillation.teacher))
        if path is not None
    }
    if Path(params.model.weights).is_file():
        files["weights"] = file_hash(params.model.weights)
    start_of(params, division)

    def made(rows: pd.DataFrame, *, learned: bool, plain: bool = False) -> ImageSamples:
        own = params.learns == "oem"
        return samples(
            rows,
            params.data,
            params.input,
            augment=augment if learned else None,
            crops=crops if learned and not plain else Crops(size=crops.size) if learned else None,
            seed=params.seed,
            mask="native" if own else "mask",
            foreign=own or plain,
            cache=params.machine.cache,
        )

    copies = _copies(params, training, division)
    weights = draws.weights(params, training, division) if learner and params.draws.kind != "uniform" else None
    task = LandCover(
        lambda: network(params),
        made(training, learned=True),
        made(held_out, learned=False),
        supervision(params, split.counts_of(training) if learner and params.balance else None),
        classes(params),
        params.input,
        rate=params.model.encoder_rate,
        second=None if second is None else (made(second, learned=True, plain=True), params.oem.share),
        sets=sets,
        weights=weights,
        copies=copies,
        teacher=teacher,
    )
    dumped = params.model_dump(mode="json")
    record = {
        "challenge": "landcover",
        "task": "segmentation",
        "title": f"{params.stage or stages.ALONE} ({params.model.network})",
        "model": {
            "name": params.model.network,
            "params": parameters(params),
            "in_channels": params.data.bands or bands(training),
            "out_channels": classes(params),
        },
        "learns": params.learns,
        "stage": params.stage,
        "split": division.hash,
        "files": files,
    }
    parts = [training, held_out] if second is None else [training, held_out, second]
    configuration = {name: dumped[name] for name in _DECIDES} | {"files": files}
    return Work(task, configuration, data_hash(division, parts), (len(training), len(held_out)), record, ABOUT)


def check(params: Params) -> None:
    """See that the network and the loss can be made, and that the stage's parts go together.

    Raises:
        UserError: they do not; names the key.
    """
    chosen = params if params.stage is None else stages.resolved(params)
    networks.parameters(chosen.model.network, parameters(chosen))
    supervision(chosen)
    uses = chosen.draws.kind != "uniform" or chosen.replicas.copies or chosen.oem.share
    if uses and chosen.train.sampling != "task":
        raise UserError("train.sampling: set it to 'task', so that replicas, draws and sets decide what is drawn.")
    if chosen.oem.share and chosen.distillation.teacher:
        raise UserError("distillation.teacher: it teaches on the target's tiles alone; set oem.share to 0.")
    if chosen.learns == "oem" and (uses or chosen.distillation.teacher):
        raise UserError("learns: a teacher of OpenEarthMap's classes has no replicas, draws, second set or teacher.")
    if chosen.balance and (chosen.learns == "oem" or "cross_entropy" not in losses(chosen)):
        raise UserError("balance: it weighs the target's classes in cross_entropy; set it to 0, or use that loss.")


def start_of(params: Params, division: split.Division) -> None:
    """See that the weights of `train.start` have not seen what is held out now.

    Raises:
        UserError: they were trained with another split, or there are none.
    """
    if params.train.start is not None and Path(params.train.start).is_dir():
        record = folders.record(params.train.start)
        if record.get("challenge") == "landcover":
            split.check(record.get("split"), f"train.start: the model in {params.train.start}", division)


def data_hash(division: split.Division, parts: Sequence[pd.DataFrame]) -> str:
    """Hash of the split and of what tiles and masks hold."""
    told = [division.hash]
    for rows in parts:
        columns = [name for name in ("id", "content", "mask_content", "use") if name in rows]
        told.append(rows[columns].to_csv(index=False))
    return hashlib.blake2b("\n".join(told).encode(), digest_size=16).hexdigest()


def _rows(
    params: Params, division: split.Division
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None, dict[int, tuple[int, ...]]]:
    """Tiles to learn from, held out, of the second set, and what its codes may be."""
    if params.learns == "oem":
        tiles = relabel.load(division).tiles
        training, held_out = tiles[tiles["use"] == relabel.TRAIN], tiles[tiles["use"] == relabel.VAL]
        if training.empty or held_out.empty:
            raise UserError("OpenEarthMap needs two rural regions or more, one to measure the teacher on.")
        return training.reset_index(drop=True), held_out.reset_index(drop=True), None, {}
    training, held_out = split.rows(split.TRAIN, division), split.rows(split.VAL, division)
    if not params.oem.share:
        return training, held_out, None, {}
    found = relabel.load(division)
    if found.table != params.oem.table:
        raise UserError(
            f"oem.table is '{params.oem.table}', and {relabel.FOLDER} was made by '{found.table}': set it outside of "
            "'stages' and run 'hstasks relabel' again."
        )
    if found.tiles.empty:
        raise UserError("oem.share: there is no rural tile of OpenEarthMap; set it to 0 or get the set.")
    return training, held_out, found.tiles, found.sets


def _copies(params: Params, training: pd.DataFrame, division: split.Division) -> list[int] | None:
    if not params.replicas.copies or params.learns == "oem":
        return None
    listed = set(replicate.load(division))
    return [1 + params.replicas.copies * (name in listed) for name in training["id"]]


def _teacher(params: Params) -> tuple[Teacher, float] | None:
    settings = params.distillation
    if settings.teacher is None:
        return None
    shares = settings.mapping or published_mapping()
    seen = params.model_dump(mode="json")["input"]
    teacher = Teacher(settings.teacher, shares, settings.temperature, seen)
    told = teacher.record["model"]["out_channels"]
    if told != len(shares):
        raise UserError(
            f"distillation.teacher: the model in {settings.teacher} has {told} classes, and distillation.mapping "
            f"{len(shares)} rows: name a teacher of OpenEarthMap's classes, or give its own map."
        )
    return teacher, settings.weight
