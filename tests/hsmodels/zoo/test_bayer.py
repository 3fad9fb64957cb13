import torch

from hsmodels.zoo import bayer

PLANE = torch.arange(24.0).reshape(1, 1, 4, 6)


def test_masks_follow_rggb_and_cover_each_pixel_once():
    red, green, blue = bayer.masks(PLANE)
    assert red[0, 0] == green[0, 1] == green[1, 0] == blue[1, 1] == 1
    assert torch.equal(red + green + blue, torch.ones(4, 6))


def test_a_packed_plane_holds_red_two_greens_and_blue():
    packed = bayer.packed(PLANE)
    assert packed.shape == (1, 4, 2, 3)
    assert packed[0, :, 0, 0].tolist() == [0, 1, 6, 7]


def test_sampling_keeps_each_pixels_own_colour():
    rgb = torch.rand(2, 3, 4, 6)
    plane = bayer.sample(rgb)
    assert torch.equal(plane[:, 0, 0, 0], rgb[:, 0, 0, 0])
    assert torch.equal(plane[:, 0, 0, 1], rgb[:, 1, 0, 1])
    assert torch.equal(plane[:, 0, 1, 1], rgb[:, 2, 1, 1])


def test_demosaicking_keeps_what_is_known_and_a_flat_colour():
    flat = torch.tensor([0.2, 0.5, 0.7])[None, :, None, None].expand(1, 3, 6, 8)
    torch.testing.assert_close(bayer.demosaic(bayer.sample(flat)), flat.contiguous())
    rgb = torch.rand(1, 3, 6, 8)
    plane = bayer.sample(rgb)
    torch.testing.assert_close(bayer.sample(bayer.demosaic(plane)), plane)
