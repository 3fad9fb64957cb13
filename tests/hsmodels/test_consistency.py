import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hsmodels
from hsdata import catalog as catalogs
from hsdata import paths
from hsdata.camera import camera as cameras
from hsdata.cube import BAND_GRID, Cube
from hsengine.base.errors import UserError
from hsmodels import score, testing, train
from hsmodels.heldout import division
from hsmodels.inference import reconstruct
from hsmodels.inference.consistency import HALF_STEP, consistent, rendered
from hsmodels.params import Params, Predict
from hsmodels.reconstruction import Reconstruction
from hsmodels.score.measure import colour_matrix

TO_RGB = colour_matrix(61, BAND_GRID).float()


def cubes(seed, size=8, low=0.05, high=0.9):
    """A true cube of smooth spectra, and a prediction of it that is off by as much as a bad model's."""
    generator = torch.Generator().manual_seed(seed)
    coarse = low + (high - low) * torch.rand(2, 8, size, size, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse.movedim(1, -1).flatten(1, 2), size=61, mode="linear")
    return smooth.reshape(2, size, size, 61).movedim(-1, 1).split(1)


def taken(cube, track):
    """The input of 8 bits that the data's own camera makes of a cube."""
    made = Cube(cube[0].numpy(), BAND_GRID, source="made up")
    view = cameras.rgb_2(made) if track == 2 else cameras.mosaic(made)
    return torch.from_numpy(np.rint(view * 255.0).astype(np.float32) / 255.0)[None]


@pytest.mark.parametrize("track", [1, 2])
@given(seed=st.integers(0, 2**31))
@settings(max_examples=25)
def test_the_camera_makes_the_input_of_the_prediction_again(track, seed):
    truth, prediction = cubes(seed)
    input = taken(truth, track)
    made = consistent(prediction, input, BAND_GRID, floor=0.001)
    assert float((rendered(made, TO_RGB, track == 1) - input).abs().max()) <= HALF_STEP
    cube = Cube(made[0].numpy(), BAND_GRID, source="made up")
    seen = cameras.rgb_2(cube) if track == 2 else cameras.mosaic(cube)
    np.testing.assert_allclose(seen, input[0].numpy(), atol=HALF_STEP)
    assert float(made.min()) >= 0.001 and float(made.max()) <= 1.0


@pytest.mark.parametrize("track", [1, 2])
def test_what_is_consistent_stays_as_it_is(track):
    truth, prediction = cubes(0)
    assert torch.equal(consistent(truth, taken(truth, track), BAND_GRID, floor=0.001), truth)
    input = taken(truth, track)
    once = consistent(prediction, input, BAND_GRID, floor=0.001)
    assert torch.equal(consistent(once, input, BAND_GRID, floor=0.001), once)


def test_bands_that_the_camera_does_not_see_are_left_alone():
    truth, prediction = cubes(1)
    made = consistent(prediction, taken(truth, 2), BAND_GRID)
    unseen = torch.from_numpy(np.asarray(BAND_GRID) > 700)
    assert torch.equal(made[:, unseen], prediction[:, unseen])
    assert not torch.equal(made[:, ~unseen], prediction[:, ~unseen])


def test_the_corrected_cube_is_nearer_to_the_truth_in_colour_and_in_the_visible_bands():
    truth, prediction = cubes(2)
    made = consistent(prediction, taken(truth, 1), BAND_GRID)
    visible = torch.from_numpy(np.asarray(BAND_GRID) <= 700)
    before, after = ((cube - truth)[:, visible].abs().mean() for cube in (prediction, made))
    assert float(after) < float(before)


def test_an_input_of_another_size_is_refused():
    truth, _ = cubes(0)
    with pytest.raises(UserError, match=r"predict\.consistent"):
        consistent(truth, torch.rand(1, 3, 8, 8), BAND_GRID)


def test_black_stays_at_the_floor_and_white_at_one():
    made = consistent(torch.full((1, 61, 4, 4), 0.3), torch.zeros(1, 3, 2, 2), BAND_GRID, floor=0.001)
    assert float(made.min()) >= 0.001 and torch.isfinite(made).all()
    white = consistent(torch.full((1, 61, 4, 4), 0.3), torch.ones(1, 3, 2, 2), BAND_GRID)
    assert float((rendered(white, TO_RGB, False) - 1.0).abs().max()) <= HALF_STEP


def test_validation_and_prediction_correct_alike(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    testing.project(2)
    raw = {"model": "ridge", "models": {"ridge": {}}, "predict": {"consistent": True}}
    measured = train.run(Params.model_validate(raw)).config["checkpoints"]["best"]["measures"]["val/SSC"]
    model, _ = hsmodels.load()
    task = Reconstruction(Params.model_validate(raw), *division(catalogs.load(paths.CATALOG)))
    settings = Predict(consistent=True)
    values = []
    for index in range(3):
        item = task.held_out()[0, index, 0]
        made = reconstruct(model, item["input"], settings)
        assert float((rendered(made[None], TO_RGB, False) - item["input"]).abs().max()) < 2 * HALF_STEP
        values.append(score.ssc(item["target"], made)["SSC"])
    assert measured == pytest.approx(np.mean(values), abs=1e-6)
