import json

import numpy as np
import pytest

from hsengine.base.errors import UserError
from hstasks.landcover import (
    class_balanced_weights,
    class_shares,
    difficulty_weights,
    effective_number_weights,
    hardness_richness_weights,
    rare_class_probabilities,
    share_weights,
)


@pytest.fixture
def reference(shared):
    folder = shared / "reference" / "landcover"
    return json.loads((folder / "expected.json").read_text()), np.load(folder / "loss_sampler_cases.npz")


def test_weights_are_those_of_the_reference(reference):
    expected, arrays = reference
    np.testing.assert_allclose(difficulty_weights(arrays["losses"]), expected["difficulty"]["weights"], atol=1e-12)
    np.testing.assert_allclose(
        hardness_richness_weights(arrays["hardness"], arrays["richness"]),
        expected["hardness_richness"]["weights"],
        atol=1e-12,
    )
    present = np.stack([[(mask == number).any() for number in range(6)] for mask in arrays["masks"]])
    np.testing.assert_allclose(class_balanced_weights(present), expected["class_balanced"]["weights"], atol=1e-12)
    for temperature, wanted in expected["rare_class_probability"].items():
        ours = rare_class_probabilities(expected["pixel_frequency"], float(temperature))
        np.testing.assert_allclose(ours, wanted, rtol=1e-9)
    counts = np.bincount(arrays["masks"].ravel(), minlength=6)[1:]
    np.testing.assert_allclose(counts / counts.sum(), expected["pixel_frequency"], rtol=1e-12)
    for beta, wanted in expected["effective_number_weights"].items():
        np.testing.assert_allclose(effective_number_weights(counts, float(beta)), wanted, rtol=1e-9)


def test_shares_of_the_rare_classes_are_those_of_the_reference(reference):
    expected, arrays = reference
    shares = [class_shares(mask) for mask in arrays["masks"]]
    for number, wanted in expected["replication"]["share_of_valid"].items():
        ours = [0.0 if share is None else share[int(number)] for share in shares]
        np.testing.assert_allclose(ours, wanted, atol=1e-12)


def test_a_class_without_pixels_has_no_weight():
    np.testing.assert_allclose(effective_number_weights([10, 0, 10], 0.9), [1, 0, 1])
    with pytest.raises(UserError, match="β = 1"):
        effective_number_weights([1], 1.0)


def test_equal_losses_and_tiles_without_one_weigh_one():
    np.testing.assert_array_equal(difficulty_weights([0.3, 0.3, np.nan]), [1, 1, 1])
    np.testing.assert_array_equal(difficulty_weights([np.nan, np.nan]), [1, 1])
    np.testing.assert_array_equal(difficulty_weights([]), [])
    np.testing.assert_allclose(difficulty_weights([0.0, np.nan, 2.0, 1.0]), [1, 1, 5, 3])


def test_an_infinite_loss_is_named():
    with pytest.raises(UserError, match="position 1"):
        difficulty_weights([0.0, np.inf])


def test_a_rare_class_that_no_tile_holds_raises_no_weight():
    np.testing.assert_array_equal(class_balanced_weights(np.eye(6, dtype=bool)[[1, 2]]), [1, 1])


def test_classes_weigh_by_a_power_of_their_share():
    counts = [800, 190, 10, 0]
    assert list(share_weights(counts, 0.0)) == [1.0, 1.0, 1.0, 1.0]
    weights = share_weights(counts, 0.5)
    assert weights[2] / weights[0] == pytest.approx(np.sqrt(80))
    assert (weights[:3] * [0.8, 0.19, 0.01]).sum() == pytest.approx(1.0)
    # What is hardly there gains nothing.
    assert list(share_weights([999, 1], 0.5)) == pytest.approx([1.0, 1.0])
    assert list(share_weights([0, 0], 0.5)) == [1.0, 1.0]
