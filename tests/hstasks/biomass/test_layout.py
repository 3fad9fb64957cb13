import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hstasks.biomass import layout


@given(st.lists(st.lists(st.floats(0, 500), min_size=5, max_size=5), min_size=1, max_size=4))
def test_a_long_table_gives_back_the_wide_one(grams: list[list[float]]) -> None:
    ids = [f"ID{place}" for place in range(len(grams))]
    names, table = layout.wide(layout.long(ids, grams))
    assert names == ids
    np.testing.assert_array_equal(table, np.array(grams))


def test_a_missing_target_of_a_long_table_is_named() -> None:
    with pytest.raises(UserError, match="ID1__GDM_g"):
        layout.wide([row for row in layout.long(["ID1"], [[1, 2, 3, 4, 6]]) if "GDM" not in row[0]])


def test_the_real_table_has_one_label_that_breaks_an_identity(shared: Path) -> None:
    entries = layout.train_entries(shared / "data/biomass-mini/full/train.csv", Path("data"))
    assert len(entries) == 357
    assert not [entry.problems for entry in entries if entry.problems]
    notes = layout.identity_notes(entries, 0.01)
    assert len(notes) == 1
    assert "ID2014192906" in notes[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",0.6", ",nan", "Pre_GSHH_NDVI"),
        ("Dry_Total_g,", "Dry_Sum_g,", "Dry_Sum_g"),
        (",2015/", ",1.5.", "Sampling_Date"),
        ("train/ID", "../ID", "image_path"),
    ],
)
def test_a_faulty_cell_is_named(pastures: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    lines = (pastures / "train.csv").read_text().splitlines()
    place = next(place for place, line in enumerate(lines[1:], 1) if old in line)
    lines[place] = lines[place].replace(old, new, 1)
    (tmp_path / "train.csv").write_text("\n".join(lines))
    problems = [
        problem for entry in layout.train_entries(tmp_path / "train.csv", tmp_path) for problem in entry.problems
    ]
    assert any(re.search(re.escape(said), problem) for problem in problems)


def test_a_table_of_metadata_needs_no_target_and_may_have_holes(tmp_path: Path) -> None:
    file = tmp_path / "known.csv"
    file.write_text("image_path,State,Height_Ave_cm\ntest/ID1.jpg,Tas,\ntest/ID2.jpg,,4.5\n")
    found = layout.metadata_entries(file)
    assert found["ID1"].state == "Tas"
    assert np.isnan([found["ID1"].height, found["ID1"].ndvi]).all()
    assert found["ID1"].date is None
    assert found["ID2"].height == 4.5


@pytest.mark.parametrize(("row", "said"), [("high", "ID1: Height_Ave_cm is 'high'"), ("3\nt/ID1.jpg,4", "rows differ")])
def test_metadata_that_cannot_be_understood_are_named(tmp_path: Path, row: str, said: str) -> None:
    file = tmp_path / "known.csv"
    file.write_text(f"image_path,Height_Ave_cm\nt/ID1.jpg,{row}\n")
    with pytest.raises(UserError, match=said):
        layout.metadata_entries(file)
