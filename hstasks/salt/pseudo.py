"""The stage `pseudo`: confident predictions of test tiles, as labels to learn from.

Confidence is the share of pixels whose probability is below 0.2 or above 0.8, as the competition's winners counted
it. A model may label tiles only for a training that holds out what the model held out: else the held-out tiles
would reach the training through its labels.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from hsengine.base.files import replacing
from hstasks.images import catalog as catalogs
from hstasks.images import split as splits
from hstasks.images.pseudo import FOLDER, SPLIT, TABLE, Summary, check
from hstasks.salt import catalog
from hstasks.salt.layout import TEST
from hstasks.salt.params import Params, Pseudo
from hstasks.salt.postprocess import Tile

MASKS = "masks"
_UNSURE, _SURE = 0.2, 0.8
_LEAST, _SMALL = 20, 500


def run(params: Params) -> Summary:
    """Label confident test tiles and write `derived/pseudo/`.

    Raises:
        UserError: a model is none, or held out other tiles than this split does.
    """
    frame = catalog.load()
    test = frame[frame["split"] == TEST].reset_index(drop=True)
    kept: list[Tile] = []
    if params.pseudo.models:
        # Without models there is nothing for torch to do.
        from hstasks.salt.prediction import masks, tiles
        from hstasks.salt.samples import samples

        ensemble, records = masks(params.pseudo.models, params.predict)
        now = splits.load()
        check(params.pseudo.models, records, now.hash, now.fold, "tiles")
        found = tiles(ensemble, samples(test, params.input), params.predict, "labelling")
        kept = [tile for tile in found if confident(tile, params.pseudo)]
    with replacing(FOLDER) as scratch:
        (scratch / MASKS).mkdir(parents=True)
        for tile in kept:
            Image.fromarray(_mask(tile).astype(np.uint8) * 255).save(scratch / MASKS / f"{tile.id}.png")
        chosen = test.set_index("id", drop=False).loc[[tile.id for tile in kept]].reset_index(drop=True)
        chosen = chosen.assign(
            split=SPLIT,
            mask=[(FOLDER / MASKS / f"{name}.png").as_posix() for name in chosen["id"]],
            salt_pixels=[int(_mask(tile).sum()) for tile in kept],
            coverage_class=[catalog.coverage_class(int(_mask(tile).sum()), _mask(tile).size) for tile in kept],
            mask_content=[catalogs.content_hash(_mask(tile)[None]) for tile in kept],
        )
        catalogs.save(chosen, scratch / TABLE)
    return Summary(len(kept), len(test) if params.pseudo.models else 0, "tiles")


def rows() -> pd.DataFrame:
    """The catalog rows of the tiles that have pseudo-labels; none where the stage has not run."""
    file = FOLDER / TABLE
    return catalogs.load(file, catalog.OWN) if file.is_file() else catalogs.framed([], catalog.OWN)


def confident(tile: Tile, settings: Pseudo) -> bool:
    """Whether a tile's prediction may be learned from; an all-black tile's may not."""
    mask = _mask(tile)
    pixels, share = int(mask.sum()), float(((tile.probability < _UNSURE) | (tile.probability > _SURE)).mean())
    if tile.black or 0 < pixels < _LEAST or pixels >= settings.most * mask.size:
        return False
    return share >= (settings.confidence_small if 0 < pixels <= _SMALL else settings.confidence)


def _mask(tile: Tile) -> NDArray[np.bool_]:
    return tile.probability > 0.5
