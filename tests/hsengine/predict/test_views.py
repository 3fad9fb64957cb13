"""Views of images and their way back."""

import numpy as np
import pytest
import torch

from hsengine.predict import run, views


@pytest.mark.parametrize("k", range(8))
@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_dihedral_has_an_inverse(k: int, make: object) -> None:
    values = make(np.random.default_rng(k).random((2, 3, 4, 6)))  # type: ignore[operator]
    turned = views.dihedral(values, k)
    assert tuple(turned.shape[-2:]) == ((6, 4) if k & 4 else (4, 6))
    np.testing.assert_array_equal(views.undo_dihedral(turned, k), values)


def test_the_eight_dihedral_views_differ() -> None:
    values = np.arange(9).reshape(3, 3)
    assert len({views.dihedral(values, k).tobytes() for k in range(8)}) == 8


def test_the_mean_over_views_is_taken_in_place():
    def right(image):
        """Each pixel's right neighbour, around the border."""
        return image.roll(-1, dims=-1)

    image = torch.rand(1, 3, 4, 6)
    both = (image.roll(-1, dims=-1) + image.roll(1, dims=-1)) / 2
    torch.testing.assert_close(views.averaged(right, image, views.FLIP_COLUMNS), both)


def test_what_is_averaged_is_what_the_activation_makes():
    model = torch.nn.Conv2d(3, 2, 3, padding=1)
    image = torch.rand(3, 8, 12)
    found = run.apply(model, image, views=views.FLIP_COLUMNS, activation=torch.sigmoid)
    with torch.no_grad():
        each = [undo(torch.sigmoid(model(do(image[None])))) for do, undo in views.FLIP_COLUMNS]
    torch.testing.assert_close(found, torch.stack(each).mean(dim=0)[0])
