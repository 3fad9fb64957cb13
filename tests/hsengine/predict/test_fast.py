import copy

import torch
from torch import nn

from hsengine.predict.fast import hastened


def _network():
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), nn.BatchNorm2d(8, affine=False), nn.ReLU(inplace=True))
    layers = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), inner]
    network = nn.Sequential(
        *layers, nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)
    )
    for _ in range(3):
        network(torch.randn(16, 3, 9, 9) * 2.0 + 1.0)
    return network.eval()


def test_a_hastened_network_says_the_same():
    network, images = _network(), torch.randn(4, 3, 9, 9)
    fast = hastened(copy.deepcopy(network))
    with torch.no_grad():
        torch.testing.assert_close(fast(images), network(images), atol=1e-5, rtol=1e-5)


def test_normalisations_that_follow_a_convolution_are_folded_and_no_others():
    fast = hastened(_network())
    assert [type(part).__name__ for part in fast.modules() if isinstance(part, nn.BatchNorm2d | nn.Identity)] == [
        "Identity",
        "Identity",
        "BatchNorm2d",
        "BatchNorm2d",
    ]
