from pathlib import Path

import pandas as pd
import pytest

from hsdata import catalog as catalogs
from hsdata import index, leakage
from hsdata.mixing import pairs
from hsdata.testing import catalog_of, numbered
from hsengine.base.errors import UserError

SHIPPED = Path(__file__).resolve().parents[2] / "indexing"

CATALOG = catalog_of({"train": numbered(1, 4), "test-public": numbered(1, 2, 10), "test-private": numbered(1, 1, 20)})
PLAN = pd.DataFrame(
    [
        ("train", 1, "Category-1_a_0000", "Category-1_a_0001", "Category-1_a_0000_Category-1_a_0001", 0.5),
        ("train", 1, "Category-1_a_0002", "Category-1_a_0003", "Category-1_a_0002_Category-1_a_0003", 0.25),
    ],
    columns=list(pairs.PLAN_COLUMNS),
)


@pytest.fixture
def published(shared, tmp_path):
    """The published plan, as a file."""
    folder = shared / "reference" / "challenge"
    ids = {split: (folder / f"ids_{split}.txt").read_text().split() for split in ("train", "test-public")}
    pairs.write(pairs.plan(pairs.labels(catalog_of(ids))), tmp_path / "smote_plan.csv")
    return tmp_path / "smote_plan.csv"


def test_the_published_smote_index_leaks_one_book(published):
    [leak] = index.leaks(index.read(SHIPPED / "alt-smote.txt"), plan=published)
    assert leak.id == "Category-2_a_0002"
    assert leak.pair == ("Category-2_a_0016", "Category-2_a_0002")
    assert str(leak) == (
        "Category-2_a_0002 is held out, but it is a source of the synthetic training sample "
        "Category-2_a_0016_Category-2_a_0002 (made of Category-2_a_0016 and Category-2_a_0002)."
    )


def test_the_published_default_index_does_not_leak(published):
    assert index.leaks(index.read(SHIPPED / "default.txt"), plan=published) == []


def test_held_out_sources_of_public_test_mixtures_are_noted(published):
    found = index.check(SHIPPED / "default.txt", plan=published)
    assert found.clean
    assert "Category-3_a_0045_Category-3_a_0057" in found.notes[0] and "not trained on" in found.notes[0]


def test_nothing_to_find_is_an_empty_list():
    assert index.leaks(["Category-1_a_0010"], plan=PLAN, catalog=CATALOG) == []


def test_a_plan_without_splits_is_all_training():
    [leak] = index.leaks(["Category-1_a_0001"], plan=PLAN.drop(columns="split"))
    assert leak.other == "Category-1_a_0000_Category-1_a_0001"


@pytest.mark.parametrize("known", [{}, {"plan": PLAN}])
def test_a_synthetic_id_cannot_be_held_out_even_if_only_its_name_tells(known):
    [leak] = index.leaks(["Category-1_a_0000_Category-1_a_0001"], **known)
    assert leak.reason == leakage.IS_SYNTHETIC and leak.pair == ("Category-1_a_0000", "Category-1_a_0001")


@pytest.mark.parametrize(
    ("column", "reason"),
    [("cube_hash", leakage.SAME_CUBE), ("input_hash", leakage.SAME_INPUT), ("group", leakage.SAME_GROUP)],
)
def test_what_stands_on_both_sides_is_found(column, reason):
    catalog = catalog_of(
        {"train": numbered(1, 3), "test-public": numbered(1, 2, 10)},
        **{column: {"Category-1_a_0001": "same", "Category-1_a_0011": "same"}},
    )
    [leak] = index.leaks(["Category-1_a_0010", "Category-1_a_0011"], catalog=catalog)
    assert (leak.id, leak.reason, leak.other) == ("Category-1_a_0011", reason, "Category-1_a_0001")
    assert index.leaks(["Category-1_a_0011"], catalog=catalog, training=["Category-1_a_0000"]) == []


def test_what_both_are_held_out_is_no_leak():
    catalog = catalog_of({"train": numbered(1, 3)}, group=dict.fromkeys(numbered(1, 2), "cup"))
    assert index.leaks(numbered(1, 2), catalog=catalog) == []


def test_a_mixture_of_a_sibling_of_a_held_out_sample_leaks():
    catalog = catalog_of(
        {"train": numbered(1, 4), "test-public": numbered(1, 1, 10)},
        group={"Category-1_a_0002": "cup", "Category-1_a_0010": "cup"},
    )
    [leak] = index.leaks(["Category-1_a_0010"], plan=PLAN, catalog=catalog, training=numbered(1, 2))
    assert (leak.reason, leak.other) == (leakage.RELATED_SOURCE, "Category-1_a_0002_Category-1_a_0003")


def with_synthetic():
    made = catalog_of({"train": ["Category-1_a_0000_Category-1_a_0001"]})
    made = made.assign(synthetic=True, id1="Category-1_a_0000", id2="Category-1_a_0001")
    return catalogs.concatenated([CATALOG, made])


@pytest.mark.parametrize("training", [None, numbered(1, 4, 1)])
def test_synthetic_samples_of_the_catalog_are_checked_without_a_plan(training):
    [leak] = index.leaks(["Category-1_a_0000"], catalog=with_synthetic(), training=training)
    assert leak.other == "Category-1_a_0000_Category-1_a_0001"


def test_a_catalog_file_does_as_well(tmp_path):
    catalogs.save(with_synthetic(), tmp_path / "catalog.csv")
    assert len(index.leaks(["Category-1_a_0000"], catalog=tmp_path / "catalog.csv")) == 1


@pytest.fixture
def files(tmp_path):
    pairs.write(PLAN, tmp_path / "plan.csv")
    (tmp_path / "held.txt").write_bytes(b"Category-1_a_0001\r\n\r\nCategory-1_a_0010\r\n")
    return tmp_path


def test_dropping_synthetic_samples_writes_a_clean_plan(files):
    found = index.check(files / "held.txt", plan=files / "plan.csv", fix="drop-synthetic")
    assert found.clean and found.written == files / "plan-clean.csv"
    assert list(pairs.read(found.written)["id1"]) == ["Category-1_a_0002"]
    assert len(pairs.read(files / "plan.csv")) == 2
    assert index.leaks(found.held_out, plan=found.written) == []
    assert "1 leak, 2 held out" in str(found)


def test_dropping_held_out_samples_writes_a_clean_index(files):
    out = files / "new" / "index.txt"
    found = index.check(files / "held.txt", plan=files / "plan.csv", fix="drop-held-out", out=out)
    assert found.clean
    assert out.read_bytes() == b"Category-1_a_0010\n"


def test_what_dropping_synthetic_samples_cannot_mend_is_said(files):
    catalog = catalog_of(
        {"train": numbered(1, 4), "test-public": numbered(1, 1, 10)},
        group={"Category-1_a_0003": "cup", "Category-1_a_0010": "cup"},
    )
    found = index.check(files / "held.txt", plan=files / "plan.csv", catalog=catalog, fix="drop-synthetic")
    assert not found.clean
    assert [leak.reason for leak in found.remaining] == [leakage.SAME_GROUP]
    assert "still there" in str(found)


def test_a_check_without_a_fix_writes_nothing(files):
    found = index.check(files / "held.txt", plan=files / "plan.csv")
    assert not found.clean and found.written is None
    assert sorted(path.name for path in files.iterdir()) == ["held.txt", "plan.csv"]
    assert "--fix drop-synthetic" in str(found)


def test_unknown_ids_are_noted(files):
    found = index.check(files / "held.txt", catalog=catalog_of({"train": numbered(1, 1, 1)}))
    assert found.clean and "Category-1_a_0010" in found.notes[0]


def test_a_fix_that_would_leave_nothing_is_refused(files):
    (files / "held.txt").write_text("Category-1_a_0001\n")
    with pytest.raises(UserError, match="none would be left"):
        index.check(files / "held.txt", plan=files / "plan.csv", fix="drop-held-out")


def test_dropping_synthetic_samples_needs_a_plan(files):
    (files / "held.txt").write_text("Category-1_a_0000\nCategory-1_a_0010\n")
    with pytest.raises(UserError, match="--plan"):
        index.check(files / "held.txt", catalog=with_synthetic(), fix="drop-synthetic")
