import json

import numpy as np
import pytest
import torch

from hsdata.layout import CUBES, RGB_FULL
from hsengine.base.errors import UserError
from hsmodels import zoo
from hsmodels.zoo import precision

SMALL = {"n_feat": 4, "stage": 1, "n_blocks": 1, "base_ch": 4, "width": 4, "frozen": False}
REFERENCES = ("mst_plus_plus_up", "raw2hsi", "revsci_rgb")
KEYED = (*REFERENCES, "revsci2_rgb", "revsci_rgb_up", "revsci_mstpp", "revsci_mstpp_up")


def small(name, track, **more):
    """The parameters of SMALL that a model takes."""
    from hsmodels.zoo.registry import entry

    known = entry(name).schema.model_fields
    return {key: value for key, value in SMALL.items() if key in known} | more


@pytest.mark.parametrize("name", REFERENCES)
def test_a_published_instance_is_reproduced(shared, name):
    stored = np.load(shared / "reference" / "models" / f"{name}.npz")
    config = json.loads(str(stored["config"]))
    model = zoo.build(config["model_name"], **config).eval()
    state = {key.removeprefix("state/"): torch.from_numpy(stored[key]) for key in stored if key.startswith("state/")}
    model.load_state_dict(state)
    with torch.no_grad():
        found = model(torch.from_numpy(stored["input"]))
    torch.testing.assert_close(found, torch.from_numpy(stored["output"]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", KEYED)
def test_keys_shapes_and_counts_are_those_of_published_checkpoints(shared, name):
    published = json.loads((shared / "reference" / "models" / "checkpoint_keys.json").read_text())[name]
    with torch.device("meta"):
        model = zoo.build(name, **published["config"])
    found = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert list(found.items()) == list(published["state"].items())
    assert sum(parameter.numel() for parameter in model.parameters()) == published["parameters"]


def test_every_name_is_there():
    assert set(zoo.names()) >= {*KEYED, "mst_plus_plus", "revsci_mstpp_no_pretrain", "ridge", "mean_spectrum", "mstpp"}


@pytest.mark.parametrize(("name", "track"), [(name, track) for track in (1, 2) for name in zoo.names(track)])
def test_every_model_takes_the_input_of_its_tracks_and_is_differentiable(name, track):
    torch.manual_seed(0)
    model = zoo.for_track(name, track, small(name, track), bands=5)
    batch = torch.rand(2, 1, 12, 20) if track == 1 else torch.rand(2, 3, 6, 10)
    out = model(batch)
    bands = 3 if zoo.target_of(name) == RGB_FULL else 5
    assert out.shape == (2, bands, 12, 20)
    if zoo.is_closed_form(model):
        return
    out.square().mean().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert trained
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained)


@pytest.mark.parametrize(
    ("name", "track"),
    [("mstpp", 1), ("mstpp", 2), ("revsci_rgb", 1), ("raw2hsi", 1), ("revsci_mstpp_no_pretrain", 1)],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("native", [True, False])
def test_half_precision_stays_finite(name, track, dtype, native, monkeypatch):
    monkeypatch.setitem(precision._NATIVE, dtype, native)
    torch.manual_seed(0)
    model = zoo.for_track(name, track, small(name, track), bands=5)
    batch = torch.rand(1, 1, 16, 16) if track == 1 else torch.rand(1, 3, 8, 8)
    with torch.autocast("cpu", dtype=dtype):
        loss = model(batch).float().square().mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_an_unknown_model_is_refused_with_the_nearest_name_and_all_names():
    with pytest.raises(UserError, match=r"did you mean 'mstpp'\?.*example.*raw2hsi"):
        zoo.build("mstp")


def test_unknown_and_ill_typed_parameters_are_refused_by_name():
    with pytest.raises(UserError, match="n_block: unknown key; did you mean 'n_blocks'"):
        zoo.build("raw2hsi", n_block=2)
    with pytest.raises(UserError, match="quux: unknown key; allowed here: base_ch, clamp, n_blocks, out_bands"):
        zoo.build("raw2hsi", quux=2)
    with pytest.raises(UserError, match="n_blocks: '2' is not allowed"):
        zoo.build("raw2hsi", n_blocks="2")
    with pytest.raises(UserError, match="n_feat: 0 is not allowed"):
        zoo.build("mst_plus_plus", n_feat=0)


def test_a_configuration_of_another_model_is_refused():
    with pytest.raises(UserError, match="of model 'raw2hsi', not of 'mstpp'"):
        zoo.build("mstpp", model_name="raw2hsi")


def test_a_model_that_cannot_take_a_track_says_which_can():
    with pytest.raises(UserError, match=r"'raw2hsi' cannot take the input of track 2.*mstpp"):
        zoo.for_track("raw2hsi", 2, {})


def test_a_parameter_that_the_track_decides_cannot_be_set_otherwise():
    with pytest.raises(UserError, match="'in_channels' of model 'mst_plus_plus' is 4 on track 1, not 3"):
        zoo.for_track("mst_plus_plus", 1, {"in_channels": 3})


def test_the_target_of_a_first_stage_is_rgb():
    assert zoo.target_of("revsci_rgb") == zoo.target_of("revsci_rgb_up") == RGB_FULL
    assert zoo.target_of("mstpp") == CUBES


def test_the_inner_network_has_published_keys():
    model = zoo.for_track("mstpp", 1, {"n_feat": 4, "stage": 1}, bands=4)
    assert zoo.inner(model).state_dict().keys() == zoo.build("mst_plus_plus", n_feat=4, stage=1).state_dict().keys()


def test_raw2hsi_is_clamped_as_published_but_not_in_training():
    assert zoo.build("raw2hsi", base_ch=4).clamp
    assert not zoo.for_track("raw2hsi", 1, {"base_ch": 4}).clamp
    assert zoo.for_track("raw2hsi", 1, {"base_ch": 4, "clamp": True}).clamp


@pytest.mark.parametrize("name", ["raw2hsi", "revsci_rgb", "mstpp"])
def test_a_mosaic_of_odd_size_is_refused(name):
    with pytest.raises(UserError, match="whole 2 × 2 RGGB cells"):
        zoo.for_track(name, 1, small(name, 1))(torch.rand(1, 1, 5, 6))
