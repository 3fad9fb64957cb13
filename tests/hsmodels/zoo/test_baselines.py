import pytest
import torch

from hsmodels import zoo

BANDS = 4


@pytest.fixture
def light():
    """Mosaics of scenes whose cubes are linear in their linear light."""
    torch.manual_seed(0)
    mixture = torch.rand(BANDS, 3)

    def batches():
        for _ in range(3):
            rgb = torch.rand(2, 3, 16, 16)
            yield rgb, torch.einsum("bc,nchw->nbhw", mixture, rgb)

    return batches


def test_ridge_finds_a_linear_map(light):
    model = zoo.build("ridge", out_channels=BANDS, upscale_factor=1, encoding="linear")
    model.fit(light())
    rgb, cube = next(light())
    torch.testing.assert_close(model(rgb), cube, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("name", ["ridge", "kernel_ridge", "mean_spectrum"])
@pytest.mark.parametrize("track", [1, 2])
def test_baselines_are_fitted_on_the_batches_of_their_tracks(name, track):
    torch.manual_seed(0)
    model = zoo.for_track(name, track, {}, bands=BANDS)
    assert zoo.is_closed_form(model)
    batch = torch.full((1, 1, 16, 16), 0.5) if track == 1 else torch.full((1, 3, 8, 8), 0.5)
    cube = torch.full((1, BANDS, 16, 16), 0.25)
    zoo.fit(model, [(batch, cube)])
    torch.testing.assert_close(model(batch), cube, atol=1e-3, rtol=1e-2)
    assert not [parameter for parameter in model.parameters() if parameter.requires_grad]


def test_the_mean_spectrum_is_scaled_by_brightness():
    model = zoo.build("mean_spectrum", out_channels=BANDS, upscale_factor=1, encoding="linear")
    spectrum = torch.arange(1.0, 1.0 + BANDS)
    model.fit([(torch.full((1, 3, 4, 4), 0.5), 0.5 * spectrum[None, :, None, None].expand(1, -1, 4, 4))])
    torch.testing.assert_close(model(torch.full((1, 3, 1, 1), 0.2)).flatten(), 0.2 * spectrum)
