"""The verb `export`, and prediction by what it wrote."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hsdata.camera import camera
from hsdata.cube import BAND_GRID
from hsdata.formats import image, mosaic
from hsdata.testing import smooth_cube
from hsengine import folder as folders
from hsengine.base.errors import UserError
from hsmodels import checkpoint, export, predict, zoo

SMALL = {
    "mst_plus_plus": {"n_feat": 4, "stage": 1},
    "mst_plus_plus_up": {"n_feat": 4, "stage": 1},
    "mstpp": {"n_feat": 4, "stage": 1},
    "raw2hsi": {"base_ch": 4, "n_blocks": 1},
    "revsci2_rgb": {"n_blocks": 1},
    "revsci_mstpp": {"n_blocks": 1, "n_feat": 4, "stage": 1},
    "revsci_mstpp_no_pretrain": {"n_blocks": 1, "n_feat": 4, "stage": 1},
    "revsci_mstpp_up": {"n_blocks": 1, "n_feat": 4, "stage": 1},
    "revsci_rgb": {"n_blocks": 1},
    "revsci_rgb_up": {"n_blocks": 1},
    "kernel_ridge": {"centres": 30},
    "kernel_sum": {"centres": 30},
}
ZOO = [(name, track) for track in (1, 2) for name in zoo.names(track)]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def inputs(track: int) -> Path:
    """A folder with one real input, no multiple of 8 pixels wide."""
    folder = Path("inputs")
    folder.mkdir(exist_ok=True)
    cube = smooth_cube(1, 44, 52)
    if track == 1:
        mosaic.write(folder / "a.npy", camera.mosaic(cube))
    else:
        image.write(folder / "a.png", camera.rgb_2(cube))
    return folder


def batches(track: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What a closed form is solved on."""
    pairs = []
    for seed in range(3):
        cube = smooth_cube(seed, 24, 24)
        given = camera.mosaic(cube) if track == 1 else camera.rgb_2(cube)
        pairs.append((torch.tensor(np.asarray(given, np.float32))[None], torch.tensor(cube.values)[None]))
    return pairs


def trained(name: str, track: int, *, residual: str = "none", stripes: int = 0, basis: int = 0) -> nn.Module:
    """A model's folder with weights of some size, closed forms solved for."""
    torch.manual_seed(0)
    params = SMALL.get(name, {})
    model = zoo.for_track(name, track, params, trained=True, residual=residual, stripes=stripes, basis=basis).eval()
    for part in (zoo.base_of(model), model):
        if part is not None and zoo.is_closed_form(part):
            zoo.fit(part, batches(track))
    if basis:
        zoo.basis_of(model).fit(cube for _, cube in batches(track))
    if stripes:
        with torch.no_grad():
            model.bias.uniform_(-0.01, 0.01)
            if residual != "none":
                model.net.gain.fill_(0.1)
    config = {
        "model": {"name": name, "params": params, "residual": residual, "stripes": stripes, "basis": basis},
        "track": track,
        "wavelengths": [float(value) for value in BAND_GRID],
        "params": {"predict": {}},
        "checkpoints": {"best": {"epoch": 1}},
    }
    folders.save(Path("model"), {"best": zoo.inner(model).state_dict()}, config)
    return model


def described(file: str) -> dict:
    return json.loads(Path(f"{file}.json").read_text())


@pytest.mark.parametrize(("name", "track"), ZOO)
def test_every_model_of_the_zoo_is_written_for_any_size(name: str, track: int) -> None:
    trained(name, track)
    done = export.run(Path("model"), Path("model.pt"), "torchscript", input=inputs(track))
    assert (
        done.sizes
        == ("any batch, height that is a multiple of 2, width that is a multiple of 2", "any batch, height, width")[
            track - 1
        ]
    )
    assert done.error < 1e-5 and done.compared == 4


@pytest.mark.parametrize(
    ("name", "track", "around"),
    [
        ("raw2hsi", 1, {}),
        ("ridge", 2, {}),
        ("mstpp", 2, {"residual": "kernel_ridge", "stripes": 64}),
        ("mstpp", 2, {"residual": "ridge", "basis": 8}),
        ("raw2hsi", 1, {"basis": 8, "stripes": 64}),
    ],
)
def test_onnx_gives_the_cubes_that_the_folder_gives(name: str, track: int, around: dict) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    trained(name, track, **around)
    given = inputs(track)
    done = export.run(Path("model"), Path("model.onnx"), "onnx", input=given)
    assert done.error < 1e-5 and done.sizes.startswith("any batch, height")
    for model, output in (("model", "by_folder"), ("model.onnx", "by_file")):
        predict.run(given, Path(output), Path(model), format="npy", tile=16)
    truth, found = (np.load(Path(output, "a.npy")) for output in ("by_folder", "by_file"))
    assert np.abs(found - truth).max() <= 1e-5 * truth.max()
    assert described("model.onnx")["opset"] == 20


def test_a_model_over_a_closed_form_with_stripes_predicts_as_before() -> None:
    model = trained("mstpp", 2, residual="kernel_ridge", stripes=64)
    given = inputs(2)
    export.run(Path("model"), Path("model.pt"), "torchscript", input=given)
    said = described("model.pt")
    assert [port["name"] for port in said["outputs"]] == ["cube", "pattern"]
    assert said["after"]["floor"] == 0.001 and said["after"]["wavelengths_nm"] == BAND_GRID.tolist()
    assert "add 'pattern'" in said["after"]["steps"][0]
    for where, options in (("whole", {}), ("tiles", {"tile": 16, "tta": True})):
        for source, output in (("model", f"{where}_by_folder"), ("model.pt", f"{where}_by_file")):
            predict.run(given, Path(output), Path(source), format="npy", **options)
        truth, found = (np.load(Path(f"{where}_by_{kind}", "a.npy")) for kind in ("folder", "file"))
        assert np.abs(found - truth).max() <= 1e-5
    loaded, record = checkpoint.load("model.pt")
    torch.testing.assert_close(loaded.bias, model.bias)
    assert record["model"]["residual"] == "kernel_ridge"


def test_half_precision_leaves_closed_forms_alone() -> None:
    trained("mstpp", 2, residual="ridge", stripes=32, basis=8)
    done = export.run(Path("model"), Path("half.pt"), "torchscript", half=True)
    assert 0.0 < done.error < 0.05 and "--input" in str(done)
    trained("ridge", 2)
    with pytest.raises(UserError, match="--half: a closed form's terms nearly cancel"):
        export.run(Path("model"), Path("half.pt"), "torchscript", half=True)


def test_options_that_a_file_has_fixed_are_refused() -> None:
    trained("ridge", 2)
    export.run(Path("model"), Path("model.pt"), "torchscript")
    with pytest.raises(UserError, match=r"--precision bf16: model\.pt was exported"):
        predict.run(inputs(2), Path("cubes"), Path("model.pt"), precision="bf16")


def test_inputs_of_a_mosaic_must_be_even() -> None:
    trained("ridge", 1)
    export.run(Path("model"), Path("model.pt"), "torchscript")
    model, _ = checkpoint.load("model.pt")
    with pytest.raises(UserError, match="'width' is a multiple of 2"):
        model(torch.rand(1, 1, 16, 15))
