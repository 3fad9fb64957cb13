import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hsengine.base.errors import UserError
from hstasks import salt
from hstasks.salt.score import tenths


@pytest.fixture
def cases(shared):
    folder = shared / "reference" / "salt"
    with np.load(folder / "metric_cases.npz") as stored:
        masks = {name: stored[name] for name in stored}
    return masks, json.loads((folder / "expected.json").read_text())["cases"]


def test_the_metric_is_the_reference_for_every_case_and_type(cases):
    masks, expected = cases
    for case in expected:
        truth, prediction = (masks[f"{name}_{case['index']:02d}"] for name in ("truth", "pred"))
        for kind in (np.uint8, bool, np.int64, np.uint16):
            assert salt.score(truth.astype(kind), prediction.astype(kind)) == case["score"], case["name"]
        assert salt.score((truth != 0) * np.uint16(65535), prediction) == case["score"]
        assert salt.iou(truth, prediction) == pytest.approx(case["iou"], abs=1e-15)
        assert salt.iou_smoothed(truth, prediction) == pytest.approx(case["iou_seed"], abs=1e-15)


def test_run_lengths_are_the_reference_both_ways(cases):
    masks, expected = cases
    for case in expected:
        for name, key in (("truth", "rle_truth"), ("pred", "rle_pred")):
            mask = masks[f"{name}_{case['index']:02d}"]
            assert salt.rle_encode(mask) == case[key]
            np.testing.assert_array_equal(salt.rle_decode(case[key], tuple(case["shape"])), mask != 0)


@given(truth=st.integers(0, 10201), prediction=st.integers(0, 10201), shared_part=st.floats(0, 1))
def test_the_metric_counts_thresholds_that_are_exceeded(truth, prediction, shared_part):
    inside = int(min(truth, prediction) * shared_part)
    union = truth + prediction - inside
    exceeded = [Fraction(inside, union or 1) > Fraction(50 + 5 * step, 100) for step in range(10)]
    expected = sum(exceeded) if union else 10
    assert int(tenths(truth, prediction, inside)) == expected


@pytest.mark.parametrize("step", range(10))
def test_an_overlap_that_is_a_threshold_does_not_exceed_it(step):
    union, inside = 100, 50 + 5 * step
    assert int(tenths(union, inside, inside)) == step
    assert int(tenths(union, inside + 1, inside + 1)) == step + 1


def test_what_is_no_pair_of_masks_is_refused():
    mask = np.zeros((4, 4), dtype=np.uint8)
    for wrong in (mask.astype(float), mask[0], mask[:0], np.zeros((4, 4), dtype=object)):
        with pytest.raises(UserError, match="prediction"):
            salt.score(mask, wrong)
    with pytest.raises(UserError, match="shape"):
        salt.iou(mask, mask[:3])


def test_the_named_examples_of_run_lengths():
    right = np.zeros((101, 101), dtype=bool)
    right[:, 50:] = True
    assert salt.rle_encode(right) == "5051 5151"
    small = np.zeros((3, 4), dtype=np.uint16)
    small[[0, 2, 0, 1], [0, 0, 1, 3]] = 65535
    assert salt.rle_encode(small) == "1 1 3 2 11 1"
    assert salt.rle_encode(np.zeros((101, 101), dtype=int)) == ""


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_run_lengths_give_the_mask_back(mask):
    np.testing.assert_array_equal(salt.rle_decode(salt.rle_encode(mask), mask.shape), mask)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("1 3 2 2", "begins before"),
        ("5 2 1 2", "begins before"),
        ("10200 3", "leaves the tile"),
        ("0 1", "leaves the tile"),
        ("1 0", "empty"),
        ("1 2 3", "pairs"),
        ("1 x", "'x'"),
        ("1 -2", "'-2'"),
        ("1.0 2", "'1.0'"),
        ("1 ²", "²"),
        ("1 " + "9" * 5000, "whole number"),
        (float("nan"), "nan"),
    ],
)
def test_run_lengths_that_mean_no_mask_are_refused(text, cause):
    with pytest.raises(UserError, match=cause):
        salt.rle_decode(text)
