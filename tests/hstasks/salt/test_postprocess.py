from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_salt import small

from hsengine.base.errors import UserError
from hstasks.salt import score
from hstasks.salt.params import Postprocess
from hstasks.salt.postprocess import BARE, GRIDS, Tile, fitted, fitted_rules, fixed, mask_of, out_of_fit, save

SIDE = 12


def _tile(probability, presence=1.0, *, truth=None, black=False, follows=None, name="a"):
    levels = np.broadcast_to(np.asarray(probability, dtype=np.float32), (SIDE, SIDE)).copy()
    return Tile(name, levels, presence, black, truth, follows)


def _block(rows, columns):
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[rows, columns] = True
    return mask


def test_salt_is_above_the_threshold():
    tile = _tile(np.linspace(0.0, 1.0, SIDE))
    np.testing.assert_array_equal(mask_of(tile, BARE), tile.probability > 0.5)
    np.testing.assert_array_equal(mask_of(tile, replace(BARE, threshold=0.8)), tile.probability > 0.8)


def test_a_tile_below_the_gate_is_empty():
    assert mask_of(_tile(0.9, presence=0.4), BARE).all()
    assert not mask_of(_tile(0.9, presence=0.4), replace(BARE, gate=0.5)).any()


def test_a_black_tile_is_empty_where_that_is_asked_for():
    assert mask_of(_tile(0.9, black=True), BARE).any()
    assert not mask_of(_tile(0.9, black=True), replace(BARE, black_to_empty=True)).any()


def test_a_full_mask_is_empty_where_that_is_asked_for():
    assert not mask_of(_tile(0.9), replace(BARE, full_to_empty=True)).any()


def test_small_masks_and_components_go_and_holes_are_filled():
    large, small_one = _block(slice(0, 5), slice(0, 5)), _block(slice(9, 10), slice(9, 11))
    holed = large & ~_block(slice(2, 3), slice(2, 3))
    tile = _tile(0.9 * (holed | small_one))
    np.testing.assert_array_equal(mask_of(tile, replace(BARE, component=3)), holed)
    np.testing.assert_array_equal(mask_of(tile, replace(BARE, component=2)), holed | small_one)
    np.testing.assert_array_equal(mask_of(tile, replace(BARE, component=3, fill=True)), large)
    assert not mask_of(tile, replace(BARE, least=27)).any()
    assert mask_of(tile, replace(BARE, least=26)).any()


def test_what_follows_from_the_tile_above_goes_before_what_is_predicted():
    known = _block(slice(None), slice(3, 6))
    tile = _tile(0.9, presence=0.0, follows=known)
    assert mask_of(tile, BARE).all()
    np.testing.assert_array_equal(mask_of(tile, replace(BARE, mosaic=True, gate=0.5, least=1000)), known)


def _noisy(count, threshold, seed=0):
    """Tiles whose truth is what their probability says at a threshold; the empty ones have a low presence."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        salt = number % 3 > 0
        levels = np.clip(random.random() * 0.4 + np.linspace(0.1, 0.9, SIDE) ** random.uniform(0.5, 1.5), 0, 1)
        tile = _tile(levels, 0.9 if salt else 0.2, name=str(number))
        found.append(replace(tile, truth=(tile.probability > threshold) & salt))
    return found


def test_fitted_rules_find_what_the_truth_was_made_by():
    rules = fitted(_noisy(60, 0.6), Postprocess())
    assert rules.threshold == pytest.approx(0.6, abs=0.051)
    assert 0.2 < rules.gate < 0.9


def test_rules_that_gain_no_more_than_chance_are_left_as_they_are():
    tiles = _noisy(60, 0.5)
    better = [replace(tile, presence=1.0) for tile in tiles]
    assert fitted(better[1:3], Postprocess()) == fixed(Postprocess())
    assert fitted([], Postprocess()) == fixed(Postprocess())


def test_what_is_set_is_not_fitted():
    rules = fitted(_noisy(60, 0.6), Postprocess(threshold=0.35, gate=0.1, least=3))
    assert (rules.threshold, rules.gate, rules.least) == (0.35, 0.1, 3)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_the_rules_of_a_tile_do_not_follow_from_its_own_half(seed):
    tiles = _noisy(12, 0.6, seed)
    halves = [number % 2 for number in range(12)]
    before = out_of_fit(tiles, halves, Postprocess())
    turned = [replace(t, truth=~t.truth) if half == 0 else t for t, half in zip(tiles, halves, strict=True)]
    after = out_of_fit(turned, halves, Postprocess())
    assert [rule for rule, half in zip(before, halves, strict=True) if half == 0] == [
        rule for rule, half in zip(after, halves, strict=True) if half == 0
    ]


def test_the_grid_is_searched_by_the_score_itself():
    tiles = _noisy(30, 0.6)
    best = fitted(tiles, Postprocess(gate=0.0, least=0))
    means = {
        value: np.mean(
            [score(tile.truth, mask_of(tile, replace(fixed(Postprocess()), threshold=value))) for tile in tiles]
        )
        for value in GRIDS["threshold"]
    }
    assert means[best.threshold] >= max(means.values()) - 0.1


def test_rules_are_read_back_for_their_own_training_only(tmp_path):
    rules = replace(BARE, threshold=0.4)
    save(rules, "one", tmp_path)
    assert fitted_rules(tmp_path, "one") == rules
    with pytest.raises(UserError, match="another training"):
        fitted_rules(tmp_path, "two")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"training": "one", "rules": {"threshold": 1}}'])
def test_a_damaged_file_of_rules_is_named(tmp_path, content):
    (tmp_path / "rules.json").write_text(content)
    with pytest.raises(UserError, match=r"rules\.json"):
        fitted_rules(tmp_path, "one")


@pytest.mark.parametrize("value", [0.0, 1.0, 1.5, "best"])
def test_a_threshold_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="threshold"):
        small(postprocess={"threshold": value})
