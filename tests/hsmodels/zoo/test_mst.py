import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hsmodels import zoo
from hsmodels.zoo import attention, feed_forward, mst, precision
from hsmodels.zoo.convolution import convolve

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from textbook_mst import TextbookMST

CONFIG = {"in_channels": 3, "out_channels": 5, "n_feat": 5, "stage": 2, "upscale_factor": 2}


@pytest.fixture
def pair():
    torch.manual_seed(0)
    textbook = TextbookMST(**CONFIG)
    ours = zoo.build("mst_plus_plus_up", **CONFIG)
    ours.load_state_dict(textbook.state_dict())
    return textbook, ours


@pytest.mark.parametrize("size", [(8, 8), (9, 20), (24, 17)])
def test_outputs_equal_the_textbook(pair, size):
    textbook, ours = pair
    x = torch.rand(2, 3, *size)
    torch.testing.assert_close(ours(x), textbook(x), atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), textbook(x), atol=1e-5, rtol=1e-5)


def test_gradients_equal_the_textbook_in_float64(pair, monkeypatch):
    monkeypatch.setattr(feed_forward, "_CPU_ELEMENTS", 4 * 5 * 16 * 5)
    textbook, ours = (model.double() for model in pair)
    x = torch.rand(2, 3, 24, 16, dtype=torch.float64)
    given_ours, given_textbook = x.clone().requires_grad_(), x.clone().requires_grad_()
    for model, start in ((ours, given_ours), (textbook, given_textbook)):
        model(start).square().mean().backward()
    torch.testing.assert_close(given_ours.grad, given_textbook.grad, atol=1e-10, rtol=1e-8)
    for (key, mine), theirs in zip(ours.named_parameters(), textbook.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-10, rtol=1e-8, msg=key)


def test_strips_do_not_change_the_feed_forward(monkeypatch):
    torch.manual_seed(0)
    layer, x = attention.NormedFeedForward(4), torch.randn(2, 17, 6, 4)
    with torch.no_grad():
        whole = layer(x)
        monkeypatch.setattr(feed_forward, "_CPU_ELEMENTS", 4 * 6 * 16)
        torch.testing.assert_close(layer(x), whole)


def test_features_other_than_the_bands_are_allowed():
    assert zoo.build("mst_plus_plus_up", n_feat=4, stage=1, out_channels=7)(torch.rand(1, 3, 8, 8)).shape[1] == 7


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20))
def test_images_of_any_size_are_padded_by_mirroring(height, width):
    x = torch.rand(1, 2, height, width)
    padded = mst.padded(x)
    assert padded.shape[2] % 8 == padded.shape[3] % 8 == 0
    assert torch.equal(padded[..., :height, :width], x)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 8)])
def test_tiny_images_pass(size):
    out = zoo.build("mst_plus_plus_up", **CONFIG)(torch.rand(1, 3, *size))
    assert out.shape[2:] == (2 * size[0], 2 * size[1])


def test_fp16_does_not_overflow_in_the_gram_matrix():
    layer = attention.SpectralAttention(4, 1)
    x = torch.full((1, 64, 64, 4), 30.0)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.float16):
        assert layer(x).isfinite().all()


def test_dark_images_have_finite_gradients():
    model = zoo.build("mst_plus_plus_up", **CONFIG)
    model(torch.zeros(1, 3, 8, 8)).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 2)])
@pytest.mark.parametrize("bias", [False, True])
def test_the_weights_gradient_by_products_is_that_of_the_convolution(kernel, stride, bias):
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 7, kernel, stride, padding=1, bias=bias).double()
    x = torch.randn(2, 5, 200, 24, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    made, plain = convolve(x, layer), layer(x)
    tensors, grad = [x, *layer.parameters()], torch.randn_like(made)
    found = torch.autograd.grad(made, tensors, grad)
    torch.testing.assert_close(found, torch.autograd.grad(plain, tensors, grad))


def test_an_unused_upsampler_is_frozen_and_may_be_absent_from_a_state():
    without = zoo.build("mst_plus_plus", n_feat=4, out_channels=4, stage=1)
    having = zoo.build("mst_plus_plus", n_feat=4, out_channels=4, stage=1, upscale_factor=1)
    assert not any(parameter.requires_grad for parameter in having.upsampler.parameters())
    state = having.state_dict()
    without.load_state_dict(state)
    assert list(without.state_dict()) == list(state)
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(without(x), having(x))


def test_compiled_in_one_graph_it_computes_the_same():
    torch._dynamo.reset()
    torch.manual_seed(0)
    ours, x = zoo.build("mst_plus_plus_up", **{**CONFIG, "stage": 1}), torch.rand(1, 3, 8, 16)
    found, wanted = torch.compile(ours, backend="eager", fullgraph=True)(x), ours(x)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    weights = list(ours.parameters())
    mine, theirs = (torch.autograd.grad(out.square().sum(), weights) for out in (found, wanted))
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


def test_half_precision_that_is_only_emulated_is_not_used(pair, monkeypatch):
    _, ours = pair
    x = torch.rand(1, 3, 8, 8)
    monkeypatch.setitem(precision._NATIVE, torch.bfloat16, False)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = ours(x)
    assert found.dtype == torch.float32
    with torch.inference_mode():
        torch.testing.assert_close(found, ours(x))


def test_gradients_in_bf16_are_those_of_float32_to_its_accuracy(pair, monkeypatch):
    monkeypatch.setitem(precision._NATIVE, torch.bfloat16, True)
    monkeypatch.setattr(feed_forward, "_CPU_ELEMENTS", 4 * 5 * 16 * 5)
    _, ours = pair
    x, found = torch.rand(1, 3, 24, 16), []
    for enabled in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = ours(x).float().square().mean()
        found.append(torch.autograd.grad(loss, list(ours.parameters())))
    mine, theirs = (torch.cat([grad.flatten() for grad in grads]) for grads in found)
    assert (mine - theirs).norm() <= 0.05 * theirs.norm()
