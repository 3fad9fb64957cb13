import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pages import fits, number, slide
from small_lenses import small

from hsengine.base import paths
from hsengine.base.errors import UserError
from hstasks.lenses import report
from hstasks.lenses.report import ALARMS, FOUND, MISSED, picked, stretched


@pytest.fixture
def rows(trained):
    Path("params.yaml").write_text("challenge: lenses\n")
    with Path("outputs/evaluation/objects.csv").open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["part"] == "test"]


def test_the_worst_of_both_classes_are_picked_first():
    made = [{"id": f"{label}{place}", "label": label, "prob": str(place / 30)} for label in "01" for place in range(30)]
    found = picked(made, 3)
    assert [row["id"] for row, kind in found if kind == MISSED] == ["10", "11", "12"]
    assert [row["id"] for row, kind in found if kind == ALARMS] == ["029", "028", "027"]
    assert [row["id"] for row, kind in found if kind == FOUND] == ["129"]
    assert len({row["id"] for row, _ in picked(made[:31], 12)}) == len(picked(made[:31], 12))


def test_a_band_without_values_or_spread_does_no_harm():
    flat = np.zeros((3, 4, 4), np.float32)
    flat[0] = np.nan
    assert np.isfinite(stretched(flat)).all()
    assert stretched(flat + np.float32(1e30)).max() <= 1.0


def test_the_rates_of_the_page_are_those_of_the_table_at_every_threshold(rows, opened):
    report.run(small())
    metrics = json.loads(paths.METRICS.read_text())
    page = opened(paths.REPORT)
    page.wait_for_selector("#objects[data-ready]")
    page.wait_for_selector("#roc .main-svg")
    assert number(page, "accuracy") == pytest.approx(metrics["accuracy"], abs=6e-5)
    label, prob = (np.array([float(row[name]) for row in rows]) for name in ("label", "prob"))
    domain = np.array([row["domain"] for row in rows])
    for threshold, name in ((0.471, None), (0.508, "hsc")):
        slide(page, "threshold", threshold)
        page.locator("#domain").select_option(label=name or "all")
        chosen = (domain == name) | (name is None)
        said = (prob >= threshold)[chosen]
        truth = label[chosen] == 1
        assert number(page, "tpr") == pytest.approx(said[truth].mean(), abs=6e-5)
        assert number(page, "fpr") == pytest.approx(said[~truth].mean(), abs=6e-5)
        assert number(page, "accuracy") == pytest.approx((said == truth).mean(), abs=6e-5)
    page.wait_for_function("document.getElementById('calibration').data?.[0].name === 'hsc'")
    x, y = page.evaluate("['x', 'y'].map((axis) => Array.from(document.getElementById('roc').data[0][axis]))")
    area = sum((x[k + 1] - x[k]) * (y[k + 1] + y[k]) / 2 for k in range(len(x) - 1))
    assert area == pytest.approx(metrics["auroc"])


def test_objects_are_shown_with_their_bands_on_a_phone_too(rows, opened):
    done = report.run(small())
    page = opened(paths.REPORT, width=360, color_scheme="dark")
    page.wait_for_selector("#objects[data-ready]")
    assert fits(page, 360)
    assert page.locator(".thumbs button").count() == done.pictures
    assert page.locator(".panels figure").count() == 6
    page.locator("#kind").select_option(MISSED)
    lenses = sorted((row for row in rows if row["label"] == "1"), key=lambda row: float(row["prob"]))
    page.wait_for_function(f"document.getElementById('object-facts').textContent.startsWith('{lenses[0]['id']}')")
    slide(page, "threshold", 0)
    assert "found" in page.locator("#object-facts").text_content()


def test_a_table_without_probabilities_is_named(rows):
    Path("outputs/evaluation/objects.csv").write_text("id,label\n")
    with pytest.raises(UserError, match=r"objects\.csv has no column 'domain'"):
        report.run(small())
