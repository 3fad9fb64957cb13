import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pages import fits, number, slide

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hstasks.images.samples import Picture
from hstasks.landcover import evaluate, report, split
from hstasks.landcover.classes import CLASSES
from hstasks.landcover.report import STEPS, Tally, add, compared
from hstasks.landcover.seams import seam_errors
from hstasks.prediction import Prediction

from .conftest import parameters

LABELS = arrays.arrays(np.uint8, (9, 12), elements=st.integers(0, CLASSES - 1))


def predicted(truth, said) -> Prediction:
    shares = (said == np.arange(CLASSES)[:, None, None]).astype(np.float32)
    return Prediction("t", Picture(np.zeros((3, *truth.shape), np.float32), truth, truth != 0), shares, 1.0)


@given(LABELS, LABELS, st.integers(0, STEPS - 1), st.integers(0, 12))
def test_errors_by_distance_are_those_of_the_scorer_at_every_distance(truth, said, step, edge):
    owned = np.ones(truth.shape, dtype=bool)
    owned[:, :edge] = False
    tally = Tally()
    add(tally, "t", "site", compared(predicted(truth, said), owned))
    expected = seam_errors(truth, said, (step + 1) / 2, scored=owned)
    near, far = tally.near[: step + 1].sum(axis=0), tally.near[step + 1 :].sum(axis=0)
    assert near.tolist() == [expected["near_pixels"], expected["near_wrong"]]
    assert far.tolist() == [expected["far_pixels"], expected["far_wrong"]]


@pytest.fixture
def made(project):
    params = parameters()
    write_text(project / "params.yaml", yaml.safe_dump(params.model_dump(mode="json")))
    evaluate.run(params)
    return params


def test_the_page_counts_what_the_scorer_counts(made, opened):
    done = report.run(made)
    metrics = json.loads(paths.METRICS.read_text())
    assert done.pictures == metrics["tiles"]
    page = opened(paths.REPORT)
    page.wait_for_selector("#maps[data-ready]")
    page.wait_for_selector("#seam-chart .main-svg")
    assert number(page, "seam-near") == pytest.approx(metrics["seam_error"], abs=6e-5)
    assert number(page, "seam-far") == pytest.approx(metrics["interior_error"], abs=6e-5)
    matrix = np.array(metrics["confusion_matrix"])
    rows = page.locator(".confusion tbody tr").all()
    for number_, row in enumerate(rows, start=1):
        cells = row.locator("td").all_text_contents()
        assert int(cells[-1]) == matrix[number_].sum()
        if matrix[number_].sum():
            shares = [float(cell) for cell in cells[:-1]]
            assert shares == pytest.approx(100 * matrix[number_] / matrix[number_].sum(), abs=0.06)
    slide(page, "seam", 3)
    assert page.locator("#seam-shown").text_content() == "2 pixels"


def test_a_cell_of_the_confusion_shows_its_pixels(made, opened):
    report.run(made)
    page = opened(paths.REPORT, width=360, color_scheme="dark")
    page.wait_for_selector("#maps[data-ready]")
    assert fits(page, 360)
    matrix = np.array(json.loads(paths.METRICS.read_text())["confusion_matrix"])
    matrix[0] = 0
    truth, said = np.unravel_index(int(matrix.argmax()), matrix.shape)
    cell = page.locator(f".confusion button[data-truth='{truth}'][data-said='{said}']")
    cell.press("Enter")
    assert cell.get_attribute("aria-pressed") == "true"
    page.wait_for_function("document.querySelector('.thumbs span').textContent.endsWith('pixels')")
    counts = [int(text.split()[-2]) for text in page.locator(".thumbs span").all_text_contents()]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == matrix[truth, said]


def test_metrics_of_another_training_are_refused(made):
    metrics = json.loads(paths.METRICS.read_text())
    metrics["run"]["training"] = "another"
    write_text(paths.METRICS, json.dumps(metrics))
    with pytest.raises(UserError, match="another training"):
        report.run(made)


def test_a_division_that_has_changed_since_is_refused(made):
    split.run(parameters(split={"fold": 1}))
    with pytest.raises(UserError):
        report.run(made)
