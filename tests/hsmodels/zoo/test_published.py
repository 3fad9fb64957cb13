import pickle

import numpy as np
import pytest
import torch

from hsengine.base.errors import UserError
from hsmodels import checkpoint, import_checkpoint, zoo

MST = {"n_feat": 4, "out_channels": 4, "stage": 2}
CASES = {
    "raw2hsi": {"base_ch": 4, "n_blocks": 2, "out_bands": 5},
    "mst_plus_plus": {"in_channels": 4, **MST},
    "mst_plus_plus_up": {"in_channels": 3, "upscale_factor": 3, **MST},
    "revsci_rgb": {"n_blocks": 3, "n_split": 4},
    "revsci2_rgb": {"n_blocks": 1, "n_split": 2},
    "revsci_rgb_up": {"n_blocks": 2, "n_split": 2},
    "revsci_mstpp": {"n_blocks": 1, "n_split": 2, **MST},
    "revsci_mstpp_up": {"n_blocks": 1, "n_split": 8, **MST},
}
LAYOUTS = {
    "bare": lambda state: state,
    "framework": lambda state: {"model": state, "epoch": 3, "best_loss": np.float64(0.5)},
    "official": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_is_recognised_by_its_shapes(tmp_path, name, layout):
    model = zoo.build(name, **CASES[name])
    torch.save(LAYOUTS[layout](model.state_dict()), tmp_path / "best.tar")
    found, config = zoo.import_checkpoint(tmp_path / "best.tar")
    assert config.pop("model_name") == name
    assert CASES[name].items() <= config.items()
    torch.testing.assert_close(dict(found.state_dict()), dict(model.state_dict()))


@pytest.mark.parametrize("name", ["mst_plus_plus_up", "raw2hsi", "revsci_rgb"])
def test_published_instances_are_imported_and_reproduced(shared, tmp_path, name):
    stored = np.load(shared / "reference" / "models" / f"{name}.npz")
    state = {key.removeprefix("state/"): torch.from_numpy(stored[key]) for key in stored if key.startswith("state/")}
    torch.save({"model": state}, tmp_path / "best.tar")
    model, config = zoo.import_checkpoint(tmp_path / "best.tar")
    assert config["model_name"] == name
    with torch.no_grad():
        found = model(torch.from_numpy(stored["input"]))
    torch.testing.assert_close(found, torch.from_numpy(stored["output"]), atol=1e-5, rtol=1e-5)


def test_a_name_decides_between_models_with_the_same_keys(tmp_path):
    torch.save(zoo.build("revsci_mstpp", **CASES["revsci_mstpp"]).state_dict(), tmp_path / "best.pt")
    _, config = zoo.import_checkpoint(tmp_path / "best.pt", "revsci_mstpp_no_pretrain")
    assert config["model_name"] == "revsci_mstpp_no_pretrain"
    with pytest.raises(UserError, match="not a checkpoint of raw2hsi"):
        zoo.import_checkpoint(tmp_path / "best.pt", "raw2hsi")


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, write):
    write({"model": Malicious(tmp_path / "ran")}, tmp_path / "best.tar")
    (tmp_path / "ran").unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"best\.tar"):
        zoo.import_checkpoint(tmp_path / "best.tar")
    assert not (tmp_path / "ran").exists()


def test_missing_unexpected_and_misshapen_keys_are_listed(tmp_path):
    state = dict(zoo.build("raw2hsi", **CASES["raw2hsi"]).state_dict())
    del state["tail.bn.bias"]
    state["extra"] = torch.zeros(1)
    state["tail.conv.bias"] = torch.zeros(9)
    torch.save(state, tmp_path / "best.tar")
    with pytest.raises(UserError, match=r"1 missing \(tail.bn.bias\); 1 unknown \(extra\); 1 of another shape"):
        zoo.import_checkpoint(tmp_path / "best.tar")
    del state["out_conv.weight"], state["head.conv.weight"]
    torch.save(state, tmp_path / "best.tar")
    with pytest.raises(UserError, match="not a checkpoint of a known model"):
        zoo.import_checkpoint(tmp_path / "best.tar")


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_files_that_are_no_checkpoints_are_named(tmp_path, content):
    if content is not None:
        (tmp_path / "best.tar").write_bytes(content)
    with pytest.raises(UserError, match=r"best\.tar"):
        zoo.import_checkpoint(tmp_path / "best.tar")


def test_a_folder_that_import_writes_is_loaded_as_any_trained_model(tmp_path):
    model = zoo.build("mst_plus_plus_up", in_channels=4, n_feat=4, stage=1).eval()
    torch.save({"model": model.state_dict()}, tmp_path / "best.tar")
    import_checkpoint.run(tmp_path / "best.tar", tmp_path / "model")
    found, config = checkpoint.load(tmp_path / "model")
    plane = torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(found(plane), model(torch.nn.functional.pixel_unshuffle(plane, 2)))
    assert (config["track"], config["model"]["name"]) == (1, "mstpp")


def test_other_bands_than_the_challenges_cannot_be_written(tmp_path):
    torch.save(zoo.build("raw2hsi", **CASES["raw2hsi"]).state_dict(), tmp_path / "best.tar")
    with pytest.raises(UserError, match="5 bands, whose wavelengths it does not say"):
        import_checkpoint.run(tmp_path / "best.tar", tmp_path / "model")


def test_a_folder_with_other_things_in_it_is_not_replaced(tmp_path):
    torch.save(zoo.build("mst_plus_plus_up", in_channels=4, n_feat=4, stage=1).state_dict(), tmp_path / "best.tar")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="mine holds something else than a trained model's folder"):
        import_checkpoint.run(tmp_path / "best.tar", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
