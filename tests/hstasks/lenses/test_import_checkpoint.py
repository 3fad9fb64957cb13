import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from small_lenses import small

import hstasks
from hsengine.base.errors import UserError
from hstasks import networks
from hstasks.lenses import evaluate, import_checkpoint, predict
from hstasks.networks.convnextv2 import ConvNeXtV2


def _network():
    torch.manual_seed(0)
    return ConvNeXtV2(1, 1, (1, 1, 2, 1), (8, 16, 24, 32)).eval()


@pytest.mark.parametrize("whole", [False, True], ids=["best", "last"])
def test_a_published_file_gives_the_network_that_wrote_it(tmp_path, whole):
    network = _network()
    content = network.state_dict()
    if whole:
        content = {"model": content, "optimizer": torch.optim.AdamW(network.parameters()).state_dict(), "epoch": 7}
    torch.save(content, tmp_path / "file.pt")
    found, record = hstasks.import_checkpoint(tmp_path / "file.pt")
    image = torch.randn(2, 1, 41, 41)
    assert torch.equal(found(image), network(image))
    assert not found.training
    assert record["input"]["preprocess"]["kind"] == "published"
    assert not record["input"]["together"]


def test_the_reference_network_is_imported(shared, tmp_path):
    folder = shared / "reference" / "lenses"
    arrays = np.load(folder / "convnextv2_small.npz")
    state = {key[6:]: torch.from_numpy(arrays[key]) for key in arrays if key.startswith("state/")}
    torch.save(state, tmp_path / "best.pt")
    network, _ = hstasks.import_checkpoint(tmp_path / "best.pt")
    with torch.no_grad():
        found = network(torch.from_numpy(arrays["input_41"]))
    assert np.abs(found.numpy() - arrays["output_41"]).max() < 1e-5


def test_a_published_size_is_known_by_its_name(tmp_path):
    torch.save(networks.build("convnextv2_atto", {}, 1, 1).state_dict(), tmp_path / "best.pt")
    _, record = hstasks.import_checkpoint(tmp_path / "best.pt")
    assert record["model"]["name"] == "convnextv2_atto"


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_pickled_is_executed(tmp_path):
    torch.save({"model": _network().state_dict(), "extra": Trap(tmp_path / "sprung")}, tmp_path / "last.pt")
    with pytest.raises(UserError, match="cannot be read as weights"):
        hstasks.import_checkpoint(tmp_path / "last.pt")
    assert not (tmp_path / "sprung").exists()


def test_other_networks_and_broken_ones_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "best.pt")
    with pytest.raises(UserError, match="ConvNeXt V2"):
        hstasks.import_checkpoint(tmp_path / "best.pt")
    state = _network().state_dict()
    del state["norm.bias"]
    torch.save(state, tmp_path / "best.pt")
    with pytest.raises(UserError, match=r"norm\.bias"):
        hstasks.import_checkpoint(tmp_path / "best.pt")


def test_an_imported_model_is_evaluated_and_predicts(trained):
    torch.save(_network().state_dict(), "best.pt")
    said = import_checkpoint.run("best.pt", Path("outputs/model"))
    assert "no threshold yet" in str(said)
    with pytest.raises(UserError, match="fitted for other models"):
        predict.run(Path("data/test"), Path("predicted"), [Path("outputs/model")])
    evaluate.run(small(predict={"d4": False}))
    assert json.loads(Path("outputs/metrics.json").read_text())["run"]["same_division"] is None
    assert predict.run(Path("data/test"), Path("predicted"), [Path("outputs/model")]).objects == 6


def test_a_threshold_beside_the_checkpoint_comes_along(trained):
    Path("given").mkdir()
    torch.save(_network().state_dict(), "given/best.pt")
    Path("given/threshold.txt").write_text("0.4375\n")
    said = import_checkpoint.run("given/best.pt", Path("imported/model"))
    assert "0.4375" in str(said)
    assert json.loads(Path("imported/calibration.json").read_text())["threshold"] == 0.4375
    assert predict.run(Path("data/test"), Path("predicted"), [Path("imported/model")]).objects == 6


def test_a_threshold_that_is_none_is_refused_and_nothing_imported(tmp_path):
    torch.save(_network().state_dict(), tmp_path / "best.pt")
    (tmp_path / "threshold.txt").write_text("to be done")
    with pytest.raises(UserError, match="no threshold between"):
        import_checkpoint.run(tmp_path / "best.pt", tmp_path / "model")
    assert not (tmp_path / "model").exists()
