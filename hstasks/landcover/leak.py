"""The verb `leak`: what a random split of overlapping tiles flatters, shown with the same model on the same tiles.

Half of the tiles that the blocked split validates on are measured, drawn anew each time. The network learns twice:
from tiles of the blocked split's training, and from tiles drawn from all the others, as a random split has them, those
that overlap the measured ones among them. Tiles measured, number of tiles learned from, first weights and updates are
the same; so are the classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch.utils.data import default_collate
from tqdm import tqdm

from hsengine.base.errors import UserError
from hsengine.evaluate import shown
from hsengine.study.table import Value
from hstasks import networks
from hstasks.images.settings import Augment
from hstasks.landcover import catalog, ground, split
from hstasks.landcover.classes import CLASSES
from hstasks.landcover.learner import bands, measured, parameters, supervision
from hstasks.landcover.params import Params
from hstasks.landcover.samples import samples
from hstasks.landcover.scoring import Tally, add, summed
from hstasks.landcover.task import MEASURE

RANDOM, BLOCKED = "random", "blocked"


@dataclass(frozen=True)
class Row:
    """One way to split, over the draws.

    Attributes:
        strategy: random or blocked.
        tiles: how many are learned from.
        shared: the share of the measured ground that they show, mean over the draws.
        scores: of each draw; None where no class is there.
    """

    strategy: str
    tiles: int
    shared: float
    scores: list[float | None]


@dataclass(frozen=True)
class Summary:
    """What each split says of the same model, and on how many tiles."""

    rows: list[Row]
    measured: int

    @property
    def difference(self) -> Value | None:
        """What the random split says beyond the blocked one, draw by draw."""
        both = {row.strategy: row.scores for row in self.rows}
        pairs = zip(both[RANDOM], both[BLOCKED], strict=True)
        return Value.of([one - other for one, other in pairs if one is not None and other is not None])

    def __str__(self) -> str:
        lines = [f"{'split':10}{'training tiles':>16}{'shared ground':>16}{MEASURE:>20}  by draw"]
        for row in self.rows:
            mean = Value.of([score for score in row.scores if score is not None])
            each = " ".join(shown(score) for score in row.scores)
            lines.append(f"{row.strategy:10}{row.tiles:>16}{row.shared:>16.1%}{mean or 'undefined'!s:>20}  {each}")
        found = self.difference
        if found is not None:
            told = "" if found.n < 2 else ", told from zero" if found.is_told_from_zero else ", not told from zero"
            lines.append(
                f"The random split says {found.mean:+.4f} more (± {found.spread or 0.0:.4f} over draws{told})."
            )
        return "\n".join(
            [*lines, f"Measured on the same {self.measured} tiles, with the same network, updates and first weights."]
        )


def run(params: Params) -> Summary:
    """Train the network of the parameters as by a random and as by a blocked split of the pool, and score both.

    Network and loss are those of the parameters as they stand; `stages` and `stage` play no part. Bands are
    standardised and tiles not changed, so that few updates learn them by heart.

    Args:
        params: of the file; `leak` says how often and how long.

    Raises:
        UserError: catalog or split are missing, or tiles have no footprints.
    """
    frame = catalog.load()
    own = split.load()
    # Not a test tile takes part.
    pool = frame[frame["id"].map(own.roles).isin((split.TRAIN, split.VAL, split.DROPPED))]
    pool = pool[pool["mask"] != ""].sort_values("id", ignore_index=True)
    settings = params.split.model_copy(update={"strategy": BLOCKED, "test_sites": [], "test_fold": None})
    made = split.divide(pool, settings)
    apart, strip = (pool[pool["id"].map(made.roles) == role] for role in (split.TRAIN, split.VAL))
    if len(strip) < 2:
        raise UserError("The blocked split validates on a single tile: lower split.folds or set another split.fold.")
    count = len(apart)
    found: dict[str, list[tuple[float, float | None]]] = {RANDOM: [], BLOCKED: []}
    half = len(strip) // 2
    draws = params.leak.draws
    with tqdm(total=2 * draws * params.leak.updates, desc="training", unit="update", disable=None) as bar:
        for draw in range(draws):
            random = np.random.Generator(np.random.PCG64([params.seed, draw]))
            held_out = _some(strip, half, random)
            others = pool[~pool["id"].isin(held_out["id"])]
            for strategy, tiles in ((RANDOM, others), (BLOCKED, apart)):
                learned = _some(tiles, count, random)
                score = _score(params, learned, held_out, params.seed + draw, bar.update)
                found[strategy].append((ground.shared(held_out, learned), score))
    rows = [
        Row(name, count, float(np.mean([share for share, _ in each])), [score for _, score in each])
        for name, each in found.items()
    ]
    return Summary(rows, half)


def _some(rows: pd.DataFrame, count: int, random: np.random.Generator) -> pd.DataFrame:
    """So many of the rows, drawn without replacement, in their order."""
    return rows.iloc[np.sort(random.permutation(len(rows))[:count])].reset_index(drop=True)


def _score(
    params: Params, training: pd.DataFrame, held_out: pd.DataFrame, seed: int, step: Callable[[], object]
) -> float | None:
    """Train from the seed for so many updates, and score."""
    torch.manual_seed(seed)
    model = networks.build(params.model.network, parameters(params), params.data.bands or bands(training), CLASSES)
    loss = supervision(params)
    seen = measured(params, training)
    tiles = samples(training, params.data, seen, augment=Augment(clip=False), crops=params.crops, seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=params.leak.lr, weight_decay=params.train.weight_decay)
    random = np.random.Generator(np.random.PCG64([seed, 1]))
    for update in range(params.leak.updates):
        for group in optimizer.param_groups:
            group["lr"] = params.leak.lr * (1.0 - update / params.leak.updates)
        chosen = random.integers(len(tiles), size=params.train.batch_size).tolist()
        batch = default_collate([tiles[update, index, place] for place, index in enumerate(chosen)])
        values, _ = loss(model(batch["image"]), batch["mask"], batch["valid"])
        optimizer.zero_grad()
        values.mean().backward()
        optimizer.step()
        step()
    model.eval()
    shown_tiles, tally = samples(held_out, params.data, seen), Tally()
    with torch.no_grad():
        for index, owned in enumerate(ground.owned(held_out)):
            item = shown_tiles[0, index, 0]
            shares = torch.softmax(model(item["image"][None]).logits[0].float(), dim=0).numpy()
            add(tally, shown_tiles.picture(index), shares, owned, params.evaluate.seam)
    found: float | None = summed(tally)[MEASURE]
    return found
