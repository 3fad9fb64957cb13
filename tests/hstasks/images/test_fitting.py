import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hstasks.images.fitting import fit, fitted_size, inside, undo
from hstasks.images.settings import Fit

SIDES = st.integers(1, 40)
BORDERS = st.sampled_from(["edge", "reflect", "zero"])


def image_of(height, width, channels=2):
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(0))


@given(SIDES, SIDES, st.integers(40, 130), BORDERS)
def test_padding_is_undone_exactly(height, width, side, border):
    image, how = image_of(height, width), Fit(pad=side, border=border)
    fitted = fit(image, how)
    assert fitted.shape == (2, side, side)
    assert torch.equal(undo(fitted, (height, width), how), image)
    mask = image[0] > 0.5
    assert torch.equal(undo(fit(mask, how), (height, width), how), mask)
    own = inside((height, width), how)
    assert torch.equal(fitted[:, own].reshape(2, height, width), image)
    assert border != "zero" or not fitted[:, ~own].any()


@given(SIDES, SIDES, st.integers(1, 50), st.none() | st.integers(50, 70), BORDERS)
def test_every_fit_comes_back_to_the_image_size(height, width, resize, pad, border):
    image, how = image_of(height, width), Fit(resize=resize, pad=pad, border=border)
    fitted = fit(image, how)
    assert tuple(fitted.shape[-2:]) == fitted_size((height, width), how) == (pad or resize,) * 2
    assert undo(fitted, (height, width), how).shape == image.shape
    assert undo(fitted, (height, width), how).isfinite().all()


def test_a_tile_of_101_is_padded_by_13_and_14_with_its_mirror_image():
    image = image_of(101, 101, 1)
    fitted = fit(image, Fit(pad=128))
    assert torch.equal(fitted[:, 13:114, 13:114], image)
    assert torch.equal(fitted[:, 13:114, 12], image[:, :, 1])
    assert torch.equal(fitted[:, 127, 13:114], image[:, 86])
    assert torch.equal(fit(image, Fit(pad=128, border="edge"))[:, 13:114, 0], image[:, :, 0])


def test_masks_keep_their_classes_when_resized():
    mask = (torch.arange(100).reshape(10, 10) % 7).to(torch.int64)
    assert fit(mask, Fit(resize=25)).unique().tolist() == list(range(7))
    for size in (4, 25):
        assert fit(mask, Fit(resize=size)).dtype == torch.int64
    assert fit(mask > 3, Fit(resize=20)).dtype == torch.bool


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="40 x 20 pixels cannot be padded to 30"):
        fit(image_of(40, 20), Fit(pad=30))
    with pytest.raises(UserError, match="network's input"):
        undo(image_of(31, 31), (20, 20), Fit(pad=32))
    with pytest.raises(UserError, match="smaller than resize"):
        validated(Fit, {"resize": 40, "pad": 30}, "params.yaml")
