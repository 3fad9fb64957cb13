"""From rows of measures to metrics, whatever is measured."""

from pathlib import Path

import pytest

from hsengine import evaluate
from hsengine.evaluate import Scored

SAMPLES = [
    Scored("a", {"iou": 0.5, "area": 3.0}, {"site": "north"}, {"class": {"water": 0.25}}),
    Scored("b", {"iou": 1.0, "area": None}, {"site": "south"}, {"class": {"water": 0.75, "salt": 1.0}}),
    Scored("c", {"iou": 0.0, "area": float("nan")}, {"site": "north"}, {}),
]


def test_means_are_over_the_samples_that_have_a_value():
    found = evaluate.metrics(SAMPLES, "iou", count="tiles")
    assert found == {
        "iou": 0.5,
        "area": 3.0,
        "tiles": 3,
        "site": {"north": {"iou": 0.25, "tiles": 2}, "south": {"iou": 1.0, "tiles": 1}},
        "class": {"salt": {"iou": 1.0}, "water": {"iou": 0.5}},
    }


def test_what_no_sample_has_is_null_and_shown_as_undefined():
    only = [Scored("c", {"iou": None}, {"site": "north"}, {})]
    found = evaluate.metrics(only, "iou")
    assert found["iou"] is None and found["site"]["north"]["iou"] is None
    run = {"leading": "iou", "model": "unet", "members": 1, "checkpoint": "best"}
    assert "iou undefined of unet, the best checkpoint" in str(
        evaluate.Summary(found | {"run": run}, Path("m"), Path("f"))
    )


def test_the_table_has_a_row_a_sample_and_a_column_a_part():
    rows = evaluate.table(SAMPLES, "iou")
    assert list(rows.columns) == ["id", "site", "iou", "area", "iou_water", "iou_salt"]
    assert rows["iou_salt"].isna().tolist() == [True, False, True]


@pytest.mark.parametrize(("hashes", "same"), [(["x", "x"], True), (["x", "y"], False), (["x", None], None)])
def test_a_model_of_another_division_is_known_by_its_record(hashes, same):
    assert evaluate.same_division(hashes, "x") is same
