import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pages import fits, number, slide
from small_salt import small

from hsengine.base import paths
from hsengine.base.errors import UserError
from hstasks.salt import report
from hstasks.salt.division import divided
from hstasks.salt.postprocess import BARE, Rules, fitted_rules, mask_of
from hstasks.salt.prediction import masks, tiles
from hstasks.salt.report import STEPS, coded
from hstasks.salt.samples import measured, samples

SHARES = st.one_of(st.integers(0, STEPS).map(lambda step: step / STEPS), st.floats(0.0, 1.0))


@given(arrays.arrays(np.float32, 5, elements=SHARES.map(np.float32).map(float)), st.integers(0, STEPS - 1))
def test_a_code_lies_above_a_threshold_where_the_probability_does(probability, step):
    assert np.array_equal(coded(probability) > step, probability > step / STEPS)


@pytest.fixture
def params(trained):
    Path("params.yaml").write_text("challenge: salt\nseed: 3\n")
    return small()


def scored(rules: Rules, params) -> dict[str, float]:
    """What the scorer says of the held-out tiles by some rules."""
    _, held_out = divided(params)
    ensemble, _ = masks([paths.MODEL], params.predict)
    found = tiles(ensemble, samples(held_out, params.input), params.predict, "")
    rows = [measured(tile.truth, mask_of(tile, rules)) for tile in found]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def test_the_scores_of_the_page_are_the_scorers_at_every_setting(params, opened):
    done = report.run(params)
    assert done.pictures > 5
    page = opened(paths.REPORT)
    page.wait_for_selector("#masks[data-ready]")
    page.wait_for_selector("#masks-curve .main-svg")
    page.locator("#bare").click()
    metrics = json.loads(paths.METRICS.read_text())
    assert number(page, "masks-metric") == pytest.approx(metrics["plain_metric"], abs=6e-5)
    assert number(page, "masks-iou") == pytest.approx(metrics["plain_IoU"], abs=6e-5)
    final = fitted_rules(paths.EVALUATION, json.loads((paths.MODEL / "config.json").read_text())["training"])
    random = np.random.default_rng(5)
    for emptied in (False, True):
        rules = Rules(
            float(random.integers(STEPS)) / STEPS, float(random.integers(STEPS)) / STEPS, int(random.integers(300)),
            0, False, emptied, emptied, False,
        )  # fmt: skip
        for id, value in (
            ("threshold", round(rules.threshold * STEPS)),
            ("gate", round(rules.gate * STEPS)),
            ("least", rules.least),
        ):
            slide(page, id, value)
        page.locator("#full").set_checked(emptied)
        page.locator("#black").set_checked(emptied)
        expected = scored(rules, params)
        assert number(page, "masks-metric") == pytest.approx(expected["metric"], abs=6e-5)
        assert number(page, "masks-iou") == pytest.approx(expected["IoU"], abs=6e-5)
    page.locator("#fitted").click()
    assert number(page, "masks-metric") == pytest.approx(scored(final, params)["metric"], abs=6e-5)
    assert scored(BARE, params)["metric"] == pytest.approx(metrics["plain_metric"])


def test_a_tile_is_chosen_and_pointed_at_by_keyboard(params, opened):
    report.run(params)
    page = opened(paths.REPORT, width=360, color_scheme="dark")
    page.wait_for_selector("#masks[data-ready]")
    assert fits(page, 360)
    first, second = page.locator(".thumbs button").nth(0), page.locator(".thumbs button").nth(1)
    first.focus()
    first.press("ArrowRight")
    assert second.get_attribute("aria-pressed") == "true"
    page.locator(".panels canvas").nth(2).focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("document.querySelector('.said').textContent")
    said = page.locator(".said").text_content()
    name, row, column, low, high = re.match(
        r"(\w+), row (\d+), column (\d+): probability ([\d.]+) to ([\d.]+); truth", said
    ).groups()
    _, held_out = divided(params)
    ensemble, _ = masks([paths.MODEL], params.predict)
    kept = samples(held_out, params.input)
    tile = next(one for one in tiles(ensemble, kept, params.predict, "") if one.id == name)
    assert float(low) <= tile.probability[int(row), int(column)] <= float(high)
    assert page.locator(".panels canvas").nth(0).evaluate("(canvas) => canvas.width") >= 101


def test_without_an_evaluation_the_report_says_what_to_do(params):
    paths.METRICS.unlink()
    with pytest.raises(UserError, match="dvc repro evaluate"):
        report.run(params)
    assert not paths.REPORT.exists()
