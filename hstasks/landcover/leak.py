"""The verb `leak`: what a random split of overlapping tiles flatters, shown with the same model and training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from hstasks import networks
from hstasks.landcover import catalog, ground, split, stages
from hstasks.landcover.classes import CLASSES
from hstasks.landcover.params import Params, Split
from hstasks.landcover.samples import samples
from hstasks.landcover.scoring import Tally, add, summed
from hstasks.landcover.task import MEASURE
from hstasks.landcover.train import parameters, supervision

UPDATES = 150


@dataclass(frozen=True)
class Row:
    """One split: how much ground its validation shares with training, and the score."""

    strategy: str
    tiles: int
    shared: float
    score: float | None


@dataclass(frozen=True)
class Summary:
    """What each split says of the same model."""

    rows: list[Row]

    def __str__(self) -> str:
        lines = [f"{'split':10}{'training tiles':>16}{'shared ground':>16}{MEASURE:>20}"]
        for row in self.rows:
            score = "undefined" if row.score is None else f"{row.score:.4f}"
            lines.append(f"{row.strategy:10}{row.tiles:>16}{row.shared:>16.1%}{score:>20}")
        return "\n".join([*lines, "The same network, updates and number of training tiles; only the split differs."])


def run(params: Params, *, updates: int = UPDATES) -> Summary:
    """Train the network of the parameters by a random and by a blocked split of the pool, and score both."""
    chosen = stages.resolved(params)
    frame = catalog.load()
    own = split.load()
    # Not a test tile takes part.
    pool = frame[frame["id"].map(own.roles).isin((split.TRAIN, split.VAL, split.DROPPED))]
    pool = pool[pool["mask"] != ""].reset_index(drop=True)
    divided = {}
    for strategy in ("random", "blocked"):
        settings = Split(strategy=strategy, folds=chosen.split.folds, fold=chosen.split.fold, gap=chosen.split.gap)
        made = split.divide(pool, settings)
        divided[strategy] = [pool[pool["id"].map(made.roles) == role] for role in (split.TRAIN, split.VAL)]
    count = min(len(parts[0]) for parts in divided.values())
    rows = []
    for strategy, (training, held_out) in divided.items():
        order = np.random.Generator(np.random.PCG64(chosen.seed)).permutation(len(training))[:count]
        learned = training.iloc[np.sort(order)].reset_index(drop=True)
        measured = held_out.reset_index(drop=True)
        shared = ground.shared(measured, learned)
        rows.append(Row(strategy, count, shared, _score(chosen, learned, measured, updates)))
    return Summary(rows)


def _score(params: Params, training: Any, held_out: Any, updates: int) -> float | None:
    """Train from the seed for so many updates, and score."""
    torch.manual_seed(params.seed)
    bands = params.data.bands or int(training["channels"].iloc[0])
    model = networks.build(params.model.network, parameters(params), bands, CLASSES)
    loss = supervision(params)
    tiles = samples(training, params.data, params.input, augment=params.augment, crops=params.crops, seed=params.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=params.train.lr, weight_decay=params.train.weight_decay)
    random = np.random.Generator(np.random.PCG64([params.seed, 1]))
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = params.train.lr * (1.0 - update / updates)
        chosen = random.integers(len(tiles), size=params.train.batch_size).tolist()
        batch = default_collate([tiles[update, index, place] for place, index in enumerate(chosen)])
        values, _ = loss(model(batch["image"]), batch["mask"], batch["valid"])
        optimizer.zero_grad()
        values.mean().backward()
        optimizer.step()
    model.eval()
    measured, tally = samples(held_out, params.data, params.input), Tally()
    with torch.no_grad():
        for index, owned in enumerate(ground.owned(held_out)):
            item = measured[0, index, 0]
            shares = torch.softmax(model(item["image"][None]).logits[0].float(), dim=0).numpy()
            add(tally, measured.picture(index), shares, owned, params.evaluate.seam)
    found: float | None = summed(tally)[MEASURE]
    return found
