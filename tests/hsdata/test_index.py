import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsdata import index
from hsdata.params import Index
from hsdata.testing import catalog_of, numbered
from hsengine.base.errors import UserError

IDS = {
    "train": [*numbered(1, 6), *numbered(2, 4), *numbered(3, 5)],
    "test-public": [*numbered(1, 2, 10), *numbered(3, 1, 10)],
    "test-private": numbered(1, 2, 20),
}
CATALOG = catalog_of(IDS)
LABELLED = [*IDS["train"], *IDS["test-public"]]


def pairs_of(names, size=2):
    """Groups of `size` neighbours, by id."""
    return {name: f"object {place // size}" for place, name in enumerate(names)}


def test_the_public_test_is_held_out():
    decision = index.make(CATALOG, Index(), 0)
    assert decision.held_out == IDS["test-public"]
    assert decision.train == IDS["train"]
    assert decision.per_category["Category-1"] == {"held_out": 2, "train": 6, "dropped": 0}


def test_what_shares_a_group_or_content_with_the_hold_out_is_dropped_and_named():
    catalog = catalog_of(
        IDS,
        group={"Category-1_a_0001": "cup", "Category-1_a_0010": "cup"},
        cube_hash={"Category-3_a_0002": "same", "Category-3_a_0010": "same"},
    )
    decision = index.make(catalog, Index(), 0)
    assert decision.dropped == ["Category-1_a_0001", "Category-3_a_0002"]
    assert not set(decision.dropped) & set(decision.train)
    assert "Category-1_a_0001, Category-3_a_0002" in decision.reasons[-1]
    assert index.leaks(decision.held_out, catalog=catalog, training=decision.train) == []
    assert index.leaks(decision.held_out, catalog=catalog) != []


def test_without_a_public_test_another_strategy_is_asked_for():
    with pytest.raises(UserError, match="no public test split"):
        index.make(catalog_of({"train": numbered(1, 3)}), Index(), 0)


def test_nothing_left_to_train_on_is_refused():
    catalog = catalog_of({"train": numbered(1, 2), "test-public": numbered(1, 1, 5)}, group=pairs_of(numbered(1, 6), 6))
    with pytest.raises(UserError, match="leaves no sample to train on"):
        index.make(catalog, Index(), 0)


def test_stratified_holds_out_so_many_of_each_category():
    decision = index.make(CATALOG, Index(strategy="stratified", per_category=2), 3)
    assert {name: counts["held_out"] for name, counts in decision.per_category.items()} == {
        "Category-1": 2,
        "Category-2": 2,
        "Category-3": 2,
    }
    assert sorted(decision.held_out + decision.train) == sorted(LABELLED)
    assert decision == index.make(CATALOG, Index(strategy="stratified", per_category=2), 3)
    assert decision.held_out != index.make(CATALOG, Index(strategy="stratified", per_category=2), 4).held_out


def test_another_category_changes_nothing_in_the_choice_of_one():
    fewer = CATALOG[CATALOG["category"] != 2].reset_index(drop=True)
    params = Index(strategy="stratified", per_category=2)
    chosen = [name for name in index.make(CATALOG, params, 0).held_out if not name.startswith("Category-2")]
    assert chosen == index.make(fewer, params, 0).held_out


def test_a_category_of_one_group_stays_in_training():
    catalog = catalog_of({"train": [*numbered(1, 3), *numbered(2, 3)]}, group=dict.fromkeys(numbered(2, 3), "one book"))
    decision = index.make(catalog, Index(strategy="stratified"), 0)
    assert len(decision.held_out) == 1 and decision.held_out[0].startswith("Category-1")
    assert any("Category-2: all 3 are one group" in reason for reason in decision.reasons)
    with pytest.raises(UserError, match=r"holds nothing out:\n.*\n  Category-2: all 3 are one group"):
        index.make(catalog[catalog["category"] == 2], Index(strategy="stratified"), 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=8, max_size=16), st.integers(1, 6), st.integers(0, 99))
def test_groups_are_never_split(groups, per_category, seed):
    names = numbered(1, len(groups))
    catalog = catalog_of({"train": names}, group={name: f"g{group}" for name, group in zip(names, groups, strict=True)})
    if len(set(groups)) < 2:
        with pytest.raises(UserError):
            index.make(catalog, Index(strategy="stratified", per_category=per_category), seed)
        return
    decision = index.make(catalog, Index(strategy="stratified", per_category=per_category), seed)
    assert decision.held_out and decision.train and not decision.dropped
    assert index.leaks(decision.held_out, catalog=catalog) == []
    sizes = [groups.count(group) for group in set(groups)]
    reachable = {0}
    for size in sizes:
        reachable |= {total + size for total in reachable}
    reachable -= {0, len(groups)}
    assert abs(len(decision.held_out) - per_category) == min(abs(total - per_category) for total in reachable)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 11), min_size=6, max_size=24), st.integers(2, 6), st.integers(0, 99))
def test_each_id_is_in_exactly_one_fold_and_groups_stay_together(groups, count, seed):
    names = [*numbered(1, len(groups) // 2), *numbered(2, len(groups) - len(groups) // 2)]
    group = {name: f"g{number}" for name, number in zip(names, groups, strict=True)}
    catalog = catalog_of({"train": names}, group=group)
    if len(set(groups)) < count:
        with pytest.raises(UserError, match="folds need as many groups"):
            index.folds(catalog, count, seed)
        return
    found = index.folds(catalog, count, seed)
    assert sorted(name for fold in found for name in fold) == sorted(names)
    assert all(found)
    for number in set(group.values()):
        assert sum(any(group[name] == number for name in fold) for fold in found) == 1


def test_folds_spread_each_category_evenly():
    found = index.folds(catalog_of({"train": [*numbered(1, 10), *numbered(2, 5)]}), 5, 0)
    assert [sum(name.startswith("Category-1") for name in fold) for fold in found] == [2] * 5
    assert [sum(name.startswith("Category-2") for name in fold) for fold in found] == [1] * 5


def test_a_fold_is_held_out():
    decision = index.make(CATALOG, Index(strategy="folds", folds=3, fold=1), 0)
    assert decision.held_out == index.folds(CATALOG, 3, 0)[1]
    assert "Fold 1 of 3" in decision.reasons[0]


def test_an_index_file_with_blank_lines_and_windows_ends_is_read(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes(b"\xef\xbb\xbfCategory-1_a_0001\r\n\r\n  Category-2_a_0000 \r\n\nCategory-1_a_0001\r\n\r\n")
    assert index.read(file) == ["Category-1_a_0001", "Category-2_a_0000"]
    decision = index.make(CATALOG, Index(strategy="file", path=str(file)), 0)
    assert decision.held_out == ["Category-1_a_0001", "Category-2_a_0000"]
    assert set(IDS["test-public"]) <= set(decision.train)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Category-1_a_001", "is not in the catalog (close: Category-1_a_00"),
        ("Category-1_a_0020", "of the split test-private and has no cube"),
        ("nonsense", "nonsense is not in the catalog\n"),
    ],
)
def test_an_id_that_cannot_be_held_out_is_named(tmp_path, name, said):
    (tmp_path / "mine.txt").write_text(f"Category-1_a_0000\n{name}\n")
    with pytest.raises(UserError, match=r"mine\.txt cannot be the hold-out") as refused:
        index.make(CATALOG, Index(strategy="file", path=str(tmp_path / "mine.txt")), 0)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no index file"), (b"\n\n", "names no id"), (b"\xff\xfe\x00", "text")]
)
def test_what_is_no_index_file_is_refused(tmp_path, content, said):
    if content is not None:
        (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(UserError, match=said):
        index.read(tmp_path / "mine.txt")


def test_the_decision_is_written_with_its_reasons(tmp_path):
    decision = index.make(CATALOG, Index(), 0)
    index.write(decision, tmp_path)
    assert index.read(tmp_path / "held_out.txt") == decision.held_out
    assert index.read(tmp_path / "train.txt") == decision.train
    record = json.loads((tmp_path / "decision.json").read_text())
    assert record["strategy"] == "public" and record["reasons"] == decision.reasons
    assert record["per_category"]["Category-3"] == {"held_out": 1, "train": 5, "dropped": 0}


@pytest.mark.parametrize("name", ["default", "alt", "alt-smote"])
def test_the_published_indices_are_shipped(shared, name):
    from pathlib import Path

    shipped = Path(__file__).resolve().parents[2] / "indexing" / f"{name}.txt"
    assert shipped.read_bytes() == (shared / "reference" / "challenge" / f"index_{name}.txt").read_bytes()


def test_synthetic_samples_of_the_catalog_are_trained_on_unless_a_source_is_held_out():
    mixed = ["Category-1_a_0000_Category-1_a_0001", "Category-1_a_0002_Category-1_a_0010"]
    decision = index.make(catalog_of({"train": [*IDS["train"], *mixed], "test-public": IDS["test-public"]}), Index(), 0)
    assert mixed[0] in decision.train
    assert decision.dropped == [mixed[1]]
    for params in (Index(strategy="folds", folds=2), Index(strategy="stratified", per_category=3)):
        assert not set(mixed) & set(index.make(catalog_of({"train": [*IDS["train"], *mixed]}), params, 0).held_out)


def _tried(sizes, wanted):
    """Places of the units that add up closest to `wanted`, the first found for each sum: by trying all sums."""
    sums = {0: ()}
    for place, size in enumerate(sizes):
        for total, used in list(sums.items()):
            sums.setdefault(total + size, (*used, place))
    best = min((total for total in sums if 0 < total < sum(sizes)), key=lambda total: (abs(total - wanted), total))
    return sums[best]


@settings(max_examples=300)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=14), st.integers(1, 80))
def test_the_units_held_out_are_those_that_trying_all_sums_gives(sizes, wanted):
    units = [[f"{place}-{number}" for number in range(size)] for place, size in enumerate(sizes)]
    assert index._closest(units, wanted) == [name for place in _tried(sizes, wanted) for name in units[place]]


def test_an_index_of_ids_that_no_large_catalog_has_is_refused_with_some_hints(tmp_path):
    catalog = catalog_of({"train": numbered(1, 5000)})
    (tmp_path / "index.txt").write_text("".join(f"Categry-1_a_{number:04d}\n" for number in range(300)))
    with pytest.raises(UserError, match=r"Categry-1_a_0000 is not in the catalog \(close: .*Category-1_a_0000"):
        index.make(catalog, Index(strategy="file", path=str(tmp_path / "index.txt")), 0)
