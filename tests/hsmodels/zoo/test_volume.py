from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from hsmodels.zoo.volume import VolumeConvolution, folded, folds


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 2),
    depth=st.integers(1, 4),
    side=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    seed=st.integers(0, 999),
)
def test_folded_convolutions_equal_those_of_volumes(batch: int, depth: int, side: int, stride: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 2, depth, 6, 8, generator=random, dtype=torch.float64)
    weight = torch.randn(3, 2, side, side, side, generator=random, dtype=torch.float64)
    bias = torch.randn(3, generator=random, dtype=torch.float64)

    expected = F.conv3d(x, weight, bias, (1, stride, stride), side // 2)

    torch.testing.assert_close(folded(x, weight, bias, stride), expected, rtol=1e-12, atol=1e-12)


def test_gradients_of_folded_convolutions_pass_finite_differences() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, dtype=torch.float64, requires_grad=True)

    assert gradcheck(folded, (x, weight, bias))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_gives_the_same_whichever_way_it_computes(batch: int, training: bool) -> None:
    torch.manual_seed(0)
    layer = VolumeConvolution(4, 6, 3, stride=2).requires_grad_(training)
    x = torch.randn(batch, 4, 3, 16, 16)

    assert folds(x, training) == (training or batch == 1)
    torch.testing.assert_close(layer(x), F.conv3d(x, layer.weight, layer.bias, (1, 2, 2), 1), rtol=1e-5, atol=1e-6)
