"""The verb `leak`: what a split of files flatters, shown with the same model on the same files.

One file of each object that the grouped split validates on is measured, of a band that is drawn anew each time. The
network, which sees one band, learns twice: from all files of some training objects, and from files drawn from these and
the other bands of the measured objects, as a split of files deals them. Files measured, number of files learned from,
first weights and updates are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from hsengine.base.errors import UserError
from hstasks import leaks, metrics
from hstasks.classification import ObjectSamples
from hstasks.leaks import Row
from hstasks.lenses import catalog as catalogs
from hstasks.lenses import samples as seen
from hstasks.lenses import split as splits
from hstasks.lenses import train
from hstasks.lenses.convert import Store
from hstasks.lenses.params import Params
from hstasks.lenses.samples import Sample

PUBLISHED, GROUPED = "published", "grouped"


class Summary(leaks.Summary):
    """What each split says of the same model, and on how many files."""

    unit = "files"
    sharing = "sister band"
    measure = "auroc"


def run(params: Params) -> Summary:
    """Train the network of the parameters as by a split of files and as by a grouped one, and score both.

    Network and preprocessing are those of the parameters, for one band at a time; images are not changed at random, so
    that few updates learn them by heart. No test object takes part.

    Args:
        params: of the file; `leak` says on how much, how often and how long.

    Raises:
        UserError: catalog, store or split are missing, the split is none of objects, or there are too few objects.
    """
    frame = catalogs.labelled(catalogs.load())
    decision = splits.load()
    single = params.model_copy(update={"input": params.input.model_copy(update={"together": False})})
    # Refuses a split of files.
    decision.ids("val")
    held_out, others = (seen.parts(decision, frame, single.input, part) for part in ("val", "train"))
    known, store = dict(zip(frame["id"], frame["label"].astype(int), strict=True)), Store()
    found: dict[str, list[tuple[float, float | None]]] = {PUBLISHED: [], GROUPED: []}
    with tqdm(total=2 * params.leak.draws * params.leak.updates, desc="training", unit="update", disable=None) as bar:
        for draw in range(params.leak.draws):
            random = np.random.Generator(np.random.PCG64([params.seed, draw]))
            apart = _of_objects(others, params.leak.objects, random)
            measured = _one_each(held_out, random)
            if len({known[sample.id] for sample in measured}) < 2 or len({known[sample.id] for sample in apart}) < 2:
                raise UserError(
                    "Training and validation need objects of both classes: add some, or raise leak.objects."
                )
            mixed = sorted({*apart, *held_out} - set(measured))
            drawn = [mixed[place] for place in sorted(random.permutation(len(mixed))[: len(apart)].tolist())]
            for strategy, learned in ((PUBLISHED, drawn), (GROUPED, apart)):
                sisters = {sample.id for sample in learned}
                share = float(np.mean([sample.id in sisters for sample in measured]))
                score = _score(single, frame, store, learned, measured, params.seed + draw, bar.update)
                found[strategy].append((share, score))
    rows = [
        Row(name, len(apart), float(np.mean([share for share, _ in each])), [score for _, score in each])
        for name, each in found.items()
    ]
    return Summary(rows, len(measured))


def _of_objects(files: Sequence[Sample], count: int, random: np.random.Generator) -> list[Sample]:
    """All files of so many objects."""
    names = sorted({sample.id for sample in files})
    chosen = {names[place] for place in random.permutation(len(names))[:count].tolist()}
    return [sample for sample in files if sample.id in chosen]


def _one_each(files: Sequence[Sample], random: np.random.Generator) -> list[Sample]:
    """A file of each object."""
    bands: dict[str, list[Sample]] = {}
    for sample in files:
        bands.setdefault(sample.id, []).append(sample)
    return [own[int(random.integers(len(own)))] for own in bands.values()]


def _score(
    params: Params,
    frame: pd.DataFrame,
    store: Store,
    learned: Sequence[Sample],
    measured: Sequence[Sample],
    seed: int,
    step: Callable[[], object],
) -> float | None:
    """Train from the seed for so many updates, and score."""
    torch.manual_seed(seed)
    model = train.network(params)
    look = seen.sight(params.input, params.preprocess, frame[frame["id"].isin({s.id for s in learned})], store)

    def loss(batch: Mapping[str, Any]) -> Tensor:
        return binary_cross_entropy_with_logits(model(batch["image"])[:, 0], batch["label"], reduction="none")

    leaks.taught(
        model,
        loss,
        seen.objects(learned, frame, look, store, cache="auto"),
        params.leak,
        params.train,
        seed=seed,
        step=step,
    )
    return _auroc(model, seen.objects(measured, frame, look, store))


def _auroc(model: torch.nn.Module, files: ObjectSamples) -> float | None:
    with torch.no_grad():
        logits = [float(model(files[0, index, 0]["image"][None])[0, 0]) for index in range(len(files))]
    found: float | None = metrics.auroc(files.labels, logits)
    return found
