import json

import numpy as np
import pytest

from hsengine.base.errors import UserError
from hstasks.landcover import measures, seam_errors
from hstasks.metrics import confusion


@pytest.fixture
def cases(shared):
    folder = shared / "reference" / "landcover"
    arrays = np.load(folder / "metrics_cases.npz")
    expected = json.loads((folder / "expected.json").read_text())["metrics"]
    return {name: (arrays[f"{name}_truth"], arrays[f"{name}_pred"], case) for name, case in expected.items()}


def close(value):
    return None if value is None else pytest.approx(value, abs=1e-12)


def test_measures_are_those_of_the_reference(cases):
    names = {
        "mean_iou": "mIoU_excluding_bg",
        "mean_f1": "mF1_excluding_bg",
        "mean_iou_present": "mIoU_present",
        "overall_accuracy": "OA",
        "kappa": "kappa",
        "frequency_weighted_iou": "frequency_weighted_iou",
        "pixels": "pixels",
    }
    for case, (truth, prediction, expected) in cases.items():
        matrix = confusion(truth, prediction, expected["classes"], ignore=0)
        np.testing.assert_array_equal(matrix, expected["confusion"])
        values = measures(matrix)
        for theirs, ours in names.items():
            assert values[ours] == close(expected[theirs]), (case, ours)
        for number, row in expected["per_class"].items():
            for name in ("iou", "f1", "precision", "recall"):
                assert values[f"per_class_{name}"][int(number)] == close(row[name]), (case, number, name)
            assert values["support"][int(number)] == row["support"]
            assert values["predicted"][int(number)] == row["predicted"]
        assert values["per_class_iou"][0] is None
        json.dumps(values, allow_nan=False)


def test_background_of_the_truth_is_dropped_wherever_the_matrix_comes_from(cases):
    truth, prediction, expected = cases["background_predicted_on_land"]
    whole = measures(confusion(truth, prediction, 6))
    assert whole == measures(confusion(truth, prediction, 6, ignore=0))
    assert whole["OA"] == close(expected["overall_accuracy"])


def test_errors_near_seams_are_those_of_the_reference(cases):
    for name, (truth, prediction, expected) in cases.items():
        for distance, wanted in expected["boundary"].items():
            tiles = [seam_errors(t, p, float(distance)) for t, p in zip(truth, prediction, strict=True)]
            total = {key: sum(tile[key] for tile in tiles) for key in tiles[0]}
            assert total["near_pixels"] == wanted["near_pixels"], (name, distance)
            assert total["far_pixels"] == wanted["far_pixels"]
            for side in ("near", "far"):
                count = total[f"{side}_pixels"]
                share = total[f"{side}_wrong"] / count if count else None
                assert share == close(wanted[f"{side}_error"])


def test_a_matrix_that_is_not_square_is_refused():
    with pytest.raises(UserError, match="square"):
        measures([[1, 2, 3], [4, 5, 6]])
