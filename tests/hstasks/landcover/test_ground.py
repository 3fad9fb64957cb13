import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from hstasks.landcover import ground


def frame(corners, side=8, site="a"):
    rows = [
        {"id": str(i), "site": site, "left": x, "bottom": y, "right": x + side, "top": y + side}
        for i, (x, y) in enumerate(corners)
    ]
    return pd.DataFrame(rows).assign(height=side, width=side).astype(dict.fromkeys(ground._BOX, "float64"))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=6, unique=True))
def test_each_pixel_of_ground_is_scored_once(corners):
    times, shown = np.zeros((24, 24), int), np.zeros((24, 24), bool)
    for (x, y), mine in zip(corners, ground.owned(frame(corners)), strict=True):
        # Row 0 of a tile is its top.
        window = slice(24 - y - 8, 24 - y), slice(x, x + 8)
        times[window] += mine
        shown[window] = True
    assert (times == shown).all()


def test_tiles_of_other_sites_and_nowhere_are_scored_whole():
    rows = pd.concat([frame([(0, 0)]), frame([(0, 0)], site="b"), frame([(np.nan, np.nan)])], ignore_index=True)
    assert all(mine.all() for mine in ground.owned(rows))


def test_shared_ground_is_a_share_of_the_held_out():
    assert ground.shared(frame([(0, 0)]), frame([(4, 0)])) == 0.5
    assert ground.shared(frame([(0, 0)]), frame([(4, 0), (0, 4), (0, 0)])) == 1.0
    assert ground.shared(frame([(0, 0)]), frame([(8, 0)])) == 0.0


def test_strips_cut_the_longer_axis():
    folds = ground.strips(frame([(x, y) for x in range(0, 80, 8) for y in (0, 8)]), 5)
    assert sorted(folds.values()) == sorted([0, 1, 2, 3, 4] * 4)
    assert folds["0"] == folds["1"] == 0 and folds["18"] == folds["19"] == 4
