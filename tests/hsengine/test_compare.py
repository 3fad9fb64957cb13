"""Results beside each other: paired differences, their intervals, and the samples that decide."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hsengine.compare import Result, differences, of_table


def results(*columns):
    return [Result(f"model {k}", dict(zip("abcdefgh", column, strict=False))) for k, column in enumerate(columns)]


def test_every_result_is_compared_with_those_before_it():
    found = differences(results([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.0, 0.1, 0.2]), {})
    assert [(one.first, one.second) for one in found] == [
        ("model 0", "model 1"),
        ("model 0", "model 2"),
        ("model 1", "model 2"),
    ]
    assert [one.mean for one in found] == pytest.approx([0.1, -0.1, -0.2])
    assert all(one.is_sure and one.deciding == [] for one in found)
    assert "no sample speaks against it" in str(found[0])


def test_few_samples_may_decide():
    (one,) = differences(results([0.0] * 5, [-0.1, -0.1, 0.9, -0.1, -0.1]), {})
    assert one.deciding == ["c"] and not one.is_sure
    assert list(one.each) == ["c", "a", "b", "d", "e"]
    assert "decided by 1 of 5 samples: c" in str(one)


def test_equal_results_are_decided_by_none():
    (one,) = differences(results([0.5, 0.6], [0.5, 0.6]), {})
    assert one.mean == 0.0 and one.deciding == [] and not one.is_sure


def test_samples_of_one_group_are_drawn_together():
    first, second = [0.0] * 8, [1.0] * 4 + [-0.9] * 4
    (one,) = differences(results(first, second), {name: "xy"[k // 4] for k, name in enumerate("abcdefgh")})
    assert one.groups == 2 and one.by_samples[1] < 1.0
    assert one.by_groups == pytest.approx((-0.9, 1.0))
    (alone,) = differences(results(first, second), dict.fromkeys("abcdefgh", "x"))
    assert alone.groups == 1 and alone.by_groups is None
    assert differences(results(first, second), {})[0].groups == 8


def test_other_samples_are_refused_by_name():
    ours, theirs = Result("ours", {"a": 1.0, "b": 1.0}), Result("theirs", {"b": 1.0, "c": 1.0})
    with pytest.raises(UserError, match="ours and theirs differ: only ours has a; only theirs has c"):
        differences([ours, theirs], {})
    with pytest.raises(UserError, match="two models or more"):
        differences([ours], {})
    with pytest.raises(UserError, match="ours is named twice"):
        differences([ours, ours], {})


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=8))
def test_the_sign_turns_without_the_samples_that_decide(pairs):
    first, second = zip(*pairs, strict=True)
    (one,) = differences(results(first, second), {})
    assert one.mean == pytest.approx(np.mean(np.subtract(second, first)))
    rest = [value for name, value in one.each.items() if name not in one.deciding]
    assert len(one.deciding) < len(one.each)
    if one.deciding:
        assert np.sign(one.mean) * sum(rest) <= 1e-12
    elif one.mean:
        assert min(np.sign(one.mean) * value for value in one.each.values()) >= -1e-12


def table(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_tables_of_evaluations_are_read(tmp_path):
    file = table(tmp_path / "evaluation" / "tiles.csv", "id,coverage,metric\na,1,0.5\nb,2,0.25\n")
    table(tmp_path / "evaluation" / "rules.csv", "rules,metric\nx,1\n")
    for source in (file, file.parent):
        found, groups = of_table(source, "metric", "coverage")
        assert found.values == {"a": 0.5, "b": 0.25} and groups == {"a": "1", "b": "2"}
        assert found.name == source.as_posix()
    assert of_table(file, "metric", direction="min")[0].values == {"a": -0.5, "b": -0.25}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,metric\na,x\n", "metric of a is 'x', which is no number"),
        ("id,metric\na,nan\n", "no finite metric"),
        ("id,metric\n", "no finite metric"),
        ("id,metric\na,1\na,2\n", "names samples twice"),
        ("id,other\na,1\n", "metric is needed"),
    ],
)
def test_tables_without_a_number_for_each_sample_are_refused(text, told, tmp_path):
    with pytest.raises(UserError, match=told):
        of_table(table(tmp_path / "tiles.csv", text), "metric")


def test_a_folder_without_the_measure_names_those_that_there_are(tmp_path):
    table(tmp_path / "tiles.csv", "id,metric\na,1\n")
    with pytest.raises(UserError, match=r"no table with the columns id and metrics \(close: metric\).*\(metric\)"):
        of_table(Path(tmp_path), "metrics")
