import pytest
import torch

from hsengine.base.errors import UserError
from hsmodels import zoo
from hsmodels.zoo import bayer, precision, reversible


def plainly(blocks, x, n_split):
    weights = [weight for block in blocks for weight in block.parameters()]
    return reversible.run_plainly(x, n_split, weights)


def gradients(model, x, dtype=None):
    start = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        loss = model(start).float().square().sum() if dtype else model(start).square().sum()
    return torch.autograd.grad(loss, [start, *model.parameters()])


@pytest.mark.parametrize("name", ["revsci_rgb", "revsci2_rgb"])
@pytest.mark.parametrize("n_split", [2, 4, 8])
def test_reversible_gradients_are_those_of_autograd(name, n_split, monkeypatch):
    torch.manual_seed(0)
    model, x = zoo.build(name, n_blocks=3, n_split=n_split).double(), torch.rand(1, 1, 6, 8, dtype=torch.float64)
    found = gradients(model, x)
    monkeypatch.setattr(reversible, "run", plainly)
    torch.testing.assert_close(found, gradients(model, x), atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_many_blocks_lose_nothing_in_single_and_mixed_precision(dtype, monkeypatch):
    monkeypatch.setitem(precision._NATIVE, dtype, True)
    torch.manual_seed(0)
    model, x = zoo.build("revsci2_rgb", n_blocks=24), torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        for weight in model.layers.parameters():
            weight.mul_(1.5)
    found = gradients(model, x, dtype)
    monkeypatch.setattr(reversible, "run", plainly)
    for mine, theirs in zip(found, gradients(model, x, dtype), strict=True):
        assert (mine - theirs).norm() <= 1e-5 * theirs.norm()


def kept_bytes(n_blocks):
    model, sizes = zoo.build("revsci2_rgb", n_blocks=n_blocks), []
    weights = {parameter.data_ptr() for parameter in model.parameters()}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.rand(1, 1, 16, 16))
    return sum(sizes)


def test_activations_that_are_kept_do_not_grow_with_the_number_of_blocks():
    assert kept_bytes(4) == kept_bytes(24)


def test_a_plane_alone_gets_its_masks():
    model, plane = zoo.build("revsci_rgb", n_blocks=1).eval(), torch.rand(1, 1, 8, 6)
    with torch.no_grad():
        torch.testing.assert_close(model(plane), model(bayer.with_masks(plane)))


def test_old_mode_takes_a_plane_only():
    model = zoo.build("revsci_rgb", n_blocks=1, old_mode=True)
    assert model(torch.rand(1, 1, 4, 4)).shape == (1, 3, 4, 4)
    with pytest.raises(UserError, match="takes one plane, not 4 channels"):
        model(torch.rand(1, 4, 4, 4))


@pytest.mark.parametrize("n_split", [1, 3, 128])
def test_groups_that_do_not_divide_the_channels_are_refused(n_split):
    with pytest.raises(UserError, match="2, 4, 8, 16, 32, 64 groups"):
        zoo.build("revsci_rgb", n_split=n_split)


def test_doubling_goes_by_way_of_a_mosaic():
    torch.manual_seed(0)
    model, rgb = zoo.build("revsci_rgb_up", n_blocks=1), torch.rand(1, 3, 5, 7)
    raised = torch.nn.functional.interpolate(rgb, scale_factor=2.0, mode="bicubic", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(model(rgb), model[1](bayer.with_masks(bayer.sample(raised))))


def test_torch_compile_leaves_the_blocks_to_themselves():
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, x = zoo.build("revsci2_rgb", n_blocks=2), torch.rand(1, 1, 8, 8)
    found = gradients(torch.compile(model, backend="aot_eager"), x)
    torch.testing.assert_close(found, gradients(model, x), atol=1e-5, rtol=1e-4)
