"""The verb `export` of the image tasks: every kind of network, read back as the network that it was."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hsengine import folder as folders
from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hstasks import export, networks
from hstasks.biomass.params import Params as Biomass
from hstasks.landcover.params import Params as LandCover
from hstasks.loading import load
from hstasks.salt.params import Params as Salt

MASKS = {
    "seed_unet": {"encoder": "resnet34", "weights": "random"},
    "unet_small": {"width": 8, "depth": 3, "presence": True},
    "unet": {"encoder": "test_resnet", "weights": "random", "decoder_channels": [16, 16, 8, 8, 8]},
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def folder(
    challenge: str, task: str, name: str, params: dict, given: dict, channels: int, outputs: int, **more
) -> nn.Module:
    """A model's folder as training writes it, with fresh weights."""
    torch.manual_seed(0)
    network = networks.build(name, params, channels, outputs).eval()
    config = {
        "challenge": challenge,
        "task": task,
        "model": {"name": name, "params": params, "in_channels": channels, "out_channels": outputs},
        "params": given,
        "checkpoints": {"best": {"epoch": 1}},
        "training": "t",
        **more,
    }
    folders.save(Path("model"), {"best": network.state_dict()}, config)
    return network


def salt(name: str) -> nn.Module:
    given = validated(Salt, {"challenge": "salt", "input": {"channels": "grey", "fit": {"pad": 64}}}, "salt")
    params = {key: value for key, value in MASKS[name].items() if key in networks.parameters(name, {})}
    channels = 3 if name == "seed_unet" else 1
    return folder("salt", "segmentation", name, params, given.model_dump(mode="json"), channels, 1)


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_what_the_network_says(name: str) -> None:
    network = salt(name)
    done = export.run(Path("model"), Path("model.pt"), "torchscript")
    assert done.error < 1e-5 and done.sizes.startswith("any batch, height")
    read, record = load("model.pt")
    image = torch.rand(3, record["model"]["in_channels"], 64, 64)
    with torch.no_grad():
        found, expected = read(image), network(image)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-5, atol=1e-5)
    assert (found.presence is None) == (expected.presence is None)
    assert json.loads(Path("model.pt.json").read_text())["after"]["rules"]["threshold"] == 0.5


def test_maps_of_any_size_are_padded_as_the_network_does() -> None:
    given = validated(LandCover, {"challenge": "landcover"}, "landcover").model_dump(mode="json")
    params = {"encoder": "test_resnet", "weights": "random", "decoder_channels": 16}
    network = folder("landcover", "segmentation", "deeplabv3plus", params, given, 3, 5)
    export.run(Path("model"), Path("model.pt"), "torchscript")
    image = torch.rand(1, 3, 50, 71)
    with torch.no_grad():
        torch.testing.assert_close(load("model.pt")[0](image).logits, network(image).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "params"), [("cnn_small", {"widths": [8, 8]}), ("convnextv2_atto", {})])
def test_classes_are_what_the_network_says(name: str, params: dict) -> None:
    network = folder("lenses", "classification", name, params, {}, 5, 1, input={})
    done = export.run(Path("model"), Path("model.pt"), "torchscript")
    assert done.error < 1e-5
    image = torch.rand(4, 5, 41, 41)
    with torch.no_grad():
        torch.testing.assert_close(load("model.pt")[0](image), network(image), rtol=1e-5, atol=1e-5)


def biomass(fusion: str, *, residual: bool = False) -> nn.Module:
    options = {"latent_dim": 16, "num_latents": 4, "num_layers": 1} if fusion == "perceiver" else {}
    params = {
        "backbone": "test_resnet",
        "weights": "random",
        "fusion": fusion,
        "metadata_dim": 0 if fusion == "none" else 6,
        "residual": residual,
        "options": options,
    }
    given = validated(Biomass, {"challenge": "biomass", "input": {"size": 64}}, "biomass").model_dump(mode="json")
    network = folder("biomass", "regression", "fused", params, given, 3, 5, fitted={})
    for value in network.parameters():
        value.data += 0.01 * torch.randn_like(value)
    folders.save(Path("model"), {"best": network.state_dict()}, folders.record("model"))
    return network


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("fusion", ["none", "mlp", "perceiver"])
def test_grams_of_every_fusion_are_what_the_network_says(fusion: str, residual: bool) -> None:
    network = biomass(fusion, residual=residual)
    done = export.run(Path("model"), Path("model.pt"), "torchscript")
    assert done.error < 1e-5 and done.sizes.startswith("any batch")
    read, _ = load("model.pt")
    for batch in (1, 5):
        image = torch.rand(batch, 2, 3, 64, 64)
        metadata = torch.rand(batch, (0 if fusion == "none" else 6) + (3 if residual else 0))
        with torch.no_grad():
            found, expected = read(image, metadata), network(image, metadata)
        torch.testing.assert_close(found.grams, expected.grams, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(found.log_var, expected.log_var, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("fusion", ["none", "mlp", "perceiver"])
def test_grams_of_every_fusion_in_onnx(fusion: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = biomass(fusion)
    assert export.run(Path("model"), Path("model.onnx"), "onnx").error < 1e-5
    session = onnxruntime.InferenceSession("model.onnx")
    for batch in (1, 3):
        image, metadata = torch.rand(batch, 2, 3, 64, 64), torch.rand(batch, 0 if fusion == "none" else 6)
        inputs = {"image": image.numpy()} | ({} if fusion == "none" else {"metadata": metadata.numpy()})
        with torch.no_grad():
            expected = network(image, metadata)
        for name, found in zip(("grams", "log_var"), session.run(["grams", "log_var"], inputs), strict=True):
            wanted = getattr(expected, name).numpy()
            assert np.abs(found - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())


def test_an_exported_file_is_not_exported_again() -> None:
    salt("unet_small")
    export.run(Path("model"), Path("model.pt"), "torchscript")
    with pytest.raises(UserError, match=r"model\.pt is an exported file"):
        export.run(Path("model.pt"), Path("other.pt"), "torchscript")
