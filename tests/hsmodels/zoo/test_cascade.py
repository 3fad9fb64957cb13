import pytest
import safetensors.torch
import torch

from hsengine.base.errors import UserError
from hsmodels import zoo

SIZES = {"n_blocks": 1, "n_feat": 4, "out_channels": 4, "stage": 1}


@pytest.fixture
def weights(tmp_path):
    state = zoo.build("revsci_rgb", n_blocks=1).state_dict()
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    return tmp_path, state


def test_the_first_network_is_frozen_unless_told_otherwise(weights):
    plane = torch.rand(1, 1, 8, 8)
    for frozen in (True, False):
        model = zoo.build("revsci_mstpp", frozen=frozen, pretrained=str(weights[0]), **SIZES)
        model(plane).sum().backward()
        assert all((parameter.grad is None) == frozen for parameter in model[0].parameters())
    joint = zoo.build("revsci_mstpp_no_pretrain", **SIZES)
    assert all(parameter.requires_grad for parameter in joint[0].parameters())


def test_fresh_weights_are_not_frozen_in_training():
    model, plane = zoo.build("revsci_mstpp", **SIZES), torch.rand(1, 1, 8, 8)
    with pytest.raises(UserError, match="would stay at its random weights"):
        model(plane)
    state = model.state_dict()
    assert model.eval()(plane).isfinite().all()
    model.train().load_state_dict(state)
    model(plane).sum().backward()


def test_pretrained_weights_come_from_a_folder_or_a_file(weights):
    folder, state = weights
    for place in (folder, folder / "model.safetensors"):
        model = zoo.build("revsci_mstpp", pretrained=str(place), **SIZES)
        torch.testing.assert_close(dict(model[0].state_dict()), dict(state))


def test_pretrained_weights_of_other_sizes_are_refused(weights):
    folder, _ = weights
    with pytest.raises(UserError, match=r"do not fit the first network .*set n_blocks and n_split"):
        zoo.build("revsci_mstpp", pretrained=str(folder), **{**SIZES, "n_blocks": 2})


def test_a_trained_cascade_needs_its_first_stages_weights_no_more():
    given = {**SIZES, "pretrained": "gone"}
    model = zoo.for_track("revsci_mstpp", 1, given, trained=True).eval()
    assert model(torch.rand(1, 1, 8, 8)).shape == (1, 4, 8, 8)
