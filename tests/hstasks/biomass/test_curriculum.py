import json
from pathlib import Path

import numpy as np

from hstasks.biomass import curriculum, pictures
from hstasks.biomass.params import Curriculum


def test_the_published_stages_hold_the_images_and_epochs_of_the_references(shared: Path) -> None:
    cases = json.loads((shared / "reference/biomass/training_cases.json").read_text())["curriculum"]
    complexity, total = np.array(cases["rows"]).T
    stages = Curriculum().stages
    case = next(case for case in cases["cases"] if case["stages"] == "seed default 5-5-5")
    assert curriculum.stage_epochs([5, 5, 5], case["total_epochs"]) == case["stage_epochs"]
    found = [curriculum.members(stage, complexity, total).tolist() for stage in stages]
    assert all(len(part) for part in found)


def test_box_counts_are_those_of_the_references(shared: Path) -> None:
    cases = json.loads((shared / "reference/biomass/training_cases.json").read_text())["box_counting"]["cases"]
    shapes = {
        "full square": np.ones((64, 64), bool),
        "row": np.zeros((64, 64), bool),
        "diagonal": np.eye(64, dtype=bool),
    }
    shapes["row"][0] = True
    for case in cases:
        if case["name"] in shapes:
            counts = {int(side): count for side, count in case["box_counts"].items()}
            assert pictures.box_counts(shapes[case["name"]], tuple(counts)) == counts


def test_a_burnt_in_date_is_painted_over() -> None:
    image = np.full((3, 20, 40), 0.3, dtype=np.float32)
    image[:, 15:17, 30:38] = np.array([0.95, 0.55, 0.10], dtype=np.float32)[:, None, None]
    assert pictures.date_mask(image).sum() == 16
    np.testing.assert_allclose(pictures.without_dates(image), 0.3, atol=1e-6)
