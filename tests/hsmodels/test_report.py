"""The stage `report`, and the score pixel by pixel that it shows."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hsdata import paths
from hsdata.cube import BAND_GRID
from hsdata.formats import hdf5
from hsdata.region import regions
from hsdata.testing import smooth_cube
from hsengine.base.errors import UserError
from hsengine.base.files import write_json, write_text
from hsmodels import evaluate, report, score, scoring
from hsmodels.params import Evaluate, Params
from hsmodels.testing import HELD_OUT, model_folder, project

SIZE = 16


def pair(seed: int = 1, bias: float = 0.02) -> tuple[torch.Tensor, torch.Tensor]:
    truth = smooth_cube(seed, SIZE, SIZE).values
    noise = np.random.default_rng(seed).normal(bias, 0.01, truth.shape).astype(np.float32)
    return torch.from_numpy(truth), torch.from_numpy(np.clip(truth + noise, 0.001, 1.0))


def test_what_the_pixels_cost_adds_up_to_the_score() -> None:
    truth, prediction = pair()
    found = scoring.shares(truth, prediction, BAND_GRID)
    expected = score.ssc(truth, prediction)
    assert found.values == pytest.approx(expected, rel=1e-12)
    total = sum(float(costs.sum()) for costs in found.costs.values())
    assert total == pytest.approx(-math.log(expected["SSC"]), rel=1e-9)
    assert all((costs >= 0).all() for costs in found.costs.values())
    for name in ("SAM_deg", "SID", "SSIM", "DeltaE00"):
        assert found.measures[name].mean() == pytest.approx(expected[name], rel=1e-6)


def test_a_pixel_that_alone_is_wrong_costs_all() -> None:
    truth, _ = pair()
    prediction = truth.clone()
    prediction[:, 3, 4] *= torch.linspace(0.5, 0.8, 61)
    found = scoring.shares(truth, prediction, BAND_GRID)
    for name in ("SID", "ERGAS", "PSNR_dB", "DeltaE00"):
        assert found.costs[name][3, 4] == pytest.approx(found.costs[name].sum(), rel=1e-5)


def test_a_perfect_prediction_costs_nothing_but_what_the_range_of_psnr_leaves() -> None:
    truth, _ = pair()
    found = scoring.shares(truth, truth, BAND_GRID)
    assert sum(float(costs.sum()) for costs in found.costs.values()) == pytest.approx(0.0, abs=1e-3)
    black = scoring.shares(torch.zeros_like(truth), torch.zeros_like(truth), BAND_GRID)
    assert all(np.isfinite(costs).all() for costs in black.costs.values())


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A project that is trained and evaluated."""
    monkeypatch.chdir(tmp_path)
    project(2)
    model_folder(track=2)
    params = Params(track=2, evaluate=Evaluate(pictures=0, baselines=False))
    evaluate.run(params)
    write_json(paths.THROUGHPUT, {"samples_per_second": 12.5, "device": "cpu"})
    write_text(Path("params.yaml"), "track: 2\nseed: 7\n")
    return params


def test_a_result_that_is_not_there_is_named(made: Params) -> None:
    paths.METRICS.unlink()
    with pytest.raises(UserError, match="dvc repro evaluate"):
        report.run(made)
    assert not paths.REPORT.exists()


def test_a_damaged_table_of_samples_is_named(made: Params) -> None:
    (paths.EVALUATION / evaluate.IMAGES).write_text("id\nx\n")
    with pytest.raises(UserError, match=r"images\.csv"):
        report.run(made)


def test_the_page_shows_what_the_scorer_and_the_arrays_say(made: Params, opened) -> None:
    done = report.run(made)
    assert sorted(done.shown) == sorted(HELD_OUT)
    page = opened(paths.REPORT)
    page.wait_for_selector("#cubes[data-ready]")
    page.wait_for_selector("#spectra .main-svg")
    metrics = json.loads(paths.METRICS.read_text())
    assert f"SSC {metrics['SSC']:.4f}" in page.title()
    assert "12.5" in page.locator("#cost").inner_text()

    # The worst sample comes first, the pixel in its middle is selected.
    cube = hdf5.read(f"data/track2/test-public/hsi_61/{done.shown[0]}.h5").values
    middle = cube.shape[1] // 2
    truth = page.evaluate("Array.from(document.getElementById('spectra').data[0].y)")
    assert np.allclose(truth, cube[:, middle, middle], atol=2e-5)
    prediction = page.evaluate("Array.from(document.getElementById('spectra').data[1].y)")
    both = [torch.tensor(values).reshape(-1, 1, 1) for values in (truth, prediction)]
    angle = float(score.ssc(*both)["SAM_deg"])
    cell = page.locator("#values tbody tr", has_text="SAM").first.locator("td").nth(1).text_content()
    assert float(cell.split()[0]) == pytest.approx(angle, rel=0.01)

    # What each region costs adds up, and their pixels are the rule's.
    rows = page.locator(".known:not([hidden]) figure:nth-child(2) tbody tr").all_inner_texts()
    shares = {row.split("\t")[0]: [float(cell.strip(" %")) for cell in row.split("\t")[1:3]] for row in rows}
    masks = regions(cube, BAND_GRID)
    for name, (pixels, _) in shares.items():
        assert pixels == pytest.approx(100 * masks[name].mean(), abs=0.06)
    assert sum(loss for _, loss in shares.values()) == pytest.approx(100.0, abs=0.2)
