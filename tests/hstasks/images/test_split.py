from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hstasks.images import split
from hstasks.images.split import Split


def samples(count, groups=None, strata=3, content=None):
    return pd.DataFrame(
        {
            "id": [f"s{place:04d}" for place in range(count)],
            "group": groups or [""] * count,
            "stratum": [str(place % strata) for place in range(count)],
            "content": content or [f"c{place}" for place in range(count)],
        }
    )


@given(
    groups=st.lists(st.sampled_from(["", "", "a", "b", "c", "d"]), min_size=12, max_size=60),
    strategy=st.sampled_from(["random", "stratified", "grouped"]),
    seed=st.integers(0, 5),
)
def test_each_id_is_in_one_fold_and_whole_groups_stay_together(groups, strategy, seed):
    frame = samples(len(groups), groups)
    try:
        decision = split.decide(frame, Split(strategy=strategy, folds=3, seed=seed, fold=1))
    except UserError as error:
        assert "fewer" in str(error) or "independent groups" in str(error)
        return
    assert sorted(decision.folds) == sorted(frame["id"])
    assert sorted(decision.held_out + decision.train) == sorted(frame["id"])
    assert decision.held_out
    if strategy == "grouped":
        split.check(frame, decision.held_out, decision.train)


@given(order=st.permutations(range(40)))
def test_the_order_of_rows_does_not_matter(order):
    frame = samples(40, [["", "a", "b"][place % 3] for place in range(40)])
    for strategy in ("random", "stratified", "grouped"):
        params = Split(strategy=strategy, folds=3)
        shuffled = frame.iloc[order].reset_index(drop=True)
        assert split.decide(shuffled, params) == split.decide(frame, params)


def test_seeds_differ_and_folds_share_a_hash():
    frame = samples(60)
    first, other = (split.decide(frame, Split(seed=seed)) for seed in (0, 1))
    assert first.hash != other.hash
    again = split.decide(frame, Split(seed=0, fold=3))
    assert again.hash == first.hash
    assert not set(again.held_out) & set(first.held_out)


def test_strata_are_spread_evenly_in_folds_of_equal_size():
    frame = samples(1003, strata=11)
    decision = split.decide(frame, Split(strategy="stratified", folds=5))
    for counts in decision.strata.values():
        assert max(counts) - min(counts) <= 1
    sizes = Counter(decision.folds.values())
    assert max(sizes.values()) - min(sizes.values()) <= 11
    assert set(Counter(split.decide(frame, Split(strategy="random", folds=5)).folds.values()).values()) <= {200, 201}


def test_groups_spread_strata_as_evenly_as_they_allow():
    random = np.random.default_rng(0)
    groups = [f"g{number}" if number else "" for number in random.integers(0, 150, 1000)]
    frame = samples(1000, groups, strata=5)
    decision = split.decide(frame, Split(strategy="grouped", folds=5))
    for counts in decision.strata.values():
        assert max(counts) - min(counts) <= 8


def test_the_same_image_is_never_in_two_folds():
    frame = samples(30, content=[f"c{place // 2}" for place in range(29)] + [""])
    for strategy in ("random", "stratified", "grouped"):
        decision = split.decide(frame, Split(strategy=strategy, folds=4))
        split.check(frame, decision.held_out, decision.train)


def test_a_split_that_divides_groups_says_how_many_are_known_from_training():
    frame = samples(100, [f"g{place // 10}" for place in range(100)])
    decision = split.decide(frame, Split(strategy="random"))
    assert "20 of 20 held-out samples (100.0%)" in str(decision)
    assert "warning" not in str(split.decide(frame, Split(strategy="grouped")))


def test_leaks_are_refused_by_id_group_and_content():
    frame = samples(6, ["", "g", "g", "", "", ""], content=["", "", "", "c", "c", ""])
    found = split.leaks(frame, ["s0000", "s0001", "s0003"], ["s0000", "s0002", "s0004", "s0005"])
    assert [(leak.kind, leak.value) for leak in found] == [("id", "s0000"), ("group", "g"), ("content", "c")]
    with pytest.raises(UserError, match="s0001 held out, s0002 trained on"):
        split.check(frame, ["s0001"], ["s0002"])
    split.check(frame, ["s0001"], ["s0002"], kinds=("id", "content"))
    with pytest.raises(UserError, match="does not have: nobody"):
        split.check(frame, ["s0001"], ["nobody"])


def on_the_ground(count=20, step=8.0):
    places = [(column * step, row * step) for row in range(count) for column in range(count)]
    frame = samples(len(places))
    left, bottom = (np.array(values) for values in zip(*places, strict=True))
    return frame.assign(site="one", left=left, bottom=bottom, right=left + 16, top=bottom + 16)


def test_blocks_keep_training_away_from_held_out_ground():
    frame = on_the_ground()
    decision = split.decide(frame, Split(strategy="blocked", block=40.0, gap=10.0, folds=4))
    boxes = {row.id: (row.left, row.bottom) for row in frame.itertuples()}
    assert decision.train
    assert decision.dropped
    closest = min(
        max(abs(boxes[one][0] - boxes[other][0]), abs(boxes[one][1] - boxes[other][1])) - 16
        for one in decision.held_out
        for other in decision.train
    )
    assert closest == 16.0
    for name in decision.dropped:
        assert any(
            max(abs(boxes[name][0] - boxes[held][0]), abs(boxes[name][1] - boxes[held][1])) - 16 < 10.0
            for held in decision.held_out
        )


def test_blocks_need_to_know_where_samples_lie():
    with pytest.raises(UserError, match="site, left, bottom"):
        split.decide(samples(20), Split(strategy="blocked", block=1.0))
    flat = on_the_ground().assign(right=0.0)
    with pytest.raises(UserError, match="no rectangles"):
        split.decide(flat, Split(strategy="blocked", block=1.0))
    with pytest.raises(UserError, match=r"split\.block"):
        validated(Split, {"strategy": "blocked"}, "params.yaml")


def test_a_split_is_read_as_it_was_written(tmp_path):
    decision = split.decide(samples(30, ["a", "b", "c"] * 10), Split(strategy="random", fold=2))
    split.write(decision, tmp_path / "split")
    assert split.load(tmp_path / "split") == decision
    assert (tmp_path / "split" / "folds.csv").read_text().splitlines()[:1] == ["id,fold"]
    split.write(decision, tmp_path / "split")
    text = (tmp_path / "split" / "folds.csv").read_text()
    (tmp_path / "split" / "folds.csv").write_text(text.replace("s0003,", "s9999,"))
    with pytest.raises(UserError, match="not what"):
        split.load(tmp_path / "split")
    (tmp_path / "split" / "decision.json").write_text("{}")
    with pytest.raises(UserError, match=r"decision\.json cannot be used"):
        split.load(tmp_path / "split")
    with pytest.raises(UserError, match="There is no split"):
        split.load(tmp_path / "other")


def test_folds_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match="numbered 0 to 2"):
        validated(Split, {"folds": 3, "fold": 3}, "params.yaml")
    with pytest.raises(UserError, match="there are 2"):
        split.decide(samples(30, ["a", "b"] * 15), Split(folds=3))
    with pytest.raises(UserError, match="no labelled sample"):
        split.decide(samples(0), Split())
