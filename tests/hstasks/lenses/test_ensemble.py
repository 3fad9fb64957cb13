import numpy as np
import pandas as pd
import pytest

from hsengine.base.errors import UserError
from hstasks.lenses import ensemble, split

IDS = [f"D1_L_{index:08d}" for index in range(200)]
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 200)
LOGITS = 3.0 * LABELS - 1.5 + RNG.standard_normal((3, 200))
SCORES = 1.0 / (1.0 + np.exp(-LOGITS))


def decision(part: str = "val") -> split.Decision:
    rows = pd.DataFrame({"id": IDS, "band": "", "part": part})
    return split.Decision("grouped", 0, rows, {})


def test_members_are_joined_by_object_and_averaged() -> None:
    members = {"s42": {"b": 0.2, "a": 0.9}, "s101": {"a": 0.5, "b": 0.4}}
    ids, scores = ensemble.joined(members)
    assert ids == ["a", "b"]
    np.testing.assert_allclose(ensemble.averaged(scores, "probability"), [0.7, 0.3])
    np.testing.assert_allclose(ensemble.averaged([[0.9, 1.0], [0.1, 1.0]], "logit"), [0.5, 1.0], atol=1e-6)
    with pytest.raises(UserError, match="s101 has no score of 1 objects: c"):
        ensemble.joined({**members, "s42": {"a": 0.1, "b": 0.1, "c": 0.1}})
    with pytest.raises(UserError, match="no probabilities"):
        ensemble.joined({"s42": {"a": float("nan")}})


def test_a_member_that_cannot_see_an_object_is_left_out_of_its_mean() -> None:
    members = {"grizy": {"a": 0.9, "b": 0.2, "c": 0.7}, "g": {"a": 0.5, "c": 0.1}}
    ids, scores = ensemble.joined(members, {"g": {"b", "d"}})
    assert ids == ["a", "b", "c"]
    np.testing.assert_allclose(ensemble.averaged(scores, "probability"), [0.7, 0.2, 0.4])
    np.testing.assert_allclose(ensemble.averaged(scores, "logit")[1], 0.2)
    with pytest.raises(UserError, match="g has no score of 1 objects: b"):
        ensemble.joined(members, {"g": {"d"}})


def test_all_bands_of_an_object_count() -> None:
    found = ensemble.of_objects([("a", "g", 0.2), ("b", "g", 1.0), ("a", "z", 0.6)])
    assert found == {"a": pytest.approx(0.4), "b": 1.0}
    with pytest.raises(UserError, match="two scores of band g"):
        ensemble.of_objects([("a", "g", 0.2), ("a", "g", 0.3)])


def test_members_of_different_splits_are_refused() -> None:
    assert ensemble.check_members({"a": {"split": "x"}, "b": {"split": "x"}}) == "x"
    with pytest.raises(UserError, match=r"different splits \(a: x, b: y\)"):
        ensemble.check_members({"a": {"split": "x"}, "b": {"split": "y"}})
    with pytest.raises(UserError, match="b do not say"):
        ensemble.check_members({"a": {"split": "x"}, "b": {}})


def test_the_threshold_is_fitted_on_validation_only_and_stored() -> None:
    fitted = ensemble.fit(IDS, SCORES, LABELS, decision())
    assert fitted.temperature == 1.0 and fitted.objects == 200 and fitted.split == decision().hash
    probabilities = fitted.probabilities(SCORES)
    assert (fitted.decisions(probabilities) == LABELS).mean() > 0.9
    assert fitted.threshold in probabilities
    assert ensemble.from_dict(fitted.to_dict()) == fitted
    with pytest.raises(UserError, match="200 objects are not of the validation part"):
        ensemble.fit(IDS, SCORES, LABELS, decision("test"))
    with pytest.raises(UserError, match="of one class"):
        ensemble.fit(IDS, SCORES, np.ones(200, int), decision())


def test_a_missing_threshold_is_an_error() -> None:
    fitted = ensemble.fit(IDS, SCORES, LABELS, decision()).to_dict()
    for record in (None, {}, {**fitted, "threshold": None}, {**fitted, "threshold": float("nan")}):
        with pytest.raises(UserError, match="no threshold in s42"):
            ensemble.from_dict(record, "s42")
    with pytest.raises(UserError, match="no score"):
        ensemble.from_dict(fitted).decisions([0.2, float("nan")])


def test_a_temperature_mends_confidence_and_keeps_the_order() -> None:
    sharp = 1.0 / (1.0 + np.exp(-4.0 * LOGITS[:1]))
    fitted = ensemble.fit(IDS, sharp, LABELS, decision(), temperature=True)
    assert 1.0 < fitted.temperature < 4.0
    probabilities = fitted.probabilities(sharp)
    np.testing.assert_array_equal(np.argsort(probabilities), np.argsort(sharp[0]))

    def entropy(scores: np.ndarray) -> float:
        return -float(np.mean(np.log(np.where(LABELS == 1, scores, 1.0 - scores))))

    assert entropy(probabilities) < entropy(sharp[0])


def test_scores_that_rank_nothing_call_nothing_a_lens() -> None:
    upside_down = 1.0 - SCORES
    fitted = ensemble.fit(IDS, np.full_like(SCORES, 0.5), LABELS, decision())
    assert not fitted.decisions(fitted.probabilities(np.full_like(SCORES, 0.5))).any()
    assert np.isfinite(ensemble.fit(IDS, upside_down, LABELS, decision()).threshold)
