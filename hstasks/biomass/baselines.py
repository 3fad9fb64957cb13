"""Closed forms beside every model: what means, colours, the table and frozen features alone can say.

All predict the three components, cut at 0, and derive the other two targets. Everything is fitted on the rows given as
training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hstasks.biomass import metadata
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.pictures import STATISTICS
from hstasks.biomass.score import weighted_r2

Floats = NDArray[np.float64]
Form = Callable[[pd.DataFrame, pd.DataFrame], Floats]
"""From rows to learn from and rows to predict to grams (n, 5) in the order of `TARGETS`."""

COLOUR_PENALTY = 30.0
MEASURED_PENALTY = 0.9
TABLE_PENALTY = 3.0
FEATURE_PENALTY = 300.0
_TREES, _LEAF, _SHARE = 300, 3, 0.8


def grams(components: Floats) -> Floats:
    """(n, 5) from (n, 3) green, dead, clover, cut at 0: GDM and total are sums."""
    green, dead, clover = np.clip(components, 0.0, None).T
    return np.stack([green, dead, clover, green + clover, green + clover + dead], axis=1)


def means(train: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    """The training images' means."""
    found: Floats = np.repeat(train[list(TARGETS)].to_numpy(dtype=np.float64).mean(axis=0)[None], len(rows), axis=0)
    return found


def colour_ridge(train: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    """Colour statistics of the picture, standardised, and a ridge."""
    seen, asked = (part[list(STATISTICS)].to_numpy(dtype=np.float64) for part in (train, rows))
    return ridge(seen, asked, train, COLOUR_PENALTY)


def measured_ridge(train: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    """NDVI, height, its logarithm and NDVI · height, and a ridge."""
    return ridge(_measured(train), _measured(rows), train, MEASURED_PENALTY)


def table_ridge(train: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    """The same with season (sine and cosine of the day, and the month), state and species."""
    return ridge(*_table(train, rows), train, TABLE_PENALTY)


def table_trees(train: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    """Extremely randomised trees on the table (Geurts, Ernst, Wehenkel 2006)."""
    from sklearn.ensemble import ExtraTreesRegressor

    seen, asked = _table(train, rows)
    trees = ExtraTreesRegressor(_TREES, min_samples_leaf=_LEAF, max_features=_SHARE, random_state=0)
    return grams(np.asarray(trees.fit(seen, _components(train)).predict(asked)))


def feature_ridge(features: Mapping[str, Floats]) -> Form:
    """A ridge on frozen features, (D,) by id."""

    def form(train: pd.DataFrame, rows: pd.DataFrame) -> Floats:
        seen, asked = (np.stack([features[name] for name in part["id"]]) for part in (train, rows))
        return ridge(seen, asked, train, FEATURE_PENALTY)

    return form


FORMS: dict[str, Form] = {
    "means": means,
    "colour_ridge": colour_ridge,
    "measured_ridge": measured_ridge,
    "table_ridge": table_ridge,
    "table_trees": table_trees,
}
"""The closed forms that need nothing but the catalog."""

IMAGE_ONLY = ("means", "colour_ridge")
"""Those that a test without metadata allows."""


def ridge(seen: Floats, asked: Floats, train: pd.DataFrame, penalty: float) -> Floats:
    """Grams (n, 5) by a ridge on columns that are standardised over the training rows."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), Ridge(alpha=penalty)).fit(seen, _components(train))
    return grams(np.asarray(model.predict(asked)))


def linear(train: pd.DataFrame) -> Floats:
    """The colour ridge as weights (1 + statistics, 3) of green, dead and clover; the first row is the constant."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    colours = train[list(STATISTICS)].to_numpy(dtype=np.float64)
    scaler = StandardScaler().fit(colours)
    model = Ridge(alpha=COLOUR_PENALTY).fit(scaler.transform(colours), _components(train))
    weights = model.coef_.T / scaler.scale_[:, None]
    found: Floats = np.concatenate([(model.intercept_ - scaler.mean_ @ weights)[None], weights])
    return found


def applied(weights: Floats, rows: pd.DataFrame) -> Floats:
    """Components (n, 3) in grams, cut at 0, of the weights that `linear` gave."""
    found: Floats = weights[0] + rows[list(STATISTICS)].to_numpy(dtype=np.float64) @ weights[1:]
    return found.clip(min=0.0)


def cross_fitted(train: pd.DataFrame, folds: int = 5) -> Floats:
    """Components (n, 3) of training rows by colour ridges that have not seen their group."""
    from sklearn.model_selection import GroupKFold

    found = np.zeros((len(train), 3))
    for seen, asked in GroupKFold(min(folds, train["group"].nunique())).split(train, groups=train["group"]):
        found[asked] = applied(linear(train.iloc[seen]), train.iloc[asked])
    return found


def out_of_fold(frame: pd.DataFrame, folds: Sequence[int], form: Form) -> Floats:
    """Predictions (n, 5) of every row by the form fitted on the other folds."""
    numbers = np.asarray(folds)
    found = np.zeros((len(frame), len(TARGETS)))
    for fold in np.unique(numbers):
        out = numbers == fold
        found[out] = form(frame[~out], frame[out])
    return found


def scores(
    frame: pd.DataFrame, folds: Sequence[int], forms: Mapping[str, Form] | None = None
) -> dict[str, float | None]:
    """The pooled out-of-fold score of each closed form."""
    truth = frame[list(TARGETS)].to_numpy(dtype=np.float64)
    return {
        name: weighted_r2(truth, out_of_fold(frame, folds, form), TARGETS) for name, form in (forms or FORMS).items()
    }


def _components(rows: pd.DataFrame) -> Floats:
    return rows[list(TARGETS[:3])].to_numpy(dtype=np.float64)


def _measured(rows: pd.DataFrame) -> Floats:
    ndvi, height = (rows[name].to_numpy(dtype=np.float64) for name in ("ndvi", "height_cm"))
    return np.stack([ndvi, height, np.log1p(height), ndvi * height], axis=1)


def _table(train: pd.DataFrame, rows: pd.DataFrame) -> tuple[Floats, Floats]:
    values = {name: sorted(set(train[name])) for name in ("state", "species")}
    seen, asked = (
        np.concatenate(
            [_measured(part), metadata.numbers(part, ("season", "state", "species"), values), _months(part)], axis=1
        )
        for part in (train, rows)
    )
    return seen, asked


def _months(rows: pd.DataFrame) -> Floats:
    months = rows["date"].str.slice(5, 7).astype(int).to_numpy()
    found: Floats = (months[:, None] == np.arange(1, 13)).astype(np.float64)
    return found
