import numpy as np
import pytest

from hstasks.biomass import pseudo, stack
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.params import Pseudo


def test_a_stack_weighs_by_what_was_not_trained_on() -> None:
    random = np.random.default_rng(0)
    truth = random.uniform(0, 50, (60, 5))
    good, bad = truth + random.normal(0, 3, truth.shape), random.uniform(0, 50, truth.shape)
    found = stack.measured({"good": good, "bad": bad}, truth, np.arange(60) % 5)
    assert found["weights"]["good"] == pytest.approx(1.0, abs=0.05)
    assert found["weights"]["bad"] < 0.05
    assert found["R2"] > found["mean"]
    # The fold that is scored decides nothing: its truth may be anything.
    other = truth.copy()
    other[np.arange(60) % 5 == 0] += 1000.0
    out = np.arange(60) % 5 != 0
    each = np.stack([good, bad])
    np.testing.assert_array_equal(stack.weights(each[:, out], truth[out]), stack.weights(each[:, out], other[out]))


def test_pseudo_labels_are_those_whose_models_agree_to_some_grams() -> None:
    each = np.zeros((2, 3, len(TARGETS)))
    each[:, :, TARGETS.index("Dry_Total_g")] = [[40.0, 40.0, 4.0], [42.0, 60.0, 8.0]]
    assert pseudo.confident(each, Pseudo(grams=3.0, share=0.25)).tolist() == [True, False, False]
