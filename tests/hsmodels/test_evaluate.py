"""The stage `evaluate`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hsdata import catalog, paths, render
from hsdata.cube import BAND_GRID
from hsdata.formats import hdf5, image
from hsdata.region import NAMES, regions
from hsengine import folder
from hsengine.base.errors import UserError
from hsmodels import evaluate, heldout, score, zoo
from hsmodels.inference import predictor, reconstruct
from hsmodels.inference import weights as ensemble
from hsmodels.params import Evaluate, Params, Predict
from hsmodels.testing import HELD_OUT, model_folder, project


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def params(track: int = 2, pictures: int = 0, baselines: bool = False, **predict: object) -> Params:
    return Params(track=track, evaluate=Evaluate(pictures=pictures, baselines=baselines), predict=Predict(**predict))


def metrics() -> dict:
    return json.loads(paths.METRICS.read_text(), parse_constant=pytest.fail)


def pair(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    cube = hdf5.read(f"data/track2/test-public/hsi_61/{name}.h5")
    return torch.from_numpy(image.read(f"data/track2/test-public/rgb_2/{name}.png")), torch.from_numpy(cube.values)


def test_scores_are_those_of_the_finished_predictions_and_their_means() -> None:
    project(2)
    model = model_folder(track=2)
    summary = evaluate.run(params())
    table = pd.read_csv("outputs/evaluation/images.csv")
    assert list(table["id"]) == list(HELD_OUT) and list(table["category"]) == [1, 2, 2]
    for name, row in zip(HELD_OUT, table.to_dict("records"), strict=True):
        given, truth = pair(name)
        expected = score.ssc(truth, reconstruct(model, given, Predict()))
        assert {key: row[key] for key in expected} == expected
    found = metrics()
    for key in score.NAMES:
        assert found[key] == pytest.approx(table[key].mean(), rel=1e-12)
    assert found["category"]["2"] == {"SSC": pytest.approx(table["SSC"][1:].mean()), "images": 2}
    assert found["images"] == 3 and found["run"]["model"] == "example" and found["run"]["members"] == 1
    assert f"SSC {found['SSC']:.4f} of example, the best checkpoint," in str(summary)


def test_regions_are_scored_by_themselves_over_the_images_that_have_them() -> None:
    project(2)
    model = model_folder(track=2)
    evaluate.run(params())
    table = pd.read_csv("outputs/evaluation/images.csv")
    given, truth = pair(HELD_OUT[1])
    cube = reconstruct(model, given, Predict())
    for name, mask in regions(truth.numpy(), BAND_GRID).items():
        if mask.any():
            expected = score.ssc(truth, cube, mask=mask)["SSC"]
            assert table.loc[1, f"SSC_{name}"] == pytest.approx(expected, abs=1e-12)
    found = metrics()["region"]
    assert found and set(found) <= set(NAMES)
    for name, part in found.items():
        assert part["SSC"] == pytest.approx(table[f"SSC_{name}"].mean())


def test_errors_of_bands_are_over_all_pixels() -> None:
    project(2)
    model = model_folder(track=2)
    evaluate.run(params())
    table = pd.read_csv("outputs/evaluation/bands.csv")
    errors = []
    for name in HELD_OUT:
        given, truth = pair(name)
        errors.append((reconstruct(model, given, Predict()) - truth).double().flatten(1))
    error = torch.cat(errors, dim=1)
    assert table["wavelength"].to_numpy() == pytest.approx(BAND_GRID)
    assert table["bias"].to_numpy() == pytest.approx(error.mean(dim=1).numpy(), abs=1e-9)
    assert table["MAE"].to_numpy() == pytest.approx(error.abs().mean(dim=1).numpy(), abs=1e-9)
    assert table["RMSE"].to_numpy() == pytest.approx(error.square().mean(dim=1).sqrt().numpy(), abs=1e-9)


def test_pictures_show_the_categories_in_turn() -> None:
    project(2)
    model_folder(track=2)
    evaluate.run(params(pictures=2))
    names = sorted(path.name for path in Path("outputs/evaluation/pictures").iterdir())
    assert names == ["Category-1_a_0010.png", "Category-2_a_0010.png"]


@pytest.mark.parametrize("track", [1, 2])
def test_baselines_are_scored_on_the_same_samples(track: int) -> None:
    project(track)
    model_folder(track=track)
    evaluate.run(params(track, baselines=True))
    found = metrics()["baseline"]
    if not found:
        pytest.skip("the zoo has no closed-form model")
    assert set(found) == {"kernel_ridge", "kernel_sum", "ridge", "mean_spectrum"}
    assert all(0 <= part["SSC"] <= 1 for part in found.values())


def test_baselines_see_training_samples_only(monkeypatch: pytest.MonkeyPatch) -> None:
    project(2)
    model_folder(track=2)
    seen = []

    class Watched(heldout.Frames):
        def __init__(self, rows: pd.DataFrame, *given: Any, **named: Any) -> None:
            seen.append(set(rows["id"]))
            super().__init__(rows, *given, **named)

    monkeypatch.setattr(evaluate, "Frames", Watched)
    evaluate.run(params(baselines=True))
    assert seen[0] == set(HELD_OUT)
    assert seen[1:] == [{"Category-1_a_0000", "Category-1_a_0001", "Category-2_a_0000"}] * len(evaluate.BASELINES)


def test_another_checkpoint_floor_or_averaging_gives_other_numbers_and_says_so() -> None:
    project(2)
    model_folder(track=2)
    found = {}
    for name, chosen in {
        "plain": {},
        "last": {"checkpoint": "last"},
        "floor": {"floor": 0.6},
        "tta": {"tta": True},
    }.items():
        evaluate.run(params(**chosen))
        found[name] = metrics()
    assert len({part["SSC"] for part in found.values()}) == 4
    assert found["last"]["run"]["checkpoint"] == "last" and found["floor"]["run"]["floor"] == 0.6
    assert [part["run"]["tta"] for part in found.values()] == [False, False, False, True]


def test_an_ensembles_fitted_weights_are_scored_on_samples_they_were_not_fitted_on() -> None:
    project(2)
    models = [model_folder(track=2), model_folder(Path("other"), track=2, seed=5)]
    summary = evaluate.run(params(models=["other"], weights="fitted"))
    found = metrics()
    assert found["run"]["members"] == 2 and "other held-out images" in found["run"]["weights"]
    assert "an ensemble of 2" in str(summary)
    loaded = predictor.load([paths.MODEL, "other"], Predict())
    parts = [loaded.moments(*pair(name)) for name in HELD_OUT]
    given, truth = pair(HELD_OUT[0])
    weights = (parts[1] + parts[2]).weights()
    expected = score.ssc(truth, reconstruct(loaded.weighted(weights), given, Predict()))["SSC"]
    table = pd.read_csv("outputs/evaluation/images.csv")
    assert table["SSC"][0] == pytest.approx(expected, abs=1e-6)
    saved = ensemble.read_weights("outputs/evaluation/weights.csv")
    assert np.allclose(saved, (parts[0] + parts[1] + parts[2]).weights(), atol=1e-6)
    assert len(models) == len(saved)


def test_weights_cannot_be_fitted_on_a_single_sample() -> None:
    project(2, held_out=HELD_OUT[:1])
    model_folder(track=2)
    model_folder(Path("other"), track=2, seed=5)
    with pytest.raises(UserError, match="a single sample is held out"):
        evaluate.run(params(models=["other"], weights="fitted"))
    assert not paths.METRICS.exists() and not paths.EVALUATION.exists()


def test_an_id_without_a_cube_is_named() -> None:
    project(2, held_out=[*HELD_OUT, "Category-9_a_0001"])
    model_folder(track=2)
    with pytest.raises(UserError, match="Category-9_a_0001"):
        evaluate.run(params())


def test_a_model_trained_on_what_is_held_out_now_is_warned_of() -> None:
    project(2)
    model_folder(track=2)
    assert "WARNING" not in str(evaluate.run(params()))
    assert metrics()["run"]["same_division"] is None
    frame = catalog.load(paths.CATALOG)
    current = heldout.data_hash(*heldout.division(frame))
    for given, expected in ((current, True), ("another", False)):
        record = folder.record(paths.MODEL)
        (paths.MODEL / "config.json").write_text(json.dumps(record | {"data": {"hash": given}}))
        assert ("WARNING" in str(evaluate.run(params()))) is not expected
        assert metrics()["run"]["same_division"] is expected


def test_a_failure_leaves_the_last_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    project(2)
    model_folder(track=2)
    evaluate.run(params())
    before = {path: path.read_bytes() for path in paths.OUTPUTS.rglob("*") if path.is_file()}

    def broken(*_: object, **__: object) -> None:
        raise UserError("no more")

    monkeypatch.setattr(score, "ssc_regions", broken)
    with pytest.raises(UserError):
        evaluate.run(params())
    assert {path: path.read_bytes() for path in paths.OUTPUTS.rglob("*") if path.is_file()} == before


def test_a_first_stage_is_scored_by_psnr_of_its_rgb(monkeypatch: pytest.MonkeyPatch) -> None:
    project(2)
    render.update(catalog.load(paths.CATALOG), paths.RENDERED, workers=1)
    model = model_folder(track=2, params={"out_channels": 3})
    monkeypatch.setattr(zoo, "target_of", lambda name: "rgb_full")
    summary = evaluate.run(params(pictures=2, baselines=True))
    found = metrics()
    given, _ = pair(HELD_OUT[0])
    truth = image.read(paths.RENDERED / "test-public" / f"{HELD_OUT[0]}.png")
    error = (reconstruct(model, given, Predict()).numpy() - truth).astype(np.float64)
    assert found["category"]["1"]["PSNR_dB"] == pytest.approx(-10 * np.log10((error**2).mean()), rel=1e-6)
    assert "SSC" not in found and str(summary).startswith("PSNR_dB")
