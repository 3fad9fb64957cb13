import torch

from hsdata.camera import colour
from hsmodels import zoo

BANDS = 4


def scenes(seed=0, count=6):
    """Linear photos of materials whose spectra follow from their chromaticity, times their brightness."""
    generator = torch.Generator().manual_seed(seed)
    curves = torch.rand(BANDS, 3, generator=torch.Generator().manual_seed(7))
    for _ in range(count):
        rgb = 0.2 + 0.6 * torch.rand(1, 3, 12, 12, generator=generator)
        shape = (rgb / rgb.sum(dim=1, keepdim=True)).square() * rgb.sum(dim=1, keepdim=True)
        yield rgb, torch.einsum("bc,nchw->nbhw", curves, shape)


def error(model):
    return sum(float((model(rgb) - cube).abs().mean()) for rgb, cube in scenes(seed=1)) / 6


def fitted(name="kernel_sum", given=None, **params):
    model = zoo.build(name, out_channels=BANDS, upscale_factor=1, encoding="linear", **params)
    model.fit(scenes() if given is None else given)
    return model.eval()


def test_it_learns_spectra_that_follow_from_chromaticity():
    assert error(fitted(lowest=0.0)) < 0.7 * error(fitted("ridge"))


def test_the_second_kernel_alone_gives_half_the_spectrum_for_half_the_light():
    model, (rgb, _) = fitted(penalty=1e6, alpha=1e6, lowest=0.0), next(scenes(seed=1))
    assert float((model(0.5 * rgb) - 0.5 * model(rgb)).abs().mean()) < 0.25 * float(model(rgb).mean())


def test_two_fits_are_equal_to_the_bit():
    first, second = (fitted(centres=50, pixels=30).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_fewer_pixels_than_centres_do():
    model = fitted(centres=500, pixels=20)
    assert torch.isfinite(model.coefficients).all() and torch.isfinite(model.shape_coefficients).all()
    assert error(model) < error(fitted("mean_spectrum"))


def test_nothing_below_the_lowest_reflectance_is_predicted():
    model = fitted(lowest=0.05)
    assert float(model(torch.zeros(1, 3, 12, 12)).min()) >= 0.05 - 1e-6
    assert float(fitted(lowest=0.0)(next(scenes())[0]).min()) >= 0.0


def test_strips_of_an_image_give_what_the_whole_gives(monkeypatch):
    model, (rgb, _) = fitted(), next(scenes(seed=1))
    whole = model(rgb)
    monkeypatch.setattr("hsmodels.zoo.pixels.AT_ONCE", 1)
    sums = model.coefficients.abs().sum(dim=0) + model.shape_coefficients.abs().sum(dim=0)
    rounding = torch.finfo(whole.dtype).eps * float(sums.max())
    torch.testing.assert_close(model(rgb), whole, rtol=0.0, atol=rounding)


def test_it_computes_in_float32_under_autocast():
    model, (rgb, _) = fitted(), next(scenes(seed=1))
    with torch.autocast("cpu", torch.bfloat16):
        inside = model(rgb)
    assert torch.equal(inside, model(rgb))


def test_what_it_keeps_of_many_images_is_bounded(monkeypatch):
    all_of_them = error(fitted(pixels=100))
    monkeypatch.setattr("hsmodels.zoo.pixels.KEPT", 300)
    model = fitted(pixels=100)
    assert (model.centres[:, 0] < 1e3).sum() <= 300
    assert error(model) < 5 * all_of_them


def test_it_takes_the_input_of_either_track_and_doubles_a_photo():
    for track, batch in ((1, torch.rand(1, 1, 16, 16)), (2, torch.rand(1, 3, 8, 8))):
        model = zoo.for_track("kernel_sum", track, {"centres": 20}, bands=BANDS)
        zoo.fit(model, [(batch, torch.rand(1, BANDS, 16, 16))])
        assert model(batch).shape == (1, BANDS, 16, 16)


def test_its_brightness_is_that_of_the_standard_observer():
    from hsmodels.zoo.kernel_sum import _brightness

    light = torch.rand(1, 3, 2, 2)
    wanted = torch.einsum("c,nchw->nhw", torch.tensor(colour.RGB_TO_XYZ[1]).float(), light)
    torch.testing.assert_close(_brightness(light)[:, 0], wanted)
