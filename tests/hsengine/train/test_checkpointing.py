import copy

import pytest
import torch
from torch import nn
from toy_task import Toy, trained

from hsengine.base.errors import UserError
from hsengine.train import checkpointing


class Blocks(nn.Module):
    """Blocks with dropout and running statistics, in a list."""

    def __init__(self):
        super().__init__()
        block = [nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)) for _ in range(3)]
        self.body = nn.Sequential(*block)
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        return self.out(self.body(x))


def test_gradients_outputs_and_running_statistics_are_the_same():
    torch.manual_seed(0)
    plain = Blocks()
    model = copy.deepcopy(plain)
    checkpointing.enable(model)
    assert model.state_dict().keys() == plain.state_dict().keys()
    x = torch.rand(5, 4)
    for each in (plain, model):
        for _ in range(2):
            torch.manual_seed(1)
            each(x).sum().backward()
    for name, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    for left, right in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(left.grad, right.grad)
    assert torch.equal(plain.eval()(x), model.eval()(x))


def test_inner_activations_are_not_kept():
    kept = []
    model = Blocks()
    checkpointing.enable(model)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        model(torch.rand(5, 4))
    few = len(kept)
    kept.clear()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        Blocks()(torch.rand(5, 4))
    assert few < len(kept) / 2


def test_a_model_without_blocks_is_told_so(tmp_path):
    with pytest.raises(UserError, match=r"Sequential has no list of blocks .*or take a smaller toy"):
        trained(tmp_path, Toy(), gradient_checkpointing=True)
