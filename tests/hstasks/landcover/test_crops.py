import json

import numpy as np
import pytest

from hsengine.base.errors import UserError
from hstasks.landcover.crops import acceptable, around_class, choose


def test_crops_are_accepted_as_in_the_reference(shared):
    folder = shared / "reference" / "landcover"
    mask = np.load(folder / "loss_sampler_cases.npz")["crop_mask"]
    for case in json.loads((folder / "expected.json").read_text())["crops"]:
        row, column, size = case["row"], case["col"], case["size"]
        crop = mask[row : row + size, column : column + size]
        assert acceptable(crop, "published") == case["v1"] == case["v2_as_written"]
        assert acceptable(crop) == case["v2_as_meant"]


def test_the_first_acceptable_window_is_taken_and_the_last_where_none_is():
    mask = np.full((40, 40), 2)
    mask[:, 20:] = 4
    for seed in range(20):
        row, column = choose(mask, 16, np.random.default_rng(seed), tries=100)
        assert acceptable(mask[row : row + 16, column : column + 16])
    plain = np.full((40, 30), 2)
    draws = np.random.default_rng(3)
    expected = [(int(draws.integers(25)), int(draws.integers(15))) for _ in range(4)][-1]
    assert choose(plain, 16, np.random.default_rng(3), tries=4) == expected
    assert not acceptable(np.zeros((4, 4), int))


def test_a_window_around_a_class_holds_it():
    mask = np.ones((30, 50), int)
    mask[29, 0] = 5
    for seed in range(20):
        row, column = around_class(mask, 16, np.random.default_rng(seed), 5)
        assert (mask[row : row + 16, column : column + 16] == 5).any()
    assert around_class(mask, 16, np.random.default_rng(0), 4) is None


def test_a_mask_smaller_than_the_window_is_refused():
    with pytest.raises(UserError, match="no window of 16 x 16"):
        choose(np.ones((10, 20), int), 16, np.random.default_rng(0))
