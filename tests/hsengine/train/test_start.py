import pytest
import safetensors.torch
import torch
from torch import nn
from toy_task import Toy, same, settings, trained

from hsengine.base.errors import UserError
from hsengine.train import start


@pytest.fixture
def folder(tmp_path):
    """A model's folder with the weights of a training."""
    place = tmp_path / "model"
    place.mkdir()
    weights = trained(tmp_path / "first").last.weights
    safetensors.torch.save_file(weights, place / start.BEST)
    return place, weights


STILL = {"lr": 1e-20, "epochs": 1}


def test_a_training_starts_from_the_weights_of_another(tmp_path, folder):
    place, weights = folder
    said = []
    assert same(trained(tmp_path / "a", said=said, start=str(place), **STILL).last.weights, weights)
    assert said == [f"Starting from the weights in {place / start.BEST}: 4 of the model's 4 keys are taken."]
    assert same(trained(tmp_path / "b", start=str(place / start.BEST), **STILL).last.weights, weights)
    assert not same(trained(tmp_path / "c", **STILL).last.weights, weights)


def test_keys_can_be_left_out_by_pattern_and_all_is_said(tmp_path, folder):
    place, weights = folder

    class Longer(Toy):
        def model(self):
            made = super().model()
            made[4] = nn.Linear(8, 3)
            made.append(nn.Linear(3, 2))
            return made

    fresh = trained(tmp_path / "fresh", Longer(), **STILL).last.weights
    said = []
    given = {"start": str(place), "start_without": ["4.*"], **STILL}
    made = trained(tmp_path / "a", Longer(), said=said, **given).last.weights
    assert all(torch.equal(made[name], weights[name]) for name in ("0.weight", "0.bias"))
    assert all(torch.equal(made[name], fresh[name]) for name in ("4.weight", "4.bias", "5.weight", "5.bias"))
    assert "2 of the model's 6 keys are taken" in said[0]
    assert "2 left as they are by train.start_without (4.bias, 4.weight)" in said[0]
    assert "2 not in the file and left as they are (5.weight, 5.bias)" in said[0]


def test_only_the_part_that_a_folder_holds_is_filled(tmp_path, folder):
    place, weights = folder

    class Wrapped(Toy):
        def model(self):
            return nn.Sequential(super().model(), nn.Identity())

        def inner(self, model):
            return model[0]

    made = trained(tmp_path / "a", Wrapped(), start=str(place), **STILL).last.weights
    assert same({name.removeprefix("0."): value for name, value in made.items()}, weights)


def test_a_training_that_goes_on_is_not_started_again(tmp_path, folder):
    place, _ = folder
    given = {"start": str(place), "epochs": 2}
    expected = trained(tmp_path / "a", **given)

    class Stopped(Toy):
        calls = 0

        def losses(self, model, batch):
            self.calls += 1
            if self.calls == 5:
                raise KeyboardInterrupt
            return super().losses(model, batch)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", Stopped(), **given)
    said = []
    assert same(trained(tmp_path / "b", said=said, **given).last.weights, expected.last.weights)
    assert said == ["Going on from a saved state: epoch 1."]


def test_weights_that_do_not_fit_are_refused_with_what_to_do(tmp_path, folder):
    place, _ = folder

    class Wider(Toy):
        def model(self):
            return nn.Sequential(nn.Linear(2, 9), nn.Linear(9, 2))

    class Other(Toy):
        def model(self):
            return nn.ModuleDict({"net": nn.Linear(2, 2)})

    with pytest.raises(UserError, match=r"another shape: 0\.weight \(8, 2\) instead of \(9, 2\).*start_without"):
        trained(tmp_path / "a", Wider(), start=str(place))
    with pytest.raises(UserError, match=r"none of the weights .* is for this model: it has net\.weight"):
        trained(tmp_path / "b", Other(), start=str(place))
    with pytest.raises(UserError, match=r"train\.start_without: no key .* is like 'head\*'"):
        trained(tmp_path / "c", start=str(place), start_without=["head*"])
    with pytest.raises(UserError, match=r"train\.start: there are no weights in .*nowhere"):
        trained(tmp_path / "d", start=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"outputs/model is what this training writes"):
        trained(tmp_path / "f", start="outputs/model")
    (place / start.BEST).write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        trained(tmp_path / "e", start=str(place))


def test_the_weights_to_start_from_are_known_by_their_content(tmp_path, folder):
    place, weights = folder
    first = start.fingerprint(settings(start=str(place)))
    assert start.fingerprint(settings()) is None
    safetensors.torch.save_file({name: value + 1 for name, value in weights.items()}, place / start.BEST)
    assert start.fingerprint(settings(start=str(place))) != first
    with pytest.raises(UserError, match=r"train\.start"):
        start.fingerprint(settings(start=str(tmp_path / "nowhere")))
