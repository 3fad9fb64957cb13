import errno
import json

import pytest
import safetensors.torch
import torch

import hsmodels
from hsdata import BAND_GRID
from hsengine import folder as folders
from hsengine.base.errors import UserError
from hsmodels import checkpoint, zoo


def _config(model="example", track=2, **params):
    return {
        "model": {"name": model, "params": params},
        "track": track,
        "wavelengths": BAND_GRID.tolist(),
        "checkpoints": {"best": {"epoch": 3, "measures": {"val/SSC": 0.25}}, "last": {"epoch": 5}},
    }


@pytest.fixture
def trained(tmp_path):
    """A model's folder with different weights in its two checkpoints."""
    folder = tmp_path / "model"
    best, last = (zoo.inner(zoo.for_track("example", 2, {"width": 4})) for _ in range(2))
    folders.save(folder, {"best": best.state_dict(), "last": last.state_dict()}, _config(width=4))
    return folder, best, last


def test_both_checkpoints_come_back_with_the_record_of_the_one_that_was_chosen(trained):
    folder, best, last = trained
    for which, network, epoch in (("best", best, 3), ("last", last, 5)):
        model, config = hsmodels.load(folder, which)
        assert not model.training
        assert config["checkpoint"]["which"] == which
        assert config["checkpoint"]["epoch"] == epoch
        image = torch.rand(1, 3, 8, 8)
        assert torch.equal(model(image), network.eval()(image))


def test_a_model_of_track_1_comes_back_with_its_own_way_to_take_a_mosaic(tmp_path):
    model = zoo.for_track("example", 1, {"width": 4}).eval()
    folders.save(tmp_path / "m", {"best": zoo.inner(model).state_dict()}, _config(track=1, width=4))
    plane = torch.rand(1, 1, 8, 8)
    assert torch.equal(hsmodels.load(tmp_path / "m")[0](plane), model(plane))


def test_wrappers_leave_no_trace_in_the_keys(tmp_path):
    network = zoo.build("example", width=4)
    wrapped = {f"module._orig_mod.{key}": value for key, value in network.state_dict().items()}
    folders.save(tmp_path / "m", {"best": wrapped}, _config(width=4))
    assert safetensors.torch.load_file(tmp_path / "m" / "model.safetensors").keys() == network.state_dict().keys()


def test_weights_of_another_model_are_refused_by_their_keys(trained):
    folder, _, _ = trained
    safetensors.torch.save_file({"expand.weight": torch.zeros(4, 3, 3, 3), "other": torch.zeros(1)}, folder / "a")
    (folder / "a").replace(folder / "model.safetensors")
    with pytest.raises(UserError, match=r"3 missing \(expand\.bias, reduce\.bias, reduce\.weight\); 1 unknown \(other"):
        checkpoint.load(folder)
    config = json.loads((folder / "config.json").read_text())
    config["model"]["params"]["width"] = 5
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"another shape \(expand.bias \(4,\) instead of \(5,\)"):
        checkpoint.load(folder, "last")


def test_what_is_no_model_folder_is_told_so(tmp_path, trained):
    folder, _, _ = trained
    with pytest.raises(UserError, match="no trained model"):
        checkpoint.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="choose 'best' or 'last'"):
        checkpoint.load(folder, "final")
    (folder / "last.safetensors").unlink()
    with pytest.raises(UserError, match=r"there is no last\.safetensors"):
        checkpoint.load(folder, "last")
    (folder / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        checkpoint.load(folder)
    (folder / "config.json").write_text('{"track": 2}')
    (folder / "model.safetensors").write_bytes(safetensors.torch.save({}))
    with pytest.raises(UserError, match="what model this is"):
        checkpoint.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"track": 3},
        {"track": "2"},
        {"wavelengths": []},
        {"wavelengths": [float("nan")] * 61},
        {"wavelengths": "400 to 1000"},
        {"model": "example"},
        {"model": {"name": "example", "params": []}},
        {"model": {"name": "example", "residual": 1}},
        {"model": {"name": "example", "stripes": "many"}},
        {"checkpoints": []},
        {"checkpoints": {"best": 3}},
        {"params": []},
        {"params": {"predict": [1]}},
        {"data": 3},
        {"data": {"hash": ["x"]}},
    ],
)
def test_a_record_with_entries_of_the_wrong_kind_is_named(trained, changes):
    folder, _, _ = trained
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(UserError, match=rf"config\.json does not say what model this is(.|\n)*{next(iter(changes))}"):
        checkpoint.load(folder)


def test_a_full_disk_leaves_the_old_folder_whole(trained, monkeypatch):
    folder, best, _ = trained
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        folders.save(folder, {"best": best.state_dict()}, {})
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [file.name for file in folder.parent.iterdir()] == ["model"]
