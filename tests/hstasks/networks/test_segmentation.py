import pytest
import torch

from hsengine.base.errors import UserError
from hstasks.networks import build, names, parameters

RANDOM = {"weights": "random"}
RESNET = {**RANDOM, "encoder": "test_resnet"}


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("unet", RESNET),
        ("unet", {**RANDOM, "encoder": "test_convnext", "presence": True}),
        ("unet", {**RESNET, "scse": True, "activation": "elu", "dropout": 0.2, "encoder_scse": True}),
        ("unet", {**RESNET, "hypercolumn": True, "deep_supervision": True, "presence": True}),
        ("unetplusplus", {**RESNET, "decoder_channels": [32, 16, 16, 8, 8], "presence": True}),
        ("fpn", {**RESNET, "pyramid_channels": 16, "segmentation_channels": 32, "presence": True}),
        ("deeplabv3plus", {**RESNET, "decoder_channels": 16, "presence": True}),
        ("deeplabv3plus", {**RESNET, "decoder_channels": 16, "output_stride": 8}),
        ("segformer", {**RESNET, "decoder_channels": 16, "presence": True}),
        ("unetformer", {**RESNET, "decoder_channels": 16, "window": 4, "heads": 2, "deep_supervision": True}),
        ("unet_small", {"width": 4, "depth": 4, "deep_supervision": True, "presence": True}),
        ("unet_small", {"width": 4, "depth": 3, "stem_stride": 1, "scse": False, "blocks": 1}),
        ("seed_unet", RANDOM),
    ],
)
def test_every_network_gives_masks_of_the_pictures_size_and_trains_all_its_parts(name, params):
    torch.manual_seed(0)
    network = build(name, params, 4, 3)
    output = network(torch.rand(2, 4, 37, 45))
    assert output.logits.shape == (2, 3, 37, 45)
    assert all(side.shape == output.logits.shape for side in output.auxiliary)
    assert bool(output.auxiliary) == params.get("deep_supervision", False)
    assert (output.presence is not None) == params.get("presence", False)
    loss = sum((side**2).mean() for side in [output.logits, *output.auxiliary])
    if output.presence is not None:
        assert output.presence.shape == (2,)
        loss = loss + (output.presence**2).mean()
    loss.backward()
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []


def test_windows_of_attention_take_pictures_of_any_size():
    network = build("unetformer", {**RANDOM, "encoder": "swin_tiny_patch4_window7_224", "decoder_channels": 16}, 3, 2)
    with torch.no_grad():
        assert network.eval()(torch.rand(1, 3, 50, 70)).logits.shape == (1, 2, 50, 70)


def test_the_published_unet_works_at_a_quarter_of_the_picture():
    network = build("seed_unet", RANDOM, 3, 1).eval()
    sizes = []
    network.head.register_forward_hook(lambda module, given, output: sizes.append(output.shape))
    with torch.no_grad():
        assert network(torch.rand(1, 3, 128, 128)).logits.shape == (1, 1, 128, 128)
    assert sizes == [(1, 1, 32, 32)]
    assert [block.conv[0].in_channels for block in network.decoder] == [512 + 256, 256 + 128, 128 + 64, 64 + 64]
    assert [block.conv[2].out_channels for block in network.decoder] == [256, 128, 64, 64]


def test_the_published_unet_of_resnet50_has_its_skips():
    network = build("seed_unet", {**RANDOM, "encoder": "resnet50"}, 1, 1)
    assert [block.conv[0].in_channels for block in network.decoder] == [2048 + 1024, 256 + 512, 128 + 256, 64 + 64]


def test_networks_are_listed_by_kind():
    assert "unet_small" in names("segmentation")
    assert "convnextv2_nano" in names("classification")
    assert "fused" in names("regression")
    assert set(names()) == {*names("segmentation"), *names("classification"), *names("regression")}


def test_parameters_are_completed_with_the_defaults():
    assert parameters("unet_small", {"width": 16})["width"] == 16
    assert "in_channels" not in parameters("unet_small", {})


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("unet_smal", {}, r"close: unet_small"),
        ("unet", {"encodr": "resnet34"}, "did you mean 'encoder'"),
        ("unet", {"stem": "none"}, "stem: 'none' is not allowed"),
        ("unet", {**RESNET, "decoder_channels": [8, 8]}, "five widths"),
        ("unetformer", {**RESNET, "decoder_channels": 20, "heads": 8}, "8 heads do not divide"),
    ],
)
def test_what_cannot_be_built_is_named(name, params, said):
    with pytest.raises(UserError, match=said):
        build(name, params, 3, 1)
