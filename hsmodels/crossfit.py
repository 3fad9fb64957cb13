"""Closed-form models for training, each solved without the fold of samples that it serves.

What a closed form leaves over on the samples that it was solved on is smaller, and of another kind, than what it leaves
over elsewhere: a network that learns from that has nothing to say on a new scene. Source: D. Wolpert, Stacked
generalization, Neural Networks 5, 1992.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from hsdata import index
from hsdata.leakage import mixtures_of


def folds_of(rows: pd.DataFrame, count: int, seed: int) -> list[list[int]]:
    """Places of the samples of each fold: whole groups, each category spread evenly, each place in exactly one.

    A synthetic sample belongs to the fold of its first source.

    Args:
        rows: the training's rows of a catalog, synthetic ones among them.
        count: folds; there are fewer where there are fewer independent groups, and none where there is but one.
        seed: of the choice.
    """
    pairs = mixtures_of(rows)
    originals = rows[~rows["id"].isin(list(pairs))]
    count = min(count, index.independent(originals))
    if count < 2:
        return []
    found = index.folds(originals, count, seed)
    fold = {name: number for number, names in enumerate(found) for name in names}
    places: list[list[int]] = [[] for _ in range(count)]
    for place, name in enumerate(rows["id"].astype(str)):
        source = next((part for part in pairs[name].pair if part in fold), None) if name in pairs else name
        places[0 if source is None else fold[source]].append(place)
    return places


def without(rows: pd.DataFrame, places: Sequence[int]) -> pd.DataFrame:
    """The rows that a fold's closed form is solved on: none at `places`, and no mixture of one that is there."""
    gone = set(rows["id"].iloc[list(places)])
    pairs = mixtures_of(rows)
    kept = [
        name not in gone and not (name in pairs and gone.intersection(pairs[name].pair))
        for name in rows["id"].astype(str)
    ]
    return rows[kept]


class CrossFitted:
    """The bases of a training's samples.

    Args:
        bases: solved closed forms, one a fold; each is asked for the samples of its fold only.
        folds: places of the samples of each fold.
    """

    def __init__(self, bases: Sequence[nn.Module], folds: Sequence[Sequence[int]]) -> None:
        # As they compute while a model is trained.
        self._bases = [base.train().requires_grad_(False) for base in bases]
        self._fold = {place: number for number, places in enumerate(folds) for place in places}

    @torch.no_grad()
    def __call__(self, batch: Tensor, places: Tensor) -> Tensor:
        """The cubes (B, bands, H, W), float32, of a track's batch, whose samples are at `places` (B,)."""
        cubes = []
        with torch.autocast(batch.device.type, enabled=False):
            for sample, place in zip(batch.float()[:, None], places.tolist(), strict=True):
                base = self._bases[self._fold[place]].to(batch.device)
                cubes.append(base(sample))
        return torch.cat(cubes)

    def state_dict(self) -> dict[str, Any]:
        """The closed forms' coefficients, on the CPU, by fold."""
        return {
            str(number): {key: value.detach().cpu() for key, value in base.state_dict().items()}
            for number, base in enumerate(self._bases)
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Put back what `state_dict` gave."""
        for number, base in enumerate(self._bases):
            base.load_state_dict(state[str(number)])
