from pathlib import Path

import numpy as np
import pytest
from small_salt import small

from hsengine.base.errors import UserError
from hstasks.images import readers
from hstasks.salt import pseudo, split, train
from hstasks.salt.params import Pseudo
from hstasks.salt.postprocess import Tile

SETTINGS = Pseudo()


def _tile(probability, *, black=False):
    return Tile("a", np.asarray(probability, dtype=np.float32), 1.0, black)


def _salt(pixels, rest=0.01, side=100):
    levels = np.full(side * side, rest, dtype=np.float32)
    levels[:pixels] = 0.99
    return levels.reshape(side, side)


@pytest.mark.parametrize(
    ("levels", "taken"),
    [
        (_salt(0), True),
        (_salt(3000), True),
        (_salt(10), False),
        (_salt(9500), False),
        (_salt(3000, rest=0.4), False),
    ],
    ids=["empty", "salt", "tiny", "nearly full", "unsure"],
)
def test_confident_tiles_are_taken(levels, taken):
    assert pseudo.confident(_tile(levels), SETTINGS) is taken


def test_small_masks_must_be_surer():
    levels = _salt(300)
    levels.ravel()[-200:] = 0.4
    assert not pseudo.confident(_tile(levels), SETTINGS)
    large = _salt(3000)
    large.ravel()[-200:] = 0.4
    assert pseudo.confident(_tile(large), SETTINGS)


def test_black_tiles_are_never_taken():
    assert not pseudo.confident(_tile(_salt(0), black=True), SETTINGS)


def test_without_models_there_are_no_labels(trained):
    assert "empty" in str(pseudo.run(small()))
    assert pseudo.rows().empty


def test_labelled_test_tiles_are_learned_from(trained, monkeypatch):
    Path("outputs/model").rename("first")
    before = train.prepare(small())
    params = small(pseudo={"models": ["first"], "confidence": 0.0, "confidence_small": 0.0, "most": 1.0})
    monkeypatch.setattr(pseudo, "_LEAST", 0)
    assert "get pseudo-labels" in str(pseudo.run(params))
    rows = pseudo.rows()
    assert set(rows["split"]) == {"pseudo"}
    mask = readers.read_mask(rows["mask"][0])
    assert mask.shape == (101, 101)
    assert mask.sum() == rows["salt_pixels"][0]
    after = train.prepare(params)
    assert after.counts[0] == before.counts[0] + len(rows)
    assert after.counts[1] == before.counts[1]
    assert after.data != before.data


def test_a_model_that_held_out_other_tiles_may_not_label(trained):
    Path("outputs/model").rename("first")
    params = small(pseudo={"models": ["first"]}, split={"fold": 1})
    split.run(params)
    with pytest.raises(UserError, match="first"):
        pseudo.run(params)
    assert not Path("derived/pseudo").exists()
