import json
from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hsengine.report import content

RUN = {"leading": "auroc", "model": "net", "checkpoint": "best"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def scores(**metrics):
    return content.scores({"auroc": 0.75, "objects": 8, "run": RUN, **metrics}, "objects", "abc").blocks


def test_the_ends_of_an_interval_stand_beside_their_measure():
    table = scores(auroc_low=0.5, auroc_high=0.875, brier=0.25)[0]
    assert list(table.columns)[:3] == ["measure", "this run", "95 % interval"]
    assert [row[:3] for row in table.rows] == [["auroc", "0.7500", "0.5000 to 0.8750"], ["brier", "0.2500", ""]]
    assert "8 held-out samples" in table.source
    assert "weights abc" in table.source


def test_without_intervals_there_is_no_column_of_them():
    assert "95 % interval" not in scores(lens_low=0.1)[0].columns


def test_counts_are_whole_numbers_and_groups_show_what_they_count():
    first, *groups = scores(
        pixels=1000,
        domain={"10": {"auroc": 0.5, "objects": 3}, "9": {"auroc": None, "objects": 5}},
        targets={"green": {"auroc": 0.5, "RMSE": 2.0, "MAE": 1.0}},
    )
    assert [row[1] for row in first.rows] == ["0.7500", "1000"]
    assert [list(row) for row in groups[0].rows] == [["9", "–", "5"], ["10", "0.5000", "3"]]
    assert list(groups[1].columns) == ["targets", "auroc", "RMSE", "MAE"]


def test_a_group_of_which_much_is_known_is_shown_by_its_leading_measure():
    many = {f"m{number}": 0.1 for number in range(6)}
    assert list(scores(domain={"hsc": {"auroc": 0.5, **many, "objects": 3}})[1].columns) == [
        "domain",
        "auroc",
        "objects",
    ]


def test_a_table_that_lacks_a_column_is_named():
    Path("rows.csv").write_text("id,prob\na,0.5\n")
    assert content.read_table(Path("rows.csv"), ("id",)) == [{"id": "a", "prob": "0.5"}]
    with pytest.raises(UserError, match=r"rows\.csv has no column 'label'.*dvc repro evaluate"):
        content.read_table(Path("rows.csv"), ("id", "label"))
    with pytest.raises(UserError, match=r"absent\.csv"):
        content.read_table(Path("absent.csv"), ("id",))


def test_the_worst_and_the_best_are_tables_of_their_own():
    rows = [{"id": f"s{number:02}", "score": str(number / 50)} for number in range(25)]
    worst, best = content.ranked(rows, "made up").blocks
    assert [row[0] for row in worst.rows] == [f"s{number:02}" for number in range(10)]
    assert best.rows[0] == ["s24", "0.4800"]


def test_a_result_that_is_no_json_is_named():
    Path("metrics.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match="not what the stage evaluate writes"):
        content.read_json(Path("metrics.json"), "evaluate")
