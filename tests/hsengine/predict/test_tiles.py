"""Scenes in strips of windows."""

import pytest
import torch
import torch.nn.functional as F

from hsengine.predict import tiles


def _output(run, scene, tile, overlap):
    sizes = []

    def read(rows, columns):
        window = scene[:, rows.start : rows.stop, columns.start : columns.stop]
        sizes.append(window.numel())
        return window

    found = list(tiles.strips(run, read, tuple(scene.shape[1:]), tile, overlap))
    assert max(sizes) <= len(scene) * tile * tile
    assert max(strip.shape[1] for strip in found) <= tile * found[0].shape[2] // scene.shape[2]
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("size", [(16, 16), (40, 96), (57, 33), (130, 20)])
@pytest.mark.parametrize("scale", [1, 2])
def test_strips_of_what_sees_single_pixels_are_the_scene(size, scale):
    scene = torch.rand(3, *size)

    def run(batch):
        return F.interpolate(batch * 2 - 1, scale_factor=scale)

    torch.testing.assert_close(_output(run, scene, 24, 8), run(scene[None])[0])


def test_windows_count_less_towards_their_borders():
    """A model that knows where in its window a pixel is: the scene shows its middle, and nowhere a jump."""

    def run(batch):
        height, width = batch.shape[-2:]
        ramp = torch.linspace(-1, 1, width).abs()
        return ramp.expand(1, 1, height, width).clone()

    found = _output(run, torch.zeros(1, 32, 160), 32, 16)
    middle = found[0, 0, 24:-24]
    assert float(middle.max()) < 0.6
    assert float(middle.diff().abs().max()) < 0.1
