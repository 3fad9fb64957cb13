"""The stage `pseudo`: confident predictions of test images, as labels to learn from.

Confidence is in grams: how far the networks and views of an image are apart in its total. A model may label images only
for a training that holds out what the model held out: else the held-out images would reach the training through it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hsengine.base.files import replacing
from hstasks.biomass import catalog
from hstasks.biomass.layout import TARGETS, TEST
from hstasks.biomass.params import Params, Pseudo
from hstasks.images import catalog as catalogs
from hstasks.images import split as splits
from hstasks.images.pseudo import FOLDER, SPLIT, TABLE, Summary, check


def run(params: Params) -> Summary:
    """Label the test images that the models agree on, and write `derived/pseudo/`.

    Raises:
        UserError: a model is none, or held out other images than this split and fold do.
    """
    frame = catalog.load()
    test = frame[frame["split"] == TEST].reset_index(drop=True)
    taken = test.iloc[:0]
    if params.pseudo.models:
        # Without models there is nothing for torch to do.
        from hstasks.biomass.prediction import combined, each_view, repaired

        each, records = each_view(params.pseudo.models, test, params.predict)
        now = splits.load()
        check(params.pseudo.models, records, now.hash, params.split.fold, "images")
        sure = confident(each, params.pseudo)
        grams = repaired(combined(each, params.predict.combine), params.predict)
        taken = test.assign(split=SPLIT, **dict(zip(TARGETS, grams.T, strict=True)))[sure].reset_index(drop=True)
    with replacing(FOLDER) as scratch:
        scratch.mkdir(parents=True)
        catalogs.save(taken, scratch / TABLE)
    return Summary(len(taken), len(test) if params.pseudo.models else 0, "images")


def rows(held_out: pd.DataFrame) -> pd.DataFrame:
    """The catalog rows of the images that have pseudo-labels, without those that look like a held-out image; none
    where the stage has not run."""
    file = FOLDER / TABLE
    if not file.is_file():
        return catalogs.framed([], catalog.OWN)
    found = catalogs.load(file, catalog.OWN)
    return found[~found["near"].isin(set(held_out["near"]))].reset_index(drop=True)


def confident(each: NDArray[np.float64], settings: Pseudo) -> NDArray[np.bool_]:
    """Which images (n,) the networks and views (m, n, 5) agree on: the totals' standard deviation is at most so many
    grams, and so large a share of their mean."""
    total = each[:, :, TARGETS.index("Dry_Total_g")]
    apart = total.std(axis=0)
    sure: NDArray[np.bool_] = (apart <= settings.grams) & (apart <= settings.share * total.mean(axis=0).clip(min=1e-9))
    return sure
