import pytest
import timm
import torch
from safetensors.torch import save_file

from hsengine.base.errors import UserError
from hstasks.networks import build, weights
from hstasks.networks.encoders import Encoder, backbone

TINY = "test_resnet"
"""timm's smallest ResNet."""


def eval_with(model, image):
    with torch.no_grad():
        return model.eval()(image)


@pytest.fixture
def file(tmp_path):
    """A file of a tiny ResNet's weights, and the model that they are of."""
    torch.manual_seed(0)
    model = timm.create_model(TINY, pretrained=False)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1.0, 0.1)
    path = tmp_path / "tiny.safetensors"
    save_file(model.state_dict(), path)
    return path, model


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6])
def test_a_grey_picture_gives_the_same_in_any_number_of_channels(file, channels):
    path, _ = file
    rgb = Encoder(TINY, str(path), 3)
    other = Encoder(TINY, str(path), channels)
    grey = torch.rand(2, 1, 32, 32)
    wanted = eval_with(rgb, grey.expand(-1, 3, -1, -1))[-1]
    torch.testing.assert_close(eval_with(other, grey.expand(-1, channels, -1, -1))[-1], wanted, atol=1e-4, rtol=1e-4)


def test_a_colour_picture_gives_the_same_when_repeated():
    weight = torch.randn(4, 3, 3, 3)
    image = torch.rand(1, 3, 8, 8)
    twice = torch.nn.functional.conv2d(image.repeat(1, 2, 1, 1), weights.adapted(weight, 6))
    torch.testing.assert_close(twice, torch.nn.functional.conv2d(image, weight), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weights.adapted(weight, 3), weight)


def test_weights_of_a_file_are_those_of_the_model_whatever_their_format(file, tmp_path):
    path, model = file
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "tiny.pth")
    image = torch.rand(2, 3, 32, 32)
    wanted = eval_with(model, image)
    for name in (path, tmp_path / "tiny.pth"):
        loaded = build("timm", {"model": TINY, "weights": str(name)}, 3, 1000)
        torch.testing.assert_close(eval_with(loaded, image), wanted)
    pooled, width = backbone(TINY, str(path))
    assert eval_with(pooled, image).shape == (2, width)


def test_a_classifier_of_other_classes_keeps_the_encoder_and_gets_a_fresh_head(file):
    path, model = file
    loaded = build("timm", {"model": TINY, "weights": str(path)}, 3, 7)
    state = loaded.state_dict()
    head = model.default_cfg["classifier"]
    assert eval_with(loaded, torch.rand(2, 3, 32, 32)).shape == (2, 7)
    for key, value in model.state_dict().items():
        if not key.startswith(head):
            torch.testing.assert_close(state[key], value)


def test_pretrained_weights_without_a_network_end_in_a_remedy(monkeypatch):
    def offline(*args, pretrained=False, **options):
        raise OSError("we are offline\nand more")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"offline\).*path of a \.safetensors.*'random'"):
        weights.create("resnet18", "pretrained", 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no file of weights"),
        (b"not a file of weights", "cannot be read as weights"),
        ({"a": 1}, "no state dict"),
        ({"conv1.weight": torch.zeros(1)}, "does not hold the weights of 'test_resnet': it lacks"),
    ],
)
def test_a_file_that_is_not_the_models_is_named(tmp_path, content, said):
    path = tmp_path / "some.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=said):
        Encoder(TINY, str(path))


def test_nothing_pickled_is_executed(tmp_path):
    class Spy:
        def __reduce__(self):
            return (exec, ("raise SystemExit('executed')",))

    torch.save({"conv1.weight": Spy()}, tmp_path / "spy.pth")
    with pytest.raises(UserError, match="cannot be read"):
        weights.read_state(str(tmp_path / "spy.pth"))


@pytest.mark.parametrize(
    ("name", "said"),
    [("resnet43", r"no model 'resnet43' \(close: .*resnet34"), ("test_vit", "no pyramid of features")],
)
def test_models_that_are_no_encoders_are_named(name, said):
    with pytest.raises(UserError, match=said):
        Encoder(name, "random")


@pytest.mark.parametrize(
    ("stem", "sizes"),
    [
        ("standard", [64, 32, 16, 8, 4, 2]),
        ("no_pool", [64, 32, 32, 16, 8, 4]),
        ("stride1", [64, 64, 32, 16, 8, 4]),
        ("full", [64, 64, 64, 32, 16, 8]),
    ],
)
def test_the_stem_decides_where_the_picture_shrinks(stem, sizes):
    encoder = Encoder("resnet18", "random", 1, stem)
    levels = eval_with(encoder, torch.zeros(1, 1, 64, 64))
    assert [level.shape[-1] for level in levels] == sizes
    assert [level.shape[1] for level in levels] == encoder.channels


def test_a_stem_that_a_model_has_not_is_refused():
    with pytest.raises(UserError, match="only stem 'standard'"):
        Encoder("test_convnext", "random", 3, "no_pool")
    with pytest.raises(UserError, match="has no max-pool"):
        Encoder("test_efficientnet", "random", 3, "no_pool")
