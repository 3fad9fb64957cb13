"""Objects or single band files as networks see them: which samples there are, and how each becomes an image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base.errors import UserError
from hsengine.base.memory import Cache
from hsengine.base.wording import some
from hsengine.kept import Kept
from hsengine.train.task import Key
from hstasks.classification import ObjectSamples
from hstasks.lenses import params, preprocess
from hstasks.lenses.convert import Store
from hstasks.lenses.layout import BANDS, DOMAINS
from hstasks.lenses.preprocess import Preprocess
from hstasks.lenses.split import Decision

# Training images from which the noise of the bands is measured.
_MEASURED = 2000


class Sample(NamedTuple):
    """A sample: the object, and the band where each band is a sample of its own ("": all bands together)."""

    id: str
    band: str

    @property
    def name(self) -> str:
        """What it is called in messages, tables and random numbers."""
        return f"{self.id}_{self.band}" if self.band else self.id


@dataclass(frozen=True)
class Sight:
    """What a network sees of an object, in training and in prediction; a model's record holds it.

    Attributes:
        bands: letters of the bands that are looked at.
        together: whether they are the channels of one image; otherwise each is an image of its own.
        preprocess: from counts to the network's values.
    """

    bands: str
    together: bool
    preprocess: Preprocess

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return len(self.bands) if self.together else 1

    def samples(self, id: str, readable: str) -> list[Sample]:
        """The samples of an object of which some bands can be read."""
        seen = [band for band in self.bands if band in readable]
        return [Sample(id, "")] if seen and self.together else [Sample(id, band) for band in seen]

    def training(self, image: NDArray[np.float32], sample: Sample, seed: int, key: Key) -> NDArray[np.float32]:
        """The image (5, 41, 41) of an object in counts as a training sample, changed at random by key."""
        epoch, _, draw = key
        taken, place = self._taken(image, sample.band)
        made = self.preprocess.training(taken, seed=seed, epoch=epoch, sample=sample.name, draw=draw)
        return np.asarray(made[place])

    def prediction(self, image: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        """The image (5, 41, 41) of an object in counts as the network sees it when it is asked."""
        taken, place = self._taken(image, sample.band)
        return np.asarray(self.preprocess.prediction(taken)[place])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the model's record."""
        return {"bands": self.bands, "together": self.together, "preprocess": self.preprocess.to_dict()}

    def _taken(self, image: NDArray[np.float32], band: str) -> tuple[NDArray[np.float32], slice]:
        """The bands that are preprocessed together, and where the sample is in the result."""
        if band and self.preprocess.kind == "published":
            return image[BANDS.index(band)][None], slice(None)
        place = self.bands.index(band) if band else 0
        chosen = image if self.bands == BANDS else image[[BANDS.index(letter) for letter in self.bands]]
        return chosen, slice(place, place + 1) if band else slice(None)


def sight(section: params.Input, how: params.Preprocess, frame: pd.DataFrame, store: Store) -> Sight:
    """The sight that the parameters ask for, fitted on training objects.

    Args:
        section: which bands.
        how: the preprocessing.
        frame: the catalog's rows of the training part.
        store: holds their images.
    """
    places = [BANDS.index(band) for band in section.bands]
    # A part of them, evenly spread, tells the noise as well.
    step = -(-len(frame) // _MEASURED) or 1
    rows = zip(frame["bucket"].iloc[::step], frame["row"].iloc[::step], strict=True)
    images = (store.read(str(bucket), int(row))[places] for bucket, row in rows)
    return Sight(section.bands, section.together, preprocess.made(how, images, section.bands))


def sight_of(record: Mapping[str, Any], source: str) -> Sight:
    """The sight that a model's record describes.

    Raises:
        UserError: it describes none.
    """
    try:
        said = record["input"]
        return Sight(str(said["bands"]), bool(said["together"]), preprocess.from_dict(said["preprocess"]))
    except (KeyError, TypeError) as error:
        raise UserError(
            f"The record of {source} does not say what the network sees ({error}): train it anew."
        ) from None


def parts(decision: Decision, frame: pd.DataFrame, section: params.Input, part: str) -> list[Sample]:
    """The samples of a part of a split.

    Raises:
        UserError: the split deals out files and the bands are seen together, or the catalog lacks an object.
    """
    known = set(frame["id"])
    wanted = set(decision.rows.loc[decision.rows["part"] == part, "id"])
    if lacking := sorted(wanted - known):
        raise UserError(f"The catalog has no {some(lacking)} of the split: run 'split' after 'catalog'.")
    if section.together:
        bands = dict(zip(frame["id"], frame["bands"], strict=True))
        return [Sample(name, "") for name in decision.ids(part) if set(bands[name]) & set(section.bands)]
    return [Sample(name, band) for name, band in decision.files(part, frame) if band in section.bands]


def taken(samples: Sequence[Sample], frame: pd.DataFrame, shares: params.Take) -> list[Sample]:
    """Those samples whose groups fall into the share of their domain that is learned from."""
    if shares == params.Take():
        return list(samples)
    domain = dict(zip(frame["id"], frame["domain"], strict=True))
    group = dict(zip(frame["id"], frame["group"], strict=True))
    limits = shares.model_dump()
    return [sample for sample in samples if _place(str(group[sample.id])) < limits[domain[sample.id]]]


def _place(name: str) -> float:
    """A number in [0, 1) that a name always has."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "little") / 2**48


def categories(frame: pd.DataFrame) -> dict[int, str]:
    """The name of the domain of each category that `objects` gives."""
    return {2 * DOMAINS.index(name) + label: name for name in sorted(set(frame["domain"])) for label in (0, 1)}


def objects(
    samples: Sequence[Sample],
    frame: pd.DataFrame,
    look: Sight,
    store: Store,
    *,
    training: bool = False,
    cache: Cache = "none",
    mixup: float = 0.0,
    seed: int = 0,
) -> ObjectSamples:
    """Labelled samples for the engine; categories are of domain and label.

    Args:
        samples: which.
        frame: the catalog.
        look: what the network sees.
        store: holds the images.
        training: whether they are changed by key.
        cache: whether what was read stays in memory, for those that are read in every epoch.
        mixup: see `ObjectSamples`.
        seed: of the changes.
    """
    rows = frame.set_index("id").loc[[sample.id for sample in samples]]
    places = list(zip(rows["bucket"].astype(str), rows["row"].astype(int), strict=True))
    labels = [int(label) for label in rows["label"]]
    kinds = [2 * DOMAINS.index(name) + label for name, label in zip(rows["domain"], labels, strict=True)]
    kept = Kept[NDArray[np.float32]](cache, len(set(places)), lambda image: image.nbytes)

    def view(index: int, key: Key | None) -> NDArray[np.float32]:
        place = places[index]
        image = kept.get(place, lambda: store.read(*place))
        return (
            look.prediction(image, samples[index]) if key is None else look.training(image, samples[index], seed, key)
        )

    names = [sample.name for sample in samples]
    return ObjectSamples(names, labels, view, categories=kinds, training=training, mixup=mixup, seed=seed)
