import base64
import io

import numpy as np
from PIL import Image

from hsengine.report.pictures import picture


def shown(url: str) -> Image.Image:
    kind, _, text = url.partition(",")
    found = Image.open(io.BytesIO(base64.b64decode(text)))
    assert kind == f"data:image/{found.format.lower()};base64"
    return found


def test_small_pictures_keep_every_value():
    values = np.random.default_rng(0).integers(0, 256, (3, 5, 7))
    found = shown(picture(values / 255.0))
    assert np.array_equal(np.asarray(found), np.moveaxis(values, 0, 2))
    grey = shown(picture(values[:1] / 255.0))
    assert grey.mode == "L"


def test_large_pictures_are_thinned_and_compressed():
    found = shown(picture(np.zeros((3, 90, 200)), side=100, lossless=50))
    assert (found.format, found.size) == ("JPEG", (100, 45))


def test_what_is_no_number_is_black():
    assert np.asarray(shown(picture(np.full((1, 2, 2), np.nan)))).max() == 0
