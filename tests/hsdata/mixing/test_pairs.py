import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsdata.mixing import pairs
from hsdata.testing import catalog_of, numbered
from hsengine.base.errors import UserError


def labelled(counts, split="train"):
    return pd.DataFrame({"split": split, "id": [name for label, n in counts.items() for name in numbered(label, n)]})


def published_ids(shared):
    folder = shared / "reference" / "challenge"
    return {split: (folder / f"ids_{split}.txt").read_text().split() for split in ("train", "test-public")}


def test_the_real_ids_give_the_published_plan(shared):
    catalog = catalog_of(published_ids(shared))
    plan = pairs.plan(pairs.labels(catalog))
    train = plan[plan["split"] == "train"]
    assert list(plan.columns) == ["split", "label", "id1", "id2", "synthetic_id", "lam"]
    assert len(train) == 61
    assert train["label"].value_counts().to_dict() == {1: 7, 2: 26, 4: 28}
    first = [(id1[-4:], id2[-4:]) for id1, id2 in zip(train["id1"][:3], train["id2"][:3], strict=True)]
    assert first == [("0004", "0046"), ("0027", "0060"), ("0042", "0004")]
    assert set(train["label"][:3]) == {1}
    public = plan[plan["split"] == "test-public"]
    assert list(public["synthetic_id"]) == ["Category-3_a_0045_Category-3_a_0057"]
    assert (plan["synthetic_id"] == plan["id1"] + "_" + plan["id2"]).all()
    assert plan["lam"].between(0.0, 1.0).all() and plan["lam"].nunique() == 62
    [note] = plan.attrs["notes"]
    assert "test-public: class 3 lacks 6 of the 7" in note and "different pairs of its samples, 2 in number: 1" in note


def test_pairs_do_not_depend_on_the_order_of_the_labels():
    labels = labelled({1: 9, 2: 4, 3: 6})
    shuffled = labels.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(pairs.plan(labels), pairs.plan(shuffled))


def test_the_proportions_are_drawn_after_the_pairs():
    labels = labelled({1: 8, 2: 6})
    rng = np.random.default_rng(3)
    drawn = [tuple(rng.choice(numbered(2, 6), size=2, replace=False)) for _ in range(2)]
    assert drawn[0] != drawn[1]
    plan = pairs.plan(labels, seed=3)
    assert list(zip(plan["id1"], plan["id2"], strict=True)) == drawn
    assert list(plan["lam"]) == list(rng.random(2))


def test_a_class_of_one_image_is_left_with_a_note():
    plan = pairs.plan(labelled({1: 4, 2: 1}))
    assert plan.empty
    assert plan.attrs["notes"] == [
        "train: class 2 lacks 3 of the 3 synthetic samples asked for: different pairs of its samples, 1 in number: 0"
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.integers(1, 5), st.integers(1, 12), min_size=1),
    st.integers(0, 2**31),
    st.sampled_from(["none", "max", 0.1, 0.5, 1.0]),
)
def test_each_class_is_filled_as_far_as_asked_and_possible(counts, seed, balance):
    plan = pairs.plan(labelled(counts), seed=seed, balance=balance)
    share = {"none": 0.0, "max": 1.0}.get(balance, balance)
    for label, count in counts.items():
        rows = plan[plan["label"] == label]
        wanted = int(share * (max(counts.values()) - count) + 0.5)
        assert len(rows) == min(wanted, count * (count - 1) // 2)
        assert set(rows["id1"]) | set(rows["id2"]) <= set(numbered(label, count))
        assert len({frozenset(pair) for pair in zip(rows["id1"], rows["id2"], strict=True)}) == len(rows)
    assert (plan["id1"] != plan["id2"]).all()


@pytest.mark.parametrize("balance", ["all", 0.0, 1.5, -1])
def test_an_unknown_balance_is_refused(balance):
    with pytest.raises(UserError, match=r"smote\.balance"):
        pairs.plan(labelled({1: 2}), balance=balance)


def test_an_id_given_twice_is_refused():
    with pytest.raises(UserError, match="Category-1_a_0000 more than once"):
        pairs.plan(pd.DataFrame({"id": numbered(1, 1) * 2}))


def test_a_plan_survives_being_written_and_read(tmp_path):
    plan = pairs.plan(labelled({1: 6, 2: 3}))
    pairs.write(plan, tmp_path / "plan.csv")
    again = pairs.read(tmp_path / "plan.csv")
    pd.testing.assert_frame_equal(plan, again)
    pairs.write(again, tmp_path / "again.csv")
    assert (tmp_path / "plan.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_an_empty_plan_can_be_written_and_read(tmp_path):
    pairs.write(pairs.plan(labelled({1: 2}), balance="none"), tmp_path / "plan.csv")
    assert pairs.read(tmp_path / "plan.csv").empty


def test_a_published_plan_without_proportions_and_with_windows_line_ends_is_read(tmp_path):
    (tmp_path / "plan.csv").write_bytes(b"split,label,id1,id2,synthetic_id\r\ntrain,1,a,b,a_b\r\n")
    assert list(pairs.read(tmp_path / "plan.csv")["id2"]) == ["b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "plan"),
        ("a,b\n1,2\n", "but id1 and id2 and synthetic_id are needed"),
        ("id1,id2,synthetic_id,lam\na,b,c,?\n", "?"),
    ],
)
def test_what_is_no_plan_is_refused_by_name(tmp_path, text, said):
    (tmp_path / "plan.csv").write_text(text)
    with pytest.raises(UserError, match=r"plan\.csv") as refused:
        pairs.read(tmp_path / "plan.csv")
    assert said in str(refused.value)


def test_a_missing_plan_is_named(tmp_path):
    with pytest.raises(UserError, match="There is no plan at"):
        pairs.read(tmp_path / "plan.csv")


CATALOG = catalog_of({"train": [*numbered(1, 3), *numbered(2, 2)], "test-private": numbered(1, 1, 9)})


def hand_edited(**changes):
    row = {
        "split": "train",
        "label": 1,
        "id1": "Category-1_a_0000",
        "id2": "Category-1_a_0001",
        "synthetic_id": "new",
        "lam": 0.5,
    }
    return pd.DataFrame([row | changes])


def test_a_possible_plan_passes():
    assert len(pairs.checked(hand_edited(), CATALOG)) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id2": "Category-1_a_0000"}, "cannot be mixed with itself"),
        ({"id2": "Category-2_a_0000"}, "only samples of one category"),
        ({"id2": "Category-1_a_7777"}, "no sample Category-1_a_7777 with a cube"),
        ({"id2": "Category-1_a_0009"}, "no sample Category-1_a_0009 with a cube"),
        ({"label": 2}, "label 2 is not the category"),
        ({"split": "test-private"}, "has no cubes"),
        ({"synthetic_id": "Category-1_a_0002"}, "taken by another sample"),
        ({"synthetic_id": "../escape"}, "cannot be a file's name"),
        ({"lam": 1.5}, "not between 0 and 1"),
        ({"lam": float("nan")}, "not between 0 and 1"),
    ],
)
def test_an_impossible_row_is_refused_with_its_line(changes, said):
    with pytest.raises(UserError, match="line 2") as refused:
        pairs.checked(hand_edited(**changes), CATALOG)
    assert said in str(refused.value)


def test_every_impossible_row_is_listed():
    plan = pd.concat([hand_edited(id2="Category-2_a_0000"), hand_edited(synthetic_id="b", lam=2.0)])
    with pytest.raises(UserError) as refused:
        pairs.checked(plan, CATALOG)
    assert "line 2" in str(refused.value) and "line 3" in str(refused.value)


def test_a_plan_without_proportions_cannot_be_carried_out():
    with pytest.raises(UserError, match="lacks the column lam"):
        pairs.checked(hand_edited().drop(columns="lam"), CATALOG)


def test_the_training_plan_mixes_only_what_is_trained_on_from_any_folder(tmp_path):
    catalog = catalog_of({"train": [*numbered(1, 6), *numbered(2, 2)], "test-public": numbered(2, 3, 5)})
    held_out = {"Category-1_a_0000", "Category-2_a_0001", "Category-2_a_0007"}
    training = [name for name in catalog["id"] if name not in held_out]
    made = pairs.planned(catalog, training, balance="max")
    assert set(made.plan["split"]) == {"train"} and len(made.plan) == 2
    assert not held_out & (set(made.plan["id1"]) | set(made.plan["id2"]))
    made.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels_train.csv", "smote_plan.csv"]
    assert "2 synthetic samples planned from 8" in str(made)
