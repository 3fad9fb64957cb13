import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hstasks.images.settings import Affine, Augment, Light, Noise
from hstasks.images.transforms import augmented

KEY = (0, 3, "a", 0)
FLIPS = Augment(hflip=0.5, vflip=0.5, rot90=0.5, dihedral=0.5)
PUBLISHED = Augment(
    hflip=0.5,
    vflip=0.5,
    rot90=0.5,
    affine=[Affine(p=0.5, shift=0.1, scale=0.1, rotate=15)],
    light=Light(p=0.2, brightness=0.2, contrast=0.2),
)
ALL = Augment(
    hflip=0.5,
    affine=[
        Affine(p=0.6, shift=0.16, scale=0.6, border="reflect"),
        Affine(p=0.6, shear=0.07),
        Affine(p=0.6, rotate=15, border="edge", border_valid=False),
    ],
    light=Light(p=0.5),
    noise=Noise(p=0.5),
    crop=20,
)


def sample(height=24, width=24):
    image = torch.rand(2, height, width, generator=torch.Generator().manual_seed(1))
    return image, (image[0] > 0.5).to(torch.int64)


@pytest.mark.parametrize("settings", [FLIPS, PUBLISHED, ALL])
def test_a_key_decides_what_happens(settings):
    image, mask = sample()
    for draw in range(20):
        first = augmented(image, mask, None, settings, (0, 1, "a", draw))
        again = augmented(image, mask, None, settings, (0, 1, "a", draw))
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    others = [(1, 1, "a", 0), (0, 2, "a", 0), (0, 1, "b", 0), (0, 1, "a", 1), (0, 1, "a", 2), (0, 1, "a", 3)]
    shown = {augmented(image, mask, None, settings, key)[0].numpy().tobytes() for key in others}
    assert len(shown) > 1


@given(draw=st.integers(0, 500))
def test_mask_and_validity_go_with_the_image_by_whole_pixels(draw):
    places = torch.arange(6.0 * 9).reshape(1, 6, 9)
    settings = FLIPS.model_copy(update={"crop": 4})
    image, mask, valid = augmented(places, places[0].long(), places[0] % 2 == 0, settings, (0, 0, "a", draw))
    assert torch.equal(image[0].long(), mask)
    assert torch.equal(valid, mask % 2 == 0)


def test_every_flip_and_turn_is_drawn_about_as_often():
    image = torch.arange(4.0).reshape(1, 2, 2)
    for settings, kinds in ((Augment(dihedral=1.0), 8), (Augment(rot90=1.0), 4), (Augment(hflip=0.5), 2)):
        drawn = [augmented(image, None, None, settings, (0, 0, "a", d))[0].numpy().tobytes() for d in range(800)]
        counts = np.unique(drawn, return_counts=True)[1]
        assert len(counts) == kinds
        assert counts.min() > 0.7 * 800 / kinds


def test_beyond_a_zero_border_the_mask_is_empty_and_validity_as_set():
    image, mask = torch.ones(1, 20, 20), torch.ones(20, 20, dtype=torch.int64)
    for outside in (True, False):
        settings = Augment(affine=[Affine(shift=0.5, border_valid=outside)])
        seen, labels, valid = augmented(image, mask, None, settings, KEY)
        assert 0 < int(labels.sum()) < labels.numel()
        assert valid[labels == 1].all()
        assert bool(valid[labels == 0].all()) == outside
        assert seen[0][labels == 0].max() <= 0.5


@pytest.mark.parametrize("border", ["edge", "reflect"])
def test_a_repeated_border_leaves_no_hole_however_far(border):
    image = torch.full((1, 20, 30), 0.7)
    settings = Augment(affine=[Affine(shift=1.0, scale=0.9, rotate=180, border=border)])
    for draw in range(30):
        seen, _, valid = augmented(image, None, None, settings, (0, 0, "a", draw))
        torch.testing.assert_close(seen, image)
        assert valid.all()


def test_what_was_invalid_stays_invalid_wherever_it_is_repeated():
    image, valid = torch.zeros(1, 20, 20), torch.ones(20, 20, dtype=torch.bool)
    valid[:, :10] = False
    image[0, :, 10:] = 1.0
    settings = Augment(affine=[Affine(shift=0.4, border="reflect")])
    for draw in range(10):
        seen, _, inside = augmented(image, image[0].long(), valid, settings, (0, 0, "a", draw))
        sure = (seen[0] < 0.01) | (seen[0] > 0.99)
        assert torch.equal((seen[0] > 0.5)[sure], inside[sure])


def test_a_shift_moves_and_a_scale_enlarges_about_the_centre():
    image = torch.zeros(1, 41, 61)
    image[0, 15:26, 25:36] = 1.0
    areas = []
    for draw in range(60):
        moved = augmented(image, None, None, Augment(affine=[Affine(shift=0.1)]), (0, 0, "a", draw))[0][0]
        rows, columns = torch.nonzero(moved > 0.5, as_tuple=True)
        assert abs(float(rows.float().mean()) - 20) <= 4.6
        assert abs(float(columns.float().mean()) - 30) <= 6.6
        grown = augmented(image, None, None, Augment(affine=[Affine(scale=0.5)]), (0, 0, "a", draw))[0][0]
        areas.append(float(grown.sum()) / 121)
        assert float((grown - grown.flip(-1)).abs().max()) < 1e-4
    assert 0.2 < min(areas) < 0.5
    assert 1.8 < max(areas) < 2.4


def test_light_is_contrast_times_image_plus_brightness():
    image, mask = sample()
    settings = Augment(light=Light(p=1.0), clip=False)
    changed, labels, _ = augmented(image, mask, None, settings, KEY)
    assert torch.equal(labels, mask)
    design = torch.stack([image.flatten(), torch.ones(image.numel())], 1)
    slope, offset = torch.linalg.lstsq(design, changed.flatten()[:, None]).solution.flatten().tolist()
    assert abs(slope - 1) <= 0.2
    assert abs(offset) <= 0.2
    torch.testing.assert_close(changed, slope * image + offset, atol=1e-5, rtol=0)


def test_setting_one_step_leaves_the_choices_of_the_others():
    image, _ = sample()
    plain = augmented(image, None, None, Augment(dihedral=1.0), KEY)[0]
    noisy = augmented(image, None, None, Augment(dihedral=1.0, noise=Noise(p=1.0, sigma=1e-3)), KEY)[0]
    assert not torch.equal(plain, noisy)
    torch.testing.assert_close(noisy, plain, atol=0.01, rtol=0)


def test_nothing_asked_for_changes_nothing_and_no_argument_is_written_into():
    image, mask = sample()
    image[0, 0, 0] = 7.0
    copies = image.clone(), mask.clone()
    assert torch.equal(augmented(image, mask, None, Augment(), KEY)[0], image)
    for draw in range(10):
        augmented(image, mask, None, ALL, (0, 0, "a", draw))
    assert torch.equal(image, copies[0])
    assert torch.equal(mask, copies[1])


def test_an_image_smaller_than_the_crop_is_named():
    with pytest.raises(UserError, match=r"tile_7 has 10 x 24 pixels: set augment\.crop to 10"):
        augmented(torch.zeros(1, 10, 24), None, None, Augment(crop=12), (0, 0, "tile_7", 0))
