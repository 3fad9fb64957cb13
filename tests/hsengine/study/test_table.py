import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hsengine.base.params import validated
from hsengine.study import experiments, table
from hsengine.study.experiments import Status
from hsengine.study.file import Study
from hsengine.study.plan import Plan
from hsmodels.project import PROJECT

FILE = "outputs/metrics.json"


def _study(labels=("plain", "fast"), kind="variants", repeats=2, **given):
    whole = {"name": "trial", kind: dict.fromkeys(labels), "seeds": repeats, **given}
    found = Plan(validated(Study, whole, "study.yaml"), PROJECT, {"models": {"mstpp": {}}, "model": "mstpp"})
    return found, found.experiments()


def _record(name, value, state="done", baseline="b" * 40, **further):
    metrics = {FILE: {"SSC": value, **further}} if state == "done" else {}
    return Status(name, state, "a" * 40 if state == "done" else "", baseline, {}, metrics)


def _records(values, planned):
    return {one.name: _record(one.name, value) for one, value in zip(planned, values, strict=True) if value is not None}


_VALUES = st.floats(-1e6, 1e6)


@given(st.lists(st.one_of(st.none(), _VALUES), min_size=12, max_size=12), st.booleans())
def test_rows_are_sorted_means_with_spread_and_count(values, less):
    study, planned = _study(("a", "b", "c"), repeats=4, measure="SSC", direction="min" if less else "max")
    found = table.rows(study, planned, _records(values, planned))
    given = {label: [v for v in values[4 * i : 4 * i + 4] if v is not None] for i, label in enumerate("abc")}
    assert {row.label for row in found} == set("abc")
    means = [row.value.mean for row in found if row.value]
    assert means == sorted(means, reverse=not less)
    assert [row.value is None for row in found] == sorted(row.value is None for row in found)
    for row in found:
        assert row.expected == 4
        assert (row.value.n if row.value else 0) == len(given[row.label])
        if row.value:
            assert row.value.mean == pytest.approx(np.mean(given[row.label]), abs=1e-6)
        if row.value and row.value.n > 1:
            assert row.value.spread == pytest.approx(np.std(given[row.label], ddof=1), abs=1e-6)


@given(st.lists(_VALUES, min_size=6, max_size=6))
def test_a_difference_is_taken_seed_by_seed(values):
    study, planned = _study(repeats=3)
    row = next(row for row in table.rows(study, planned, _records(values, planned)) if row.label == "fast")
    expected = np.subtract(values[3:], values[:3])
    assert row.reference == "plain"
    assert row.difference.mean == pytest.approx(expected.mean(), abs=1e-6)
    assert row.difference.spread == pytest.approx(expected.std(ddof=1), abs=1e-6)


def test_seeds_that_the_baseline_lacks_are_left_out_of_the_difference():
    study, planned = _study()
    row = table.rows(study, planned, _records([0.5, None, 0.6, 0.9], planned))[0]
    assert (row.label, row.value.n, row.difference.n) == ("fast", 2, 1)
    assert row.difference.mean == pytest.approx(0.1)


def test_stages_stay_in_order_and_are_compared_with_the_one_before():
    study, planned = _study(("one", "two", "three"), "stages", repeats=1)
    found = table.rows(study, planned, _records([0.5, 0.7, 0.6], planned))
    assert [(row.label, row.reference) for row in found] == [("one", None), ("two", "one"), ("three", "two")]
    assert found[2].difference.mean == pytest.approx(-0.1)
    assert table.header(study, found)[2] == "to the one before"


def test_stages_with_a_baseline_are_compared_with_it():
    study, planned = _study(("one", "two", "three"), "stages", repeats=1, baseline="one")
    found = table.rows(study, planned, _records([0.5, 0.7, 0.6], planned))
    assert [row.reference for row in found] == [None, "one", "one"]


def test_the_table_in_markdown():
    study, planned = _study(also=["SAM_deg"])
    records = _records([0.5, 0.7, None, 0.9], planned)
    found = table.rows(study, planned, records)
    text = table.markdown(table.header(study, found), table.cells(study, found))
    assert text.splitlines() == [
        "|  | SSC (more is better) | to plain | SAM_deg | n |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| fast | 0.9000 | +0.2000 | – | 1 of 2 |",
        "| plain | 0.6000 ± 0.1414 | – | – | 2 |",
    ]


def test_the_table_for_the_terminal_holds_the_same_cells():
    study, planned = _study()
    found = table.rows(study, planned, _records([0.1, 0.2, 0.3, 0.4], planned))
    lines = table.cells(study, found)
    console = Console(file=io.StringIO(), width=200)
    console.print(table.made(study.study.name, table.header(study, found), lines))
    for cell in (cell for line in lines for cell in line):
        assert cell in console.file.getvalue()


def test_a_study_of_one_label_has_no_column_of_differences():
    study, planned = _study(("only",))
    found = table.rows(study, planned, _records([0.1, 0.2], planned))
    assert table.header(study, found) == ["", "SSC (more is better)", "n"]
    assert table.cells(study, found) == [["only", "0.1500 ± 0.0707", "2"]]


def test_remarks_say_what_is_missing_and_mixed():
    study, planned = _study(("a", "b", "c"))
    records = {
        "trial-a-s0": _record("trial-a-s0", 0.5),
        "trial-a-s1": _record("trial-a-s1", 0.5, baseline="c" * 40),
        "trial-b-s0": _record("trial-b-s0", None, "failed"),
        "trial-b-s1": _record("trial-b-s1", None, "running"),
        "trial-c-s0": _record("trial-c-s0", float("nan")),
    }
    found = "\n".join(table.remarks(study, planned, records))
    assert "1 running: trial-b-s1" in found
    assert "1 failed: trial-b-s0" in found
    assert ".dvc/tmp/studies/NAME.log shows why" in found
    assert "1 not run yet: trial-c-s1" in found
    assert "1 without SSC in outputs/metrics.json: trial-c-s0" in found
    assert "different commits: 2 from bbbbbbb, 1 from ccccccc" in found


def test_a_measure_is_found_by_its_dotted_name_and_only_as_a_number():
    record = _record("x", 0.5, category={"books": {"SSC": 0.25}}, flag=True, word="a", each=[None, 0.5])
    assert record.measure(FILE, "category.books.SSC") == 0.25
    assert record.measure(FILE, "each.1") == 0.5
    assert [record.measure(FILE, name) for name in ("each.0", "each.2", "each.x", "each")] == [None] * 4
    assert [record.measure(FILE, name) for name in ("category", "flag", "word", "none.SSC")] == [None] * 4
    assert _record("x", None, "failed").measure("other.json", "SSC") is None


def test_the_picture_has_the_mean_course_of_each_label(tmp_path, monkeypatch):
    study, planned = _study()
    courses = iter([{0: 0.1, 1: 0.2}, {0: 0.3, 1: 0.4, 2: 0.9}, {}, {5: 1.0}])
    monkeypatch.setattr(experiments, "curve", lambda revision, name: next(courses))
    figure = table.picture(study, planned, _records([0.5, 0.6, 0.7, 0.8], planned))
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].get_lines()}
    assert lines == {
        "plain (best 0.3000)": [[0, pytest.approx(0.2)], [1, pytest.approx(0.3)]],
        "fast (best 1.0000)": [[5, 1.0]],
    }
    courses = iter([{0: 0.1, 1: 0.2}, {}, {}, {}])
    table.draw(study, planned, _records([0.5, 0.6, 0.7, 0.8], planned), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_a_picture_without_curves_says_so(monkeypatch):
    study, planned = _study()
    figure = table.picture(study, planned, {})
    assert [text.get_text() for text in figure.axes[0].texts] == ["no curve 'val/SSC' yet"]


def test_a_growing_curve_is_read_without_its_unfinished_line(tmp_path):
    file = tmp_path / "plots" / "metrics" / "val" / "SSC.tsv"
    assert experiments.growing_curve(tmp_path, "val/SSC") == {}
    file.parent.mkdir(parents=True)
    file.write_text("step\tSSC\n0\t0.25\n1\t\n2\t0.5\n3\t0.7")
    assert experiments.growing_curve(tmp_path, "val/SSC") == {0: 0.25, 2: 0.5}


@given(st.lists(st.integers(-100, 100), min_size=3, max_size=8, unique=True))
def test_differences_are_told_from_zero_as_by_students_test(values):
    from scipy.stats import ttest_1samp

    assert table.Value.of(values).is_told_from_zero == (ttest_1samp(values, 0.0).pvalue < 0.05)


def test_a_difference_that_may_be_chance_is_marked():
    study, planned = _study(("plain", "same", "better"), repeats=3)
    records = _records([0.5, 0.6, 0.7, 0.52, 0.57, 0.72, 0.61, 0.7, 0.82], planned)
    cells = {line[0]: line[2] for line in table.cells(study, table.rows(study, planned, records))}
    assert cells["same"].endswith("n.s.")
    assert cells["better"] == "+0.1100 ± 0.0100"
    assert "Student's t test" in table.remarks(study, planned, records)[0]
    assert table.Value.of([0.5]).is_told_from_zero is False
