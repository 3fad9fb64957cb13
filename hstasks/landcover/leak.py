"""The verb `leak`: what a random split of overlapping tiles flatters, shown with the same model on the same tiles.

Half of the tiles that the blocked split validates on are measured, drawn anew each time. The network learns twice:
from tiles of the blocked split's training, and from tiles drawn from all the others, as a random split has them, those
that overlap the measured ones among them. Tiles measured, number of tiles learned from, first weights and updates are
the same; so are the classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from hsengine.base.errors import UserError
from hstasks import leaks, networks
from hstasks.images.settings import Augment
from hstasks.landcover import catalog, ground, split
from hstasks.landcover.classes import CLASSES
from hstasks.landcover.learner import bands, measured, parameters, supervision
from hstasks.landcover.params import Params
from hstasks.landcover.samples import samples
from hstasks.landcover.scoring import Tally, add, summed
from hstasks.landcover.task import MEASURE
from hstasks.leaks import Row

RANDOM, BLOCKED = "random", "blocked"


class Summary(leaks.Summary):
    """What each split says of the same model, and on how many tiles."""

    unit = "tiles"
    sharing = "shared ground"
    measure = MEASURE


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
    tiles = samples(
        training, params.data, seen, augment=Augment(clip=False), crops=params.crops, seed=seed, cache="auto"
    )
    leaks.taught(
        model,
        lambda batch: loss(model(batch["image"]), batch["mask"], batch["valid"])[0],
        tiles,
        params.leak,
        params.train,
        seed=seed,
        step=step,
    )
    shown_tiles, tally = samples(held_out, params.data, seen), Tally()
    with torch.no_grad():
        for index, owned in enumerate(ground.owned(held_out)):
            item = shown_tiles[0, index, 0]
            shares = torch.softmax(model(item["image"][None]).logits[0].float(), dim=0).numpy()
            add(tally, shown_tiles.picture(index), shares, owned, params.evaluate.seam)
    found: float | None = summed(tally)[MEASURE]
    return found
