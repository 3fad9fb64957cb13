import torch

from hsmodels import zoo

BANDS = 4


def scenes(seed=0, count=6):
    """Photos of two kinds of scenes: the same colours stand for other spectra in a bright one than in a dark one."""
    generator = torch.Generator().manual_seed(seed)
    mixtures = torch.rand(2, BANDS, 3, generator=torch.Generator().manual_seed(7))
    for number in range(count):
        bright = number % 2
        rgb = 0.3 + 0.2 * torch.rand(1, 3, 16, 16, generator=generator) + 0.3 * bright
        rgb[..., 4:12, 4:12] = 0.3 + 0.4 * torch.rand(1, 3, 8, 8, generator=generator)
        yield rgb, torch.einsum("bc,nchw->nbhw", mixtures[bright], rgb)


def error(model):
    return sum(float((model(rgb) - cube).abs().mean()) for rgb, cube in scenes(seed=1)) / 6


def fitted(name, **params):
    model = zoo.build(name, out_channels=BANDS, upscale_factor=1, encoding="linear", **params)
    model.fit(scenes())
    return model.eval()


def test_it_knows_in_which_kind_of_scene_a_colour_lies():
    assert error(fitted("kernel_ridge")) < 0.3 * error(fitted("ridge"))


def test_two_fits_are_equal_to_the_bit():
    first, second = (fitted("kernel_ridge", centres=50, pixels=30).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_fewer_pixels_than_centres_do():
    model = fitted("kernel_ridge", centres=500, pixels=20)
    assert torch.isfinite(model.coefficients).all()
    assert error(model) < error(fitted("mean_spectrum"))


def test_strips_of_an_image_give_what_the_whole_gives(monkeypatch):
    model, (rgb, _) = fitted("kernel_ridge"), next(scenes(seed=1))
    whole = model(rgb)
    monkeypatch.setattr("hsmodels.zoo.pixels.AT_ONCE", 1)
    # What is summed, kernels of at most 1 times coefficients of either sign, is far larger than the sum, and the order
    # of summation is the processor's: the rounding is that of the summands.
    rounding = torch.finfo(whole.dtype).eps * float(model.coefficients.abs().sum(dim=0).max())
    torch.testing.assert_close(model(rgb), whole, rtol=0.0, atol=rounding)


def test_it_computes_in_float32_under_autocast():
    model, (rgb, _) = fitted("kernel_ridge"), next(scenes(seed=1))
    with torch.autocast("cpu", torch.bfloat16):
        inside = model(rgb)
    assert torch.equal(inside, model(rgb))


def test_what_it_keeps_of_many_images_is_bounded(monkeypatch):
    all_of_them = error(fitted("kernel_ridge", pixels=200))
    monkeypatch.setattr("hsmodels.zoo.pixels.KEPT", 300)
    model = fitted("kernel_ridge", pixels=200)
    assert (model.centres[:, 0] < 1e3).sum() <= 300
    assert error(model) < 3 * all_of_them
