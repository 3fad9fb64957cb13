"""The verb `baselines`: out-of-fold scores of the closed forms under all three kinds of folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from hsengine.evaluate import shown
from hstasks.biomass import baselines, frozen, split
from hstasks.biomass.params import Params, Split, Strategy

STRATEGIES: tuple[Strategy, ...] = ("image", "group", "state")


@dataclass(frozen=True)
class Summary:
    """The pooled score of each closed form by kind of folds."""

    scores: Mapping[str, Mapping[str, float | None]]

    def __str__(self) -> str:
        lines = ["closed form         " + "".join(f"{name:>11}" for name in self.scores)]
        lines += [
            f"{form:<20}" + "".join(f"{shown(column[form]):>11}" for column in self.scores.values())
            for form in next(iter(self.scores.values()))
        ]
        return "\n".join(
            [*lines, "pooled out-of-fold weighted R²; by image flatters: siblings of a day are trained on"]
        )


def run(params: Params) -> Summary:
    """Score all closed forms of the catalog's training images.

    Raises:
        UserError: there is no catalog, or it cannot be divided so.
    """
    rows = split.training_rows()
    forms = dict(baselines.FORMS)
    if params.frozen.backbone or params.frozen.file:
        forms["frozen_ridge"] = baselines.feature_ridge(frozen.vectors(rows, params.frozen))
    return Summary(compared(rows, params.split, forms))


def compared(
    rows: pd.DataFrame, settings: Split, forms: Mapping[str, baselines.Form] | None = None
) -> dict[str, dict[str, float | None]]:
    """Pooled scores by kind of folds and closed form."""
    found: dict[str, dict[str, float | None]] = {}
    for strategy in STRATEGIES:
        folds = split.decide(rows, settings.model_copy(update={"strategy": strategy, "fold": 0})).folds
        found[strategy] = baselines.scores(rows, [folds[name] for name in rows["id"]], forms)
    return found
