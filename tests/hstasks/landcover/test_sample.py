import hashlib

import numpy as np
import pytest

from hsengine.base.errors import UserError
from hstasks.images import geotiff, readers
from hstasks.landcover import sample, scenery
from hstasks.landcover.layout import find, find_oem

from .conftest import SITES


def test_the_same_seed_gives_the_same_pixels_on_every_machine():
    made = scenery.scene(np.random.Generator(np.random.PCG64(3)), 96, 128, scenery.Country())
    stored = np.rint(made.pixels * 10000.0).astype(np.int64)
    assert hashlib.blake2b(made.parts.tobytes(), digest_size=8).hexdigest() == "69249293aaf2683e"
    assert hashlib.blake2b(stored.tobytes(), digest_size=8).hexdigest() == "b7e3d51a7e34ffa7"


def test_both_sets_have_what_their_layouts_promise(trained):
    found = find(trained / "data")
    assert {tile.site for tile in found.tiles} == set(SITES) and not found.problems
    tile = found.tiles[0]
    place = geotiff.place(tile.image)
    assert (place.bands, place.height, place.width) == (4, 96, 96) and "32633" in place.crs
    labels = np.concatenate([np.unique(readers.read_labels(tile.mask)) for tile in found.tiles])
    assert set(labels.tolist()) == {0, 1, 2, 3, 4, 5}
    oem = find_oem(trained / "data")
    assert oem.without_image == ["alder_bay_4"] and len(oem.pairs) == 23
    assert {pair.region for pair in oem.pairs} == set(sample.REGIONS)


def test_what_is_there_is_not_overwritten(project):
    with pytest.raises(UserError, match="holds oem, target already"):
        sample.run("data")
