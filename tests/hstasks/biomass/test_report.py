import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import fits, number

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import write_json
from hstasks.biomass import evaluate, report, train
from hstasks.biomass.layout import TARGETS
from hstasks.biomass.params import Params
from hstasks.biomass.report import losses


@pytest.fixture
def made(project: Params) -> Params:
    """A project that is trained and evaluated; five free outputs, so that repair changes something."""
    params = project.model_copy(update={"model": project.model.model_copy(update={"components": "five"})})
    train.run(params)
    evaluate.run(params)
    Path("params.yaml").write_text("challenge: biomass\n")
    return params


def test_what_the_images_cost_adds_up_and_the_worst_costs_most() -> None:
    rows = pd.DataFrame({f"{name}{kind}": [1.0, 2.0, 3.0] for name in TARGETS for kind in ("_truth", "_raw", "")})
    assert losses(rows).tolist() == [0.0, 0.0, 0.0]
    rows.loc[1, "Dry_Total_g"] = 4.0
    rows.loc[2, "Dry_Dead_g"] = 5.0
    assert losses(rows) == pytest.approx([0.0, 0.5 / 0.6, 0.1 / 0.6])


def test_the_numbers_of_the_page_are_the_scorers_raw_and_repaired(made: Params, opened) -> None:
    done = report.run(made)
    metrics = json.loads(paths.METRICS.read_text())
    assert done.pictures == metrics["images"]
    page = opened(paths.REPORT)
    page.wait_for_selector("#values-page[data-ready]")
    page.wait_for_selector("#scatter .main-svg")
    for kind in ("raw", "repaired"):
        page.locator(f"input[value={kind}]").check()
        assert number(page, "pooled") == pytest.approx(metrics["repair"][kind]["R2"], abs=6e-5)
        for place, name in enumerate(TARGETS):
            page.locator("#target").select_option(str(place))
            errors = metrics["repair"][kind]["targets"][name]
            assert number(page, "rmse") == pytest.approx(errors["RMSE"], abs=6e-5)
            assert number(page, "mae") == pytest.approx(errors["MAE"], abs=6e-5)
    rows = pd.read_csv(paths.EVALUATION / evaluate.OUT_OF_FOLD, dtype={"id": "str"})
    page.wait_for_selector("#scatter[data-heard]")

    # Pointing at an image's dot shows it, and what was said of it.
    row = 2
    page.evaluate(
        "(row) => document.getElementById('scatter').emit('plotly_click', { points: [{ customdata: row }] })", row
    )
    assert page.locator("#values-title").text_content().startswith(rows["id"][row])
    cells = page.locator("#of-image tbody tr").nth(4).locator("td").all_text_contents()
    assert [float(cell) for cell in cells[1:4]] == pytest.approx(
        [rows[f"Dry_Total_g{kind}"][row] for kind in ("_truth", "_raw", "")], abs=6e-3
    )
    pressed = page.locator(".thumbs button[aria-pressed=true]").text_content()
    assert pressed.startswith(rows["id"][row])


def test_folds_that_were_pooled_stand_beside_this_one(made: Params, opened) -> None:
    write_json(Path("outputs/folds/metrics.json"), {"R2": 0.4321, "images": 36, "strategy": "state"})
    report.run(made)
    page = opened(paths.REPORT, width=360, color_scheme="dark")
    page.wait_for_selector("#values-page[data-ready]")
    assert fits(page, 360)
    said = page.locator("#by-kind-of-folds").inner_text()
    assert "0.4321" in said
    assert "colour_ridge" in said
    order = page.locator(".thumbs button").all_text_contents()
    table = pd.read_csv(paths.EVALUATION / evaluate.OUT_OF_FOLD, dtype={"id": "str"})
    assert order[0].startswith(table["id"][int(np.argmax(losses(table)))])


def test_a_picture_that_is_gone_is_named(made: Params) -> None:
    rows = pd.read_csv("derived/catalog.csv", dtype=str)
    rows[rows["split"] != "train"].to_csv("derived/catalog.csv", index=False)
    with pytest.raises(UserError, match="catalog has no image"):
        report.run(made)
    assert not paths.REPORT.exists()
