from collections import Counter

import numpy as np
import pytest

from hsengine.base.errors import UserError
from hsengine.train.sampling import ShuffledSampler, WeightedSampler, build, even_weights

IDS = [f"Category-{k}_a_{n:04d}" for k, count in ((1, 10), (2, 3), (3, 7)) for n in range(count)]
CATEGORIES = [int(sample[9]) for sample in IDS]
NAMES = ("shuffle", "balanced", "difficulty", "curriculum")


def make(name: str, seed: int = 0):  # type: ignore[no-untyped-def]
    return build(name, IDS, CATEGORIES, seed=seed, epochs=20)


def validation(losses: dict[int, float]) -> list[dict[str, object]]:
    return [{"id": f"held-{k}", "category": k, "loss": loss} for k, loss in losses.items()]


def training(losses: list[float]) -> list[dict[str, object]]:
    return [{"id": i, "category": c, "loss": loss} for i, c, loss in zip(IDS, CATEGORIES, losses, strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_is_as_long_as_the_training_set_and_reproducible(name: str) -> None:
    sampler = make(name)
    visits = sampler.epoch(3)
    assert len(visits) == len(IDS)
    assert visits == make(name).epoch(3)
    assert visits != sampler.epoch(4)
    assert visits != make(name, seed=1).epoch(3)
    assert len(set(visits)) == len(visits), "repeated visits are numbered"
    assert all(isinstance(index, int) and isinstance(draw, int) for index, draw in visits)


@pytest.mark.parametrize("name", NAMES)
def test_state_can_be_taken_up_again(name: str) -> None:
    sampler = make(name)
    sampler.update(validation({1: 1.0, 2: 5.0, 3: 0.1}) + training([float(n) for n in range(len(IDS))]))
    other = make(name)
    other.load_state_dict(sampler.state_dict())
    assert other.epoch(7) == sampler.epoch(7)


def test_shuffling_visits_each_sample_once() -> None:
    assert sorted(make("shuffle").epoch(0)) == [(index, 0) for index in range(len(IDS))]


def test_balanced_categories_are_equal_at_first_then_follow_the_validation_loss() -> None:
    sampler = make("balanced")

    def shares() -> dict[int, float]:
        counts = Counter(CATEGORIES[index] for epoch in range(200) for index, _ in sampler.epoch(epoch))
        return {k: counts[k] / (200 * len(IDS)) for k in (1, 2, 3)}

    assert all(abs(share - 1 / 3) < 0.03 for share in shares().values())
    sampler.update([{"id": "a", "category": 1, "loss": 1.0}, {"id": "b", "category": 1, "loss": 3.0}])
    sampler.update(validation({1: 2.0, 2: 6.0, 3: 2.0}))
    found = shares()
    assert abs(found[1] - 0.2) < 0.03
    assert abs(found[2] - 0.6) < 0.03


def test_balanced_sampling_takes_a_categorys_samples_uniformly() -> None:
    sampler = make("balanced")
    counts = Counter(index for epoch in range(500) for index, _ in sampler.epoch(epoch))
    second = [counts[index] for index, category in enumerate(CATEGORIES) if category == 2]
    assert max(second) < 1.15 * min(second)


@pytest.mark.parametrize("loss", [float("nan"), 0.0])
def test_useless_losses_leave_categories_equal(loss: float) -> None:
    sampler = make("balanced")
    sampler.update(validation({1: loss, 2: loss, 3: loss}))
    assert sampler.epoch(0) == make("balanced").epoch(0)


def test_a_category_without_validation_counts_as_the_mean_of_the_others() -> None:
    sampler, told = make("balanced"), make("balanced")
    sampler.update(validation({1: 1.0, 2: 3.0}))
    told.update(validation({1: 1.0, 2: 3.0, 3: 2.0}))
    assert sampler.epoch(2) == told.epoch(2)


def test_difficult_samples_come_more_often_and_easy_ones_still_come() -> None:
    sampler = make("difficulty")
    losses = [0.0] * 10 + [1.0] * 10
    sampler.update(training(losses))
    counts = Counter(index for epoch in range(300) for index, _ in sampler.epoch(epoch))
    easy = sum(counts[index] for index in range(10)) / (300 * len(IDS))
    assert abs(easy - 0.05) < 0.02
    assert all(counts[index] > 0 for index in range(len(IDS)))


def test_a_curriculum_begins_with_the_easy_and_ends_with_all() -> None:
    sampler = make("curriculum")
    assert {index for index, _ in sampler.epoch(0)} == set(range(len(IDS)))
    sampler.update(training([float(n) for n in range(len(IDS))]))
    sizes = []
    for epoch in range(1, 12):
        seen = {index for index, _ in sampler.epoch(epoch)}
        assert seen == set(range(len(seen))), "only the easiest"
        sizes.append(len(seen))
    assert sizes == sorted(sizes)
    assert sizes[0] < len(IDS) / 2
    assert sizes[-1] == len(IDS)


def test_an_unknown_name_is_refused_with_what_is_known() -> None:
    with pytest.raises(UserError, match=r"'shufle' is not one of shuffle, balanced, difficulty, curriculum"):
        make("shufle")


def test_an_empty_training_set_is_refused() -> None:
    with pytest.raises(UserError, match="0 training samples"):
        build("shuffle", [], [], seed=0, epochs=1)


def test_samples_drawn_again_have_their_number() -> None:
    visits = make("balanced").epoch(0)
    for index in {index for index, _ in visits}:
        assert [number for i, number in visits if i == index] == list(
            range(np.count_nonzero([i == index for i, _ in visits]))
        )


@pytest.mark.parametrize("size", [7, 20, 53])
def test_epochs_of_any_size_see_every_sample_equally_often_over_their_ends(size: int) -> None:
    sampler = build("shuffle", IDS, CATEGORIES, seed=0, epochs=20, size=size)
    counts = Counter(index for epoch in range(9) for index, _ in sampler.epoch(epoch))
    seen = [counts[index] for index in range(len(IDS))]
    assert sum(seen) == 9 * size
    assert max(seen) - min(seen) <= 1
    assert len(set(sampler.epoch(3))) == size


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_has_as_many_visits_as_are_wanted(name: str) -> None:
    sampler = build(name, IDS, CATEGORIES, seed=0, epochs=20, size=33)
    sampler.update(validation({1: 1.0, 2: 5.0, 3: 0.1}) + training([float(n) for n in range(len(IDS))]))
    assert len(sampler) == len(sampler.epoch(0)) == len(set(sampler.epoch(4))) == 33


def test_copies_come_as_often_as_is_said() -> None:
    copies = [3 if category == 2 else 1 for category in CATEGORIES]
    copies[0] = 0
    sampler = ShuffledSampler(IDS, CATEGORIES, seed=0, copies=copies)
    counts = Counter(index for index, _ in sampler.epoch(2))
    assert [counts[index] for index in range(len(IDS))] == copies
    assert len(sampler) == sum(copies)
    with pytest.raises(UserError, match="No training sample has a copy"):
        ShuffledSampler(IDS, CATEGORIES, seed=0, copies=[0] * len(IDS))


def test_samples_are_drawn_by_their_weights() -> None:
    sampler = WeightedSampler(IDS, CATEGORIES, seed=0, weights=even_weights(CATEGORIES), size=3000)
    counts = Counter(CATEGORIES[index] for index, _ in sampler.epoch(0))
    assert all(abs(counts[category] / 3000 - 1 / 3) < 0.03 for category in (1, 2, 3))
    assert sampler.epoch(0) == WeightedSampler(
        IDS, CATEGORIES, seed=0, weights=5 * even_weights(CATEGORIES), size=3000
    ).epoch(0)


@pytest.mark.parametrize("weights", [[1.0], [-1.0] + [1.0] * 19, [0.0] * 20, [float("nan")] * 20])
def test_weights_that_cannot_be_used_are_told(weights: list[float]) -> None:
    with pytest.raises(UserError, match="20 training samples need as many weights"):
        WeightedSampler(IDS, CATEGORIES, seed=0, weights=weights)
