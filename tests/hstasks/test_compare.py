"""The verb `compare` on tables that `evaluate` wrote."""

import json
from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hstasks import compare


def evaluation(folder, values):
    Path(folder).mkdir()
    rows = "".join(f"{name},{name[0]},{value}\n" for name, value in values.items())
    Path(folder, "tiles.csv").write_text(f"id,coverage,metric\n{rows}")


@pytest.fixture
def two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluation("A", {"a1": 0.5, "a2": 0.5, "b1": 0.5})
    evaluation("B", {"b1": 0.4, "a1": 0.9, "a2": 0.6})


def test_tables_are_compared_by_sample_and_group(two):
    done = compare.run([Path("A"), Path("B/tiles.csv")], "metric", group="coverage")
    (one,) = done.found
    assert one.mean == pytest.approx(0.4 / 3) and one.groups == 2
    assert one.by_groups == pytest.approx((-0.1, 0.25))
    assert "over 2 groups; decided by 1 of 3 samples: a1" in str(done)
    assert json.loads(Path("outputs/comparison/comparison.json").read_text())["measure"] == "metric"
    assert "groups by coverage" in Path("outputs/comparison/comparison.html").read_text()
    assert compare.run([Path("A"), Path("B")], "metric", direction="min").found[0].mean == pytest.approx(-0.4 / 3)


def test_other_samples_are_refused_by_name(two):
    evaluation("C", {"a1": 0.5, "c1": 0.5})
    with pytest.raises(UserError, match=r"only A/tiles\.csv has a2, b1; only C has c1"):
        compare.run([Path("A/tiles.csv"), Path("C")], "metric")
    assert not Path("outputs").exists()
