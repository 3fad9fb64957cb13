"""What trained members say of objects: a score for each sample, in bounded memory, joined by object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsengine import folder as folders
from hsengine.base import code, incremental
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash, write_json
from hsengine.base.reading import parsed_json
from hsengine.export import description
from hsengine.predict.fast import hastened
from hsengine.predict.run import device_named, device_of
from hsengine.predict.views import DIHEDRAL
from hstasks.lenses import ensemble, lots
from hstasks.lenses.convert import Store
from hstasks.lenses.ensemble import Calibration
from hstasks.lenses.params import Predict
from hstasks.lenses.samples import Sample, Sight, sight_of
from hstasks.loading import load

CALIBRATION = "calibration.json"
"""The file beside a model's folder with the temperature and the threshold that `evaluate` fitted."""


class Object(NamedTuple):
    """An object to score: its id, the letters of its readable bands, and its image (5, 41, 41) in counts."""

    id: str
    bands: str
    image: NDArray[np.float32]


class Place(NamedTuple):
    """Where an object is in a store: its id, the letters of its readable bands, its bucket and row."""

    id: str
    bands: str
    bucket: str
    row: int


@dataclass(frozen=True)
class Member:
    """A trained network and what it sees.

    Attributes:
        name: of its folder.
        network: in evaluation mode.
        sight: from an object to its images.
        record: its `config.json`.
    """

    name: str
    network: nn.Module
    sight: Sight
    record: Mapping[str, Any]


Scores = dict[Sample, float]
"""The probability of a lens of each sample of one member."""

Answer = Sequence[Sequence[tuple[str, str, float]]]
"""The same of a lot of objects, of each member: object, band and probability, as JSON can write it."""


def members(folders: Sequence[str | Path], which: str = "best", device: str | None = None) -> list[Member]:
    """The networks of some folders, as an ensemble where there are several.

    Raises:
        UserError: a folder is named twice or is no trained model of lenses, or the members were trained on different
            splits.
    """
    names = [str(folder) for folder in folders]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{', '.join(double)} is named more than once: a member of an ensemble counts once.")
    made = [opened(name, which, device) for name in names]
    for member in made:
        if member.record["task"] != "classification":
            raise UserError(
                f"{member.name} gives parameters of lenses, not classes: name it in submission.parameters, and a model "
                "that was trained with target: class here."
            )
    if len(made) > 1:
        ensemble.check_members({member.name: member.record for member in made})
    return made


def opened(name: str, which: str = "best", device: str | None = None) -> Member:
    """The network of a folder.

    Raises:
        UserError: it holds no trained model of lenses.
    """
    network, record = load(name, which)
    if record["challenge"] != "lenses":
        raise UserError(f"{name} holds a model of the challenge '{record['challenge']}', not of lenses.")
    if not description.is_exported(name):
        network = hastened(network)
    return Member(name, network.to(device_named(device)), sight_of(record, name), record)


@contextmanager
def scored(
    chosen: Sequence[Member],
    frame: pd.DataFrame,
    store: Store,
    settings: Predict,
    *,
    only: Sequence[set[Sample]] | None = None,
    label: str = "scoring",
) -> Iterator[list[Scores]]:
    """What each member says of the objects of catalog rows; memory holds some hundred images and the scores.

    A run that is killed in the block or before is taken up where it stopped: finished lots are kept until the block
    ends well.

    Args:
        chosen: the members.
        frame: the rows; objects without a band that a member sees get no score from it.
        store: holds the images.
        settings: views and batches.
        only: for each member, the samples that are wanted; None: all.
        label: what is being done.

    Raises:
        UserError: a network gives something that is no number, or the same is being scored by another run.
    """
    rows = rows_of(frame)

    def work(lot: Sequence[Place]) -> Answer:
        return answered(chosen, [read(row, store) for row in lot], settings, only=only)

    wanted = None if only is None else [sorted(sample.name for sample in own) for own in only]
    with lots.kept(key_of(chosen, settings, rows, list(frame["content"]), wanted)) as answers:
        found: list[Scores] = [{} for _ in chosen]
        for answer in answers.of(rows, work, label):
            add(found, answer)
        yield found


def rows_of(frame: pd.DataFrame) -> list[Place]:
    """The objects of catalog rows of which a band can be read."""
    held = frame[frame["bands"] != ""]
    columns = (held[key] for key in ("id", "bands", "bucket", "row"))
    return [
        Place(str(name), str(bands), str(bucket), int(row)) for name, bands, bucket, row in zip(*columns, strict=True)
    ]


def read(place: Place, store: Store) -> Object:
    """An object from the store."""
    return Object(place.id, place.bands, store.read(place.bucket, place.row))


def key_of(chosen: Sequence[Member], settings: Predict, *asked: Any) -> str:
    """A hash of all that scores follow from: weights, sights, views, code, and what is asked."""
    weights = [file_hash(_weights(member)) for member in chosen]
    sights = [member.sight.to_dict() for member in chosen]
    return incremental.key_of(weights, sights, settings.d4, code.code_hash([__name__]), *asked)


def _weights(member: Member) -> Path:
    place = Path(member.name)
    exported = description.is_exported(place)
    return place if exported else place / folders.file_of(member.record["checkpoint"]["which"])


def answered(
    chosen: Sequence[Member], objects: Sequence[Object], settings: Predict, *, only: Sequence[set[Sample]] | None = None
) -> Answer:
    """What each member says of a lot of objects.

    Raises:
        UserError: a network gives something that is no number.
    """
    return [
        _of_lot(member, objects, settings, None if only is None else only[place]) for place, member in enumerate(chosen)
    ]


def add(found: Sequence[Scores], answer: Answer) -> None:
    """Add the scores of a lot to those of each member."""
    for own, new in zip(found, answer, strict=True):
        own |= {Sample(name, band): value for name, band, value in new}


def by_object(
    chosen: Sequence[Member], scores: Sequence[Scores], bands: Mapping[str, str], mean: ensemble.Mean
) -> tuple[list[str], NDArray[np.float64]]:
    """The members' scores of objects.

    Args:
        chosen: the members.
        scores: of each of them.
        bands: object -> letters of its readable bands.
        mean: over the bands of an object that a member sees one at a time.

    Returns:
        Ids of the objects that any member sees, sorted, and (members, objects) probabilities, NaN where an object has
        no band that the member sees.

    Raises:
        UserError: a member has no score of an object that it sees.
    """
    numbers = [str(number) for number in range(len(chosen))]
    tables = {
        number: ensemble.of_objects(((s.id, s.band, value) for s, value in own.items()), mean)
        for number, own in zip(numbers, scores, strict=True)
    }
    blind = {
        number: {name for name, own in bands.items() if not member.sight.samples(name, own)}
        for number, member in zip(numbers, chosen, strict=True)
    }
    return ensemble.joined(tables, blind)


def beside(model: str | Path) -> Path:
    """The file with the temperature and the threshold of a model's folder, or of an exported file."""
    return description.beside(model) if description.is_exported(model) else Path(model).parent / CALIBRATION


def write_calibration(file: Path, fitted: Calibration | None, chosen: Sequence[Member]) -> None:
    """Store what `evaluate` fitted, or that there is nothing to fit, with the members that it was fitted for."""
    write_json(file, (fitted.to_dict() if fitted else {"threshold": None}) | {"members": _keys(chosen)})


def read_calibration(file: Path, chosen: Sequence[Member]) -> Calibration:
    """What `evaluate` fitted for these members.

    Raises:
        UserError: there is no threshold, or it is other members'.
    """
    written = parsed_json(file, "what was fitted for a model", "run 'hstasks evaluate' again.") if file.exists() else {}
    content = written if isinstance(written, dict) else {}
    # Of an exported file, it stands among what is to be done afterwards.
    content = content.get("after", {}).get("calibration") if "after" in content else content
    fitted = ensemble.from_dict(content, str(file))
    if sorted(content.get("members", [])) != sorted(_keys(chosen)):
        raise UserError(
            f"The threshold in {file} was fitted for other models than {', '.join(member.name for member in chosen)}: "
            "run 'hstasks evaluate' with these (predict.models names the further members of an ensemble)."
        )
    return fitted


def _keys(chosen: Sequence[Member]) -> list[str]:
    """What tells the members' weights from any other's."""
    return [f"{member.record.get('training')} {member.record['checkpoint']['which']}" for member in chosen]


def _of_lot(
    member: Member, lot: Sequence[Object], settings: Predict, wanted: set[Sample] | None
) -> list[tuple[str, str, float]]:
    sight = member.sight
    pairs = [(one, sample) for one in lot for sample in sight.samples(one.id, one.bands)]
    pairs = [pair for pair in pairs if wanted is None or pair[1] in wanted]
    found = []
    for start in range(0, len(pairs), settings.batch):
        batch = pairs[start : start + settings.batch]
        images = np.stack([sight.prediction(one.image, sample) for one, sample in batch])
        values = probabilities(member.network, torch.from_numpy(images), d4=settings.d4)
        if not np.isfinite(values).all():
            name = batch[int(np.flatnonzero(~np.isfinite(values))[0])][1].name
            raise UserError(f"{member.name} gives no number for {name}: its training broke off; train it anew.")
        found += [(*sample, float(value)) for (_, sample), value in zip(batch, values, strict=True)]
    return found


def probabilities(network: nn.Module, images: Tensor, *, d4: bool) -> NDArray[np.float64]:
    """The probabilities (B,) of images (B, channels, H, W), the mean over the eight turns and flips with `d4`."""
    device = device_of(network, images)
    views = [do for do, _ in DIHEDRAL] if d4 else [lambda batch: batch]
    total = torch.zeros(len(images), dtype=torch.float64)
    with torch.no_grad():
        for view in views:
            logits = network(view(images).contiguous(memory_format=torch.channels_last).to(device))[:, 0]
            total += torch.sigmoid(logits.double()).cpu()
    return np.asarray((total / len(views)).numpy())
