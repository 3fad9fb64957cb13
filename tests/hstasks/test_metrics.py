import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hsengine.base.errors import UserError
from hstasks import metrics

labels = arrays.arrays(np.int64, st.shared(st.integers(2, 30), key="n"), elements=st.integers(0, 1))
scores = arrays.arrays(
    np.float64, st.shared(st.integers(2, 30), key="n"), elements=st.integers(0, 8).map(lambda k: k / 8)
)


@pytest.fixture
def lenses(shared):
    reference = json.loads((shared / "reference" / "lenses" / "metrics_cases.json").read_text())
    for case in reference["cases"]:
        if isinstance(case["scores"], str):
            case["scores"] = np.mean(case["seed_scores"], axis=0)
    return reference


def test_measures_of_scores_are_those_of_the_reference(lenses):
    functions = {
        "auroc": metrics.auroc,
        "average_precision": metrics.average_precision,
        "youden_threshold": metrics.youden,
        "youden_j": metrics.youden_index,
        "tpr0": metrics.tpr0,
        "tpr10": metrics.tpr10,
        "tpr_at_most_10_fp": lambda y, s: metrics.tpr_with_false_positives(y, s, 10),
        "brier": metrics.brier,
        "ece10": metrics.ece,
    }
    for case in lenses["cases"]:
        for name, function in functions.items():
            if name not in case["expected"]:
                continue
            wanted = case["expected"][name]
            value = function(np.array(case["labels"]), np.array(case["scores"]))
            assert value == (None if wanted is None else pytest.approx(wanted, abs=1e-9)), (case["name"], name)


def test_counts_at_the_threshold_are_those_of_the_reference(lenses):
    for case in lenses["cases"]:
        wanted = case["expected"].get("at_youden")
        if wanted is None:
            continue
        threshold = metrics.youden(case["labels"], case["scores"])
        counts = metrics.counts_at(case["labels"], case["scores"], np.inf if threshold is None else threshold)
        values = counts | metrics.from_counts(**counts)
        assert {name: values[name] for name in wanted} == pytest.approx(wanted, abs=1e-9), case["name"]


def test_what_four_counts_say_is_that_of_the_published_matrices(lenses):
    for case in lenses["confusion_matrices"].values():
        values = metrics.from_counts(case["tn"], case["fp"], case["fn"], case["tp"])
        for name in ("accuracy", "precision", "recall", "f1"):
            assert values[name] == pytest.approx(case[name], abs=1e-12)
        assert values["balanced_accuracy"] == pytest.approx(case["auroc_of_hard_labels"], abs=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_ranking_but_a_calibration(label):
    values = metrics.binary_measures([label] * 4, [0.1, 0.2, 0.9, 0.5], threshold=0.5)
    assert [values[name] for name in ("auroc", "average_precision", "tpr0", "tpr10")] == [None] * 4
    assert values["brier"] is not None
    assert values["ece"] is not None
    assert values["accuracy"] == 0.5
    assert metrics.youden([label] * 2, [0.1, 0.2]) is None


def test_nothing_has_no_measure():
    assert set(metrics.binary_measures([], []).values()) == {None, 0}


@given(labels, scores)
def test_auroc_is_the_share_of_pairs_in_order_and_does_not_change_with_a_rising_map(truth, score):
    value = metrics.auroc(truth, score)
    if 0 < truth.sum() < len(truth):
        pairs = score[truth == 1][:, None] - score[truth == 0][None, :]
        assert value == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
        assert metrics.auroc(truth, score**3 * 5 - 2) == pytest.approx(value)
        assert metrics.auroc(1 - truth, score) == pytest.approx(1 - value)
    else:
        assert value is None


@given(labels, scores)
def test_no_threshold_is_better_than_that_of_youden(truth, score):
    threshold = metrics.youden(truth, score)
    if threshold is None:
        return

    def gain(t):
        counts = metrics.counts_at(truth, score, t)
        return counts["tp"] / truth.sum() - counts["fp"] / (len(truth) - truth.sum())

    assert all(gain(threshold) >= gain(t) - 1e-12 for t in np.unique(score))
    assert all(gain(threshold) > gain(t) + 1e-12 for t in np.unique(score[score > threshold]))


@pytest.mark.parametrize(
    ("truth", "score", "said"),
    [
        ([0, 1, 2], [0.1, 0.2, 0.3], "Label 2 at position 2"),
        ([0, 1], [0.1, np.nan], "Score nan at position 1"),
        ([0, 1], [0.1], "one length"),
        ([[0, 1]], [[0.1, 0.2]], "one length"),
    ],
)
def test_labels_and_scores_that_cannot_be_are_named(truth, score, said):
    with pytest.raises(UserError, match=said):
        metrics.auroc(truth, score)


def test_a_score_that_is_no_probability_has_no_calibration():
    assert metrics.auroc([0, 1], [-3.0, 4.0]) == 1.0
    with pytest.raises(UserError, match=r"Score -3\.0 at position 0"):
        metrics.brier([0, 1], [-3.0, 4.0])


@given(
    st.integers(2, 6).flatmap(
        lambda c: st.tuples(
            st.just(c), *(arrays.arrays(np.uint8, (2, 5, 4), elements=st.integers(0, c - 1)) for _ in range(2))
        )
    )
)
def test_a_confusion_matrix_counts_every_pixel_once(case):
    classes, truth, prediction = case
    matrix = metrics.confusion(truth, prediction, classes)
    assert matrix.sum() == truth.size
    np.testing.assert_array_equal(matrix.sum(axis=1), np.bincount(truth.ravel(), minlength=classes))
    np.testing.assert_array_equal(matrix.sum(axis=0), np.bincount(prediction.ravel(), minlength=classes))
    tiles = sum(metrics.confusion(t, p, classes) for t, p in zip(truth, prediction, strict=True))
    np.testing.assert_array_equal(matrix, tiles)
    kept = metrics.confusion(truth, prediction, classes, ignore=0)
    np.testing.assert_array_equal(kept[1:], matrix[1:])
    assert kept[0].sum() == 0


def test_labels_outside_the_classes_count_only_where_the_truth_does():
    truth, prediction = np.array([0, 255, 1]), np.array([1, 9, 1])
    np.testing.assert_array_equal(metrics.confusion(truth, prediction, 2, ignore=255), [[0, 1], [0, 1]])
    np.testing.assert_array_equal(metrics.confusion(truth, prediction, 2, ignore=[0, 255]), [[0, 0], [0, 1]])
    with pytest.raises(UserError, match="truth holds label 255"):
        metrics.confusion(truth, prediction, 2)
    with pytest.raises(UserError, match="prediction holds label 9"):
        metrics.confusion(np.array([0, 1, 1]), prediction, 2)


def test_masks_that_cannot_be_compared_are_refused():
    with pytest.raises(UserError, match="same size"):
        metrics.confusion(np.zeros((2, 2), int), np.zeros((2, 3), int), 2)
    with pytest.raises(UserError, match="float64"):
        metrics.confusion(np.zeros(2), np.zeros(2, int), 2)
    with pytest.raises(UserError, match="square"):
        metrics.per_class(np.zeros((2, 3)))


def test_an_interval_holds_the_measure_and_is_that_of_its_seed():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 200)
    score = truth * 0.5 + generator.normal(size=200)

    def interval(**options):
        return metrics.interval(metrics.brier, truth, score.clip(0, 1), resamples=50, **options)

    low, high = interval()
    assert low < metrics.brier(truth, score.clip(0, 1)) < high
    assert interval() == (low, high)
    assert interval(seed=1) != (low, high)
    assert interval(groups=np.repeat(np.arange(20), 10)) != (low, high)


def test_an_interval_of_one_class_is_none():
    assert metrics.interval(metrics.auroc, np.ones(5, int), np.arange(5) / 5) is None
    with pytest.raises(UserError, match="different lengths"):
        metrics.interval(metrics.auroc, np.ones(5, int), np.arange(4))
