import json
import sys
from subprocess import run

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hsengine.base.errors import UserError
from hstasks.biomass import WEIGHTS, repair, repair_published

rows = arrays.arrays(np.float64, (4, 5), elements=st.floats(-50, 200).map(lambda x: round(x, 3)))


@pytest.fixture
def reference(shared):
    return json.loads((shared / "reference" / "biomass" / "constraint_cases.json").read_text())


def test_repairs_are_those_of_the_reference(reference):
    names = reference["target_order"]
    for case in reference["cases"]:
        given_row = np.array([case["input"]])
        for tolerance in (0, 0.5):
            repaired = repair(given_row, names, tolerance)
            np.testing.assert_allclose(repaired[0], case[f"expected_tolerance_{tolerance}"], atol=1e-6)
            assert bool((repaired != given_row).any()) == case[f"changed_tolerance_{tolerance}"], case["name"]
        weighted = repair(given_row, names, 0, weights=WEIGHTS)
        np.testing.assert_allclose(weighted[0], case["expected_metric_weights_tolerance_0"], atol=1e-6)


def test_the_published_rule_is_that_of_the_reference(reference):
    for case in reference["cases"]:
        for confidence in (0.5, 0.8):
            repaired = repair_published([case["input"]], reference["target_order"], confidence)
            wanted = case[f"seed_rule_confidence_{confidence}"]
            np.testing.assert_allclose(repaired[0], wanted, atol=1e-6, err_msg=case["name"])


@given(rows, arrays.arrays(np.float64, (4, 3), elements=st.floats(0, 200)))
def test_a_repair_is_consistent_final_and_never_farther_from_a_consistent_truth(predictions, parts):
    repaired = repair(predictions, tolerance=0.0)
    green, dead, clover, gdm, total = repaired.T
    assert (repaired[:, :3] >= 0).all()
    np.testing.assert_allclose(gdm, green + clover)
    np.testing.assert_allclose(total, gdm + dead)
    np.testing.assert_array_equal(repair(repaired, tolerance=0.0), repaired)
    truth = np.stack([*parts.T, parts[:, 0] + parts[:, 2], parts.sum(axis=1)], axis=1)
    before, after = (((values - truth) ** 2).sum(axis=1) for values in (predictions, repaired))
    assert (after <= before + 1e-6).all()


@given(rows, st.permutations(list(WEIGHTS)))
def test_the_order_of_the_columns_is_of_no_account(predictions, order):
    places = [list(WEIGHTS).index(name) for name in order]
    moved = repair(predictions[:, places], order, weights=WEIGHTS)
    np.testing.assert_allclose(moved, repair(predictions, weights=WEIGHTS)[:, places], atol=1e-9)


@pytest.mark.parametrize(
    ("predictions", "options", "said"),
    [
        ([[1.0, 2.0, 3.0, 4.0]], {}, r"needs \(n, 5\)"),
        ([[1.0, 2.0, 3.0, 4.0, np.inf]], {}, "row 0, Dry_Total_g"),
        ([[1.0] * 5], {"tolerance": -1.0}, "tolerance"),
        ([[1.0] * 5], {"weights": [1, 1, 1, 1, 0]}, "above 0"),
        ([[1.0] * 5], {"targets": ["Dry_Green_g"] * 5}, r"needs \(n, 5\)"),
        ([[1.0] * 5], {"targets": ["Dry_Grean_g", *list(WEIGHTS)[1:]]}, "close: Dry_Green_g"),
    ],
)
def test_what_cannot_be_repaired_is_named(predictions, options, said):
    with pytest.raises(UserError, match=said):
        repair(predictions, **options)


def test_no_rows_are_no_rows():
    assert repair(np.zeros((0, 5))).shape == (0, 5)


def test_scores_and_repairs_need_no_network_libraries():
    code = "import sys, hstasks.biomass; assert not {'torch', 'timm', 'sklearn'} & set(sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
