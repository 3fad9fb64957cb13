"""Models that are given full-size RGB instead of their track's input."""

from pathlib import Path

import numpy as np
import pytest
import torch

import hsmodels
from hsdata import layout, paths, render
from hsdata.formats import image
from hsdata.params import DataParams
from hsengine.base.errors import UserError
from hsmodels import compare, evaluate, predict, submit, testing, train, zoo
from hsmodels.inference import predictor as predictors
from hsmodels.params import Params
from hsmodels.project import PROJECT

FULL = {"track": 2, "input": "rgb_full"}


def params(**changes):
    return Params.model_validate(
        FULL
        | {
            "model": "example",
            "models": {"example": {"width": 4}},
            "stripes": False,
            "loss": {"ssc": 0.0},
            "train": {"epochs": 1, "batch_size": 2, "warmup_epochs": 0},
            "machine": {"trackers": []},
            "evaluate": {"pictures": 0},
        }
        | changes
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project of track 2, its cubes rendered."""
    monkeypatch.chdir(tmp_path)
    testing.project(2)
    render.run(DataParams.model_validate({"track": 2}), workers=1)


@pytest.mark.parametrize("track", [1, 2])
@pytest.mark.parametrize("name", zoo.names(2, "rgb_full"))
def test_models_that_take_it_give_cubes_of_its_size(name, track):
    given = {"n_feat": 4, "stage": 1} if name.startswith("mst") else {}
    model = zoo.for_track(name, track, given, input="rgb_full", bands=5).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 16, 24)).shape == (1, 5, 16, 24)


def test_what_cannot_take_it_says_which_can():
    assert set(zoo.names(1, "rgb_full")) == {
        "example",
        "kernel_ridge",
        "kernel_sum",
        "mean_spectrum",
        "mst_plus_plus",
        "mstpp",
        "ridge",
    }
    with pytest.raises(UserError, match=r"'raw2hsi' cannot take the input rgb_full.*one of example, kernel_ridge"):
        PROJECT.check(params(model="raw2hsi", models={"raw2hsi": {}}))
    with pytest.raises(UserError, match="'upscale_factor' of model 'ridge' is 1 for the input rgb_full, not 2"):
        zoo.for_track("ridge", 2, {"upscale_factor": 2}, input="rgb_full")


def test_a_model_is_trained_scored_and_applied_on_pictures_of_full_size(here):
    train.run(params(residual="ridge"))
    _, config = hsmodels.load()
    assert config["input"] == "rgb_full"
    card = (paths.MODEL / "README.md").read_text()
    assert "an sRGB picture" in card and "of the same height and width" in card and "- rgb_full" in card
    done = evaluate.run(params())
    assert set(done.metrics["baseline"]) == {"kernel_ridge", "kernel_sum", "ridge", "mean_spectrum"}
    held_out = testing.HELD_OUT[0]
    folder = Path("pictures")
    folder.mkdir()
    picture = paths.RENDERED / "test-public" / f"{held_out}.png"
    (folder / picture.name).write_bytes(picture.read_bytes())
    predict.run(folder, Path("made"), paths.MODEL, format="npy")
    cube = predictors.load([paths.MODEL])(torch.from_numpy(image.read(picture))).numpy()
    assert np.array_equal(np.moveaxis(np.load(f"made/{held_out}.npy"), 2, 0), cube)
    assert cube.shape == (61, 16, 16)
    # Beside a model of the track's own input, on the same samples.
    testing.model_folder(Path("own"), track=2)
    assert len(compare.run(params(), [paths.MODEL, Path("own")]).found[0].each) == len(testing.HELD_OUT)


def test_there_is_nothing_to_submit(here):
    testing.model_folder(track=2, input="rgb_full")
    done = submit.run(params())
    assert "takes rgb_full, which test-private has not" in str(done)


def test_models_of_another_input_are_not_taken_for_it(here):
    testing.model_folder(track=2)
    with pytest.raises(UserError, match="takes the input 'track', but params"):
        evaluate.run(params())
    testing.model_folder(Path("full"), track=2, input="rgb_full")
    with pytest.raises(UserError, match="not of the same input"):
        predictors.load([paths.MODEL, Path("full")])


def test_pictures_that_were_not_rendered_are_named_with_what_makes_them(here):
    (paths.RENDERED / "test-public" / f"{testing.HELD_OUT[1]}.png").unlink()
    with pytest.raises(UserError, match=rf"{testing.HELD_OUT[1]} has no input rgb_full .*hsdata render"):
        train.prepare(params())
    assert set(layout.MODALITIES) == {"mosaic", "rgb_2", "rgb_full"}
