import io

import numpy as np
import pytest
from PIL import Image

from hsengine.base import png


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_other_readers_see_the_pixels(channels, mode):
    # More than a stored block of deflate holds.
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 300, 250)).astype(np.uint8)
    with Image.open(io.BytesIO(png.encoded(pixels))) as picture:
        assert picture.mode == mode
        np.testing.assert_array_equal(np.asarray(picture).reshape(300, 250, channels), np.moveaxis(pixels, 0, 2))


def test_sixteen_bits_of_grey_are_kept():
    pixels = np.array([[[0, 1, 65535, 256]]], dtype=np.uint16)
    with Image.open(io.BytesIO(png.encoded(pixels))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels[0])


@pytest.mark.parametrize("wrong", [np.zeros((5, 2, 2), np.uint8), np.zeros((2, 2), np.uint8), np.zeros((1, 2, 2))])
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(ValueError, match="channels"):
        png.encoded(wrong)
