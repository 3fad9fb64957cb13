"""The verb `predict`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hsdata import open_cube
from hsdata.camera import camera
from hsdata.cube import BAND_GRID
from hsdata.formats import image, mosaic
from hsdata.testing import smooth_cube
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsmodels import predict
from hsmodels.inference import reconstruct
from hsmodels.inference import weights as ensemble
from hsmodels.params import Predict
from hsmodels.testing import model_folder

MODEL = Path("model")
INPUTS = Path("inputs")
CUBES = Path("cubes")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    INPUTS.mkdir()


def rgb(name: str = "a", size: int = 16) -> torch.Tensor:
    image.write(INPUTS / f"{name}.png", camera.rgb_2(smooth_cube(len(name), size, size)))
    return torch.from_numpy(image.read(INPUTS / f"{name}.png"))


def plane(name: str = "a", size: int = 16) -> torch.Tensor:
    mosaic.write(INPUTS / f"{name}.npy", camera.mosaic(smooth_cube(len(name), size, size)))
    return torch.from_numpy(mosaic.read(INPUTS / f"{name}.npy"))


def provenance() -> dict:
    return json.loads((CUBES / "provenance.json").read_text())


@pytest.mark.parametrize("format", ["h5", "zarr", "npy", "npz"])
def test_every_input_gets_a_cube_with_wavelengths(format: str) -> None:
    model = model_folder(MODEL, track=2)
    inputs = {name: rgb(name, 8 + 8 * len(name)) for name in ("a", "bb")}
    summary = predict.run(INPUTS, CUBES, MODEL, format=format)
    assert summary.files == [f"a.{format}", f"bb.{format}"]
    assert sorted(path.name for path in CUBES.iterdir()) == [*summary.files, "provenance.json"]
    for name, given in inputs.items():
        expected = reconstruct(model, given, Predict()).numpy()
        path = CUBES / f"{name}.{format}"
        if format in ("h5", "zarr"):
            cube = open_cube(path)
            assert np.array_equal(cube.values, expected) and np.array_equal(cube.wavelengths, BAND_GRID)
        else:
            loaded = np.load(path)
            pixels = loaded if format == "npy" else loaded["cube"]
            assert np.array_equal(pixels, np.moveaxis(expected, 0, 2)) and pixels.dtype == np.float32
    assert provenance()["wavelengths_nm"] == BAND_GRID.tolist()


def test_mosaics_are_taken_by_a_model_of_track_1() -> None:
    model, given = model_folder(MODEL, track=1), plane()
    predict.run(INPUTS, CUBES, MODEL)
    assert np.array_equal(open_cube(CUBES / "a.h5").values, reconstruct(model, given, Predict()).numpy())


def test_one_file_is_enough() -> None:
    model_folder(MODEL, track=2)
    rgb("a")
    rgb("bb")
    assert predict.run(INPUTS / "bb.png", CUBES, MODEL).files == ["bb.h5"]


def test_the_record_says_what_the_cubes_were_made_of() -> None:
    model_folder(MODEL, track=2, predict={"floor": 0.01, "tta": True, "weights": "mean", "models": ["elsewhere"]})
    rgb()
    summary = predict.run(INPUTS, CUBES, MODEL, checkpoint="last")
    record = provenance()
    assert record["floor"] == 0.01 and "8 flips" in record["test_time_augmentation"]
    assert record["ensemble"] is False and record["members"] == 1
    assert record["models"][0]["checkpoint"] == {"which": "last", "epoch": 5}
    assert record["models"][0]["weights_file"] == "last.safetensors"
    assert record["samples"][0]["input"] == "a.png" and record["samples"][0]["output"] == "a.h5"
    assert "1 cubes in cubes" in str(summary) and "GB" in str(summary)


def test_options_replace_what_the_model_was_trained_with() -> None:
    model = model_folder(MODEL, track=2, predict={"floor": 0.01, "tta": True, "tile": 16})
    given = rgb(size=48)
    predict.run(INPUTS, CUBES, MODEL, tta=False, floor=0.6, tile=0)
    expected = reconstruct(model, given, Predict(floor=0.6))
    assert np.array_equal(open_cube(CUBES / "a.h5").values, expected.numpy())
    assert provenance()["tile"] is None


def test_tiles_state_the_seam_they_leave() -> None:
    model, given = model_folder(MODEL, track=2), rgb(size=96)
    summary = predict.run(INPUTS, CUBES, MODEL, tile=32, overlap=16)
    assert summary.seam is not None and summary.seam < 1e-6
    assert provenance()["seam_error"] == summary.seam and "neighbouring tiles differ" in str(summary)
    whole = reconstruct(model, given, Predict()).numpy()
    assert np.abs(open_cube(CUBES / "a.h5").values - whole).max() < 1e-6


def test_a_seam_above_the_bound_is_warned_of() -> None:
    summary = predict.Summary(CUBES, ["a.h5"], ["notes.txt"], [1.0], [10**9], "cpu", 0.02)
    assert "more than 0.001" in str(summary) and "notes.txt" in str(summary)


def test_several_models_make_an_ensemble_and_the_record_says_so() -> None:
    models = [model_folder(MODEL, track=2), model_folder(Path("other"), track=2, seed=3)]
    given = rgb()
    predict.run(INPUTS, CUBES, [MODEL, Path("other")])
    mean = torch.stack([reconstruct(model, given, Predict()) for model in models]).mean(dim=0)
    assert open_cube(CUBES / "a.h5").values == pytest.approx(mean.numpy(), abs=1e-3)
    assert provenance()["ensemble"] is True and provenance()["weights"] == "mean"
    weights = np.stack([np.linspace(0, 1, 61), np.linspace(1, 0, 61)])
    ensemble.write_weights("weights.csv", weights, BAND_GRID)
    predict.run(INPUTS, CUBES, [MODEL, Path("other")], weights=Path("weights.csv"))
    assert open_cube(CUBES / "a.h5").values[60] == pytest.approx(
        reconstruct(models[0], given, Predict()).numpy()[60], abs=1e-6
    )
    assert provenance()["weights"].startswith("fitted")
    with pytest.raises(UserError, match="weights are for 2 models of 61 bands, but here are 1"):
        predict.run(INPUTS, CUBES, MODEL, weights=Path("weights.csv"))


@pytest.mark.parametrize(("track", "wrong"), [(1, "photo.png"), (2, "photo.npy")])
def test_inputs_of_the_other_track_are_refused_by_name(track: int, wrong: str) -> None:
    model_folder(MODEL, track=track)
    (plane if track == 1 else rgb)("a")
    (rgb if track == 1 else plane)("photo")
    with pytest.raises(UserError, match=rf"of track {track}.*\n.*{wrong}\n.*track {3 - track}"):
        predict.run(INPUTS, CUBES, MODEL)
    assert not CUBES.exists()


def test_every_unsound_input_is_named_before_anything_is_predicted() -> None:
    model_folder(MODEL, track=2)
    rgb("good")
    (INPUTS / "cut.png").write_bytes((INPUTS / "good.png").read_bytes()[:200])
    Image.new("L", (8, 8)).save(INPUTS / "grey.png")
    with pytest.raises(UserError, match=r"2 of 3 inputs(.|\n)*cut\.png(.|\n)*grey\.png"):
        predict.run(INPUTS, CUBES, MODEL)
    assert not CUBES.exists()


@pytest.mark.parametrize("shape", [(8, 8, 3), (7, 8)])
def test_arrays_that_are_no_mosaic_are_named(shape: tuple[int, ...]) -> None:
    model_folder(MODEL, track=1)
    np.save(INPUTS / "odd.npy", np.zeros(shape, dtype=np.float32))
    with pytest.raises(UserError, match=r"odd\.npy"):
        predict.run(INPUTS, CUBES, MODEL)


def test_an_empty_or_missing_folder_is_named_with_a_hint() -> None:
    model_folder(MODEL, track=2)
    with pytest.raises(UserError, match=r"no input in inputs.*\.png"):
        predict.run(INPUTS, CUBES, MODEL)
    (INPUTS / "rgb_2").mkdir()
    with pytest.raises(UserError, match="did you mean inputs/rgb_2"):
        predict.run(INPUTS, CUBES, MODEL)
    with pytest.raises(UserError, match="no input at nowhere"):
        predict.run(Path("nowhere"), CUBES, MODEL)


def test_two_inputs_of_one_name_are_refused() -> None:
    model_folder(MODEL, track=2)
    rgb("a")
    Image.new("RGB", (8, 8)).save(INPUTS / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg and a\.png"):
        predict.run(INPUTS, CUBES, MODEL)


def test_other_files_are_left_alone_and_mentioned() -> None:
    model_folder(MODEL, track=2)
    rgb()
    (INPUTS / "notes.txt").write_text("taken on Tuesday")
    assert predict.run(INPUTS, CUBES, MODEL).ignored == ["notes.txt"]


def test_inputs_are_never_written_over() -> None:
    model_folder(MODEL, track=1)
    before = plane()
    with pytest.raises(UserError, match="holds the inputs"):
        predict.run(INPUTS, INPUTS, MODEL, format="npy")
    assert torch.equal(torch.from_numpy(mosaic.read(INPUTS / "a.npy")), before)


def test_a_run_that_fails_leaves_whole_cubes_and_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    model_folder(MODEL, track=2)
    rgb("a")
    rgb("bb")
    predict.run(INPUTS, CUBES, MODEL)
    write = predict._write

    def full(path: Path, cube: object, format: str) -> None:
        if path.stem == "bb":
            raise UserError("No space left")
        write(path, cube, format)

    monkeypatch.setattr(predict, "_write", full)
    with pytest.raises(UserError, match="No space"):
        predict.run(INPUTS, CUBES, MODEL)
    assert sorted(path.name for path in CUBES.iterdir()) == ["a.h5", "bb.h5"]
    assert open_cube(CUBES / "bb.h5").bands == 61


def test_wrong_options_and_models_are_named() -> None:
    rgb()
    with pytest.raises(UserError, match="no trained model in model"):
        predict.run(INPUTS, CUBES, MODEL)
    model_folder(MODEL, track=2)
    with pytest.raises(UserError, match="tile"):
        predict.run(INPUTS, CUBES, MODEL, tile=20)
    with pytest.raises(UserError, match="floor"):
        predict.run(INPUTS, CUBES, MODEL, floor=2.0)
    with pytest.raises(UserError, match="device"):
        predict.run(INPUTS, CUBES, MODEL, device="abacus")
    shutil.copy(MODEL / "config.json", CUBES.parent / "weights.csv")
    with pytest.raises(UserError, match=r"weights\.csv"):
        predict.run(INPUTS, CUBES, MODEL, weights=Path("weights.csv"))
    CUBES.write_text("a file")
    with pytest.raises(UserError, match="is a file"):
        predict.run(INPUTS, CUBES, MODEL)


def test_a_model_is_taken_from_an_address_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_folder(MODEL, track=2)
    rgb()
    predict.run(INPUTS, CUBES, MODEL, format="npy")
    expected = np.load(CUBES / "a.npy")
    monkeypatch.setenv("HYPEROBJECT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("hsengine.sources._download", lambda address, to: shutil.copy(MODEL / Path(address).name, to))
    address, hash_ = Path("https://host/model.safetensors"), file_hash(MODEL / "model.safetensors", "sha256")
    predict.run(INPUTS, CUBES, address, sha256=hash_, format="npy")
    assert np.array_equal(np.load(CUBES / "a.npy"), expected)
    assert provenance()["models"][0]["folder"] == "https://host/model.safetensors"
    with pytest.raises(UserError, match="was not taken"):
        predict.run(INPUTS, CUBES, address, sha256="0" * 64)
