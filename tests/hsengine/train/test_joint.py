from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_task import Points, Toy, trained

from hsengine.base.errors import UserError
from hsengine.train.joint import Joint, JointSampler


def _joint(*sizes):
    return Joint({f"set{number}": Points(size, seed=number) for number, size in enumerate(sizes)})


def test_ids_and_categories_of_two_sets_are_kept_apart():
    joint = _joint(3, 2)
    assert joint.ids == ["set0/point-000", "set0/point-001", "set0/point-002", "set1/point-000", "set1/point-001"]
    assert joint.domains == [0, 0, 0, 1, 1]
    assert not set(joint.categories[:3]) & set(joint.categories[3:])
    assert joint[0, 4, 0]["domain"] == 1
    assert joint[7, 4, 2]["input"].equal(Points(2, seed=1)[7, 1, 2]["input"])


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(1, 12),
)
def test_shares_hold_in_every_stretch_and_all_of_a_set_are_seen_equally_often(sets, run, count):
    joint = _joint(*(size for size, _ in sets))
    shares = {f"set{number}": share for number, (_, share) in enumerate(sets)}
    sampler = JointSampler(joint, shares, seed=1, size=count * run, run=run)
    total = sum(shares.values())
    seen = Counter()
    for epoch in range(6):
        visits = sampler.epoch(epoch)
        assert len(visits) == len(set(visits)) == count * run
        domains = [joint.domains[index] for index, _ in visits]
        for start in range(0, len(domains), run):
            assert len(set(domains[start : start + run])) == 1
        for number, (_, share) in enumerate(sets):
            for done in range(count + 1):
                assert abs(domains[: done * run].count(number) / run - done * share / total) < len(sets)
        seen.update(index for index, _ in visits)
    for name in shares:
        counts = [seen[index] for index in joint.places(name)]
        assert max(counts) - min(counts) <= 1


def test_batches_are_mixed_or_of_one_set_as_the_task_says(tmp_path):
    class Two(Toy):
        def __init__(self, run):
            super().__init__()
            self.run, self.domains = run, []

        def training(self):
            return _joint(12, 6)

        def sampler(self, ids, categories, *, seed, epochs, size):
            return JointSampler(self.training(), {"set0": 1, "set1": 1}, seed=seed, size=size, run=self.run)

        def losses(self, model, batch):
            if "domain" in batch:
                self.domains.append(sorted(batch["domain"].tolist()))
            return super().losses(model, batch)

    mixed, pure = Two(run=1), Two(run=4)
    for number, task in enumerate((mixed, pure)):
        trained(tmp_path / str(number), task, sampling="task", updates=2, accumulate=2, epochs=1)
    assert mixed.domains == [[0, 0, 1, 1]] * 4
    assert pure.domains == [[0] * 4, [1] * 4] * 2


def test_sets_of_different_kinds_of_samples_reach_the_task_apart(tmp_path):
    class Unlabelled(Points):
        def __getitem__(self, key):
            return {name: value for name, value in super().__getitem__(key).items() if name != "target"}

    class Two(Toy):
        def training(self):
            return Joint({"source": Points(8, seed=1), "target": Unlabelled(8, seed=2)})

        def losses(self, model, batch):
            if "target" in batch:
                return super().losses(model, batch)
            scores = model(batch["input"]).softmax(1)
            loss = -(scores * scores.log()).sum(1)
            return loss, {"half": loss / 2}

    assert trained(tmp_path, Two()).reason == "epochs"


def test_sets_and_shares_that_do_not_go_together_are_told():
    with pytest.raises(UserError, match="no sample of 'set1'"):
        _joint(3, 0)
    with pytest.raises(UserError, match=r"shares \{'set0': 1\} .* each of set0, set1"):
        JointSampler(_joint(3, 2), {"set0": 1}, seed=0)
    with pytest.raises(UserError, match="as many weights"):
        JointSampler(_joint(3, 2), {"set0": 1, "set1": 1}, seed=0, weights={"set0": [1.0]})
