"""Exported files: proven equal before they are written, described, and read back."""

import builtins
import json
import resource
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.export import trials, writing
from hsengine.export.description import Axis, beside, is_exported
from hsengine.export.runtime import Exported
from hsengine.export.writing import Request, Sample

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "torch-export": ".pt2"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Free(nn.Module):
    """Any size of image."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.tanh(self.layer(image))
        return y, y.mean(dim=(1, 2, 3))


class OneSize(Free):
    """Takes the sizes that it meets for the only ones."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        steps = [float(number) for number in range(int(image.shape[-1]))]
        y = self.layer(image) * torch.tensor(steps)
        return y, y.mean(dim=(1, 2, 3))


class Undecidable(Free):
    """Branches on what the image shows."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        y = self.layer(image)
        return (y, y.mean()) if image.mean() > 0.5 else (y, y.amax())


class Unknown(Free):
    """Has an operation that ONNX does not know."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.linalg.eigvals(torch.einsum("bchw,bdhw->bcd", image, image)).real
        return values, values


def request(module: nn.Module, multiple: int = 1) -> Request:
    torch.manual_seed(0)
    sides = {2: Axis(name="height", multiple=multiple), 3: Axis(name="width", multiple=multiple)}
    samples = [
        Sample("random", trials.random([(batch, 3, height, width)], batch))
        for batch, height, width in trials.sizes(multiple)
    ]
    return Request(module, ["image"], ["map", "mean"], [[{0: Axis(name="batch"), **sides}]], samples, {"record": {}})


@pytest.mark.parametrize("format", SUFFIXES)
def test_every_format_gives_what_the_model_gives_at_any_size(format) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    module, file = Free(), Path(f"model{SUFFIXES[format]}")
    done = writing.write(request(module), file, format)
    assert done.error < 1e-5 and done.compared == 2
    said = json.loads(beside(file).read_text())
    assert said["sizes"] == "any batch, height, width" and said["tolerance"] == 1e-5
    assert [entry["shapes"] for entry in said["compared"]] == [[[2, 3, 44, 34]], [[1, 3, 26, 52]]]
    image = torch.rand(3, 3, 11, 7)
    for found, expected in zip(Exported(file)(image), module(image), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("format", ["torchscript", "torch-export"])
def test_a_model_of_one_size_is_written_for_that_and_says_so(format) -> None:
    file = Path(f"model{SUFFIXES[format]}")
    done = writing.write(request(OneSize()), file, format)
    assert "any batch; all else as in [[2, 3, 44, 34]], since" in done.sizes
    with pytest.raises(UserError, match=r"\(batch, 3, 44, 34\), not \(1, 3, 44, 35\).*this size alone"):
        Exported(file)(torch.rand(1, 3, 44, 35))


def test_the_operation_in_the_way_is_named_and_nothing_is_written() -> None:
    with pytest.raises(UserError, match=r"cannot be exported as torch-export: .*test_export\.py, line \d+.*in the way"):
        writing.write(request(Undecidable()), Path("model.pt2"), "torch-export")
    assert list(Path().iterdir()) == []


def test_an_operation_that_onnx_does_not_know_is_named() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with pytest.raises(UserError, match=r"cannot be exported as onnx: the operation aten\.\w*eig\w*"):
        writing.write(request(Unknown()), Path("model.onnx"), "onnx")


def test_a_file_that_differs_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match=r"gives other results than the model: 'map' differs by"):
        writing.write(request(Free()), Path("model.pt"), "torchscript")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("format", ["onnx", "torchscript", "torch-export"])
def test_a_full_disk_is_not_taken_for_a_fault_of_the_model(format) -> None:
    if format == "onnx":
        pytest.importorskip("onnxscript")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, hard))
    try:
        with pytest.raises(UserError, match="No space left on the disk of model"):
            writing.write(request(Free()), Path(f"model{SUFFIXES[format]}"), format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(Path().iterdir()) == []


def test_half_precision_states_its_error() -> None:
    file = Path("model.pt")
    done = writing.write(request(Free()), file, "torchscript", half=True)
    assert 1e-5 < done.error < 1e-2
    assert json.loads(beside(file).read_text())["precision"] == "float16 inside, float32 inputs and outputs"


def test_sizes_that_a_file_does_not_take_are_refused() -> None:
    writing.write(request(Free(), multiple=8), Path("model.pt"), "torchscript")
    with pytest.raises(UserError, match=r"'width' is a multiple of 8"):
        Exported("model.pt")(torch.rand(1, 3, 16, 12))


def test_a_json_of_another_file_is_refused() -> None:
    for name in ("one.pt", "other.pt"):
        writing.write(request(Free()), Path(name), "torchscript")
    Path("one.pt").rename("other.pt")
    with pytest.raises(UserError, match=r"other\.pt\.json is of another file"):
        Exported("other.pt")


def test_a_damaged_file_is_named() -> None:
    writing.write(request(Free()), Path("model.pt"), "torchscript")
    said = json.loads(beside("model.pt").read_text())
    Path("model.pt").write_bytes(b"nothing")
    beside("model.pt").write_text(json.dumps(said | {"blake2b": writing.file_hash("model.pt")}))
    with pytest.raises(UserError, match=r"model\.pt cannot be read as torchscript"):
        Exported("model.pt")


@pytest.mark.parametrize(("to", "format"), [("model.pt", "onnx"), ("model", "torchscript")])
def test_the_suffix_must_say_the_format(to: str, format) -> None:
    with pytest.raises(UserError, match="give a file name that ends in"):
        writing.target(Path(to), format)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def refusing(name: str, *args, **options):
        if name.startswith("onnx"):
            raise ImportError(name)
        return genuine(name, *args, **options)

    import importlib

    monkeypatch.setattr(importlib, "import_module", refusing)
    with pytest.raises(UserError, match=r"onnxruntime, which is not installed: pip install '.*\[export\]'"):
        writing.write(request(Free()), Path("model.onnx"), "onnx")


def test_folders_are_no_exported_files() -> None:
    Path("folder.pt").mkdir()
    assert not is_exported("folder.pt") and not is_exported("model") and is_exported("model.onnx")


@pytest.mark.parametrize(("format", "name"), [("onnx", "model.onnx"), ("torchscript", "model.pt")])
def test_without_a_name_the_file_stands_beside_the_models_folder(format, name):
    assert writing.target(None, format) == Path("outputs") / name
