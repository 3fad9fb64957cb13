import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hstasks.biomass import augment
from hstasks.biomass.params import Blur, Changes, Colour, RandAugment, Window

EVERYTHING = Changes(
    hflip=0.5,
    colour=Colour(p=1.0, hue=40.0, saturation=0.1, value=0.1, tint=0.05),
    blur=Blur(p=1.0),
    window=Window(p=1.0),
    randaugment=RandAugment(ops=2),
)


@settings(max_examples=15)
@given(seed=st.integers(0, 99), draw=st.integers(0, 9))
def test_changes_follow_from_the_key_and_keep_size_and_range(seed: int, draw: int) -> None:
    picture = torch.rand(3, 16, 32, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(draw)
    first = augment.changed(picture.clone(), EVERYTHING, (seed, 1, "a", draw))
    torch.manual_seed(draw + 1)
    again = augment.changed(picture.clone(), EVERYTHING, (seed, 1, "a", draw))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert first.shape == picture.shape
    assert first.min() >= 0
    assert first.max() <= 1


@pytest.mark.parametrize("name", augment._CHANGES)
def test_each_change_of_randaugment_gives_a_picture(name: str) -> None:
    picture = torch.rand(3, 16, 32)
    changed = augment._CHANGES[name](picture, 0.3, -1.0)
    assert changed.shape == picture.shape
    assert changed.isfinite().all()


def test_nothing_asked_for_changes_nothing() -> None:
    picture = torch.rand(3, 16, 32)
    torch.testing.assert_close(augment.changed(picture, Changes(), (0, 1, "a", 0)), picture, rtol=0, atol=0)
