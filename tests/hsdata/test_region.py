import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hsdata import region
from hsdata.cube import BAND_GRID


@given(hnp.arrays(np.float32, (61, 3, 2), elements=st.floats(0.0, 1.0, width=32)))
def test_every_pixel_is_in_exactly_one_part(values: np.ndarray) -> None:
    found = region.regions(values, BAND_GRID)
    assert tuple(found) == region.NAMES
    np.testing.assert_array_equal(sum(mask.astype(int) for mask in found.values()), 1)


def test_the_parts_of_a_scene_are_told_apart() -> None:
    leaf = np.where(BAND_GRID > 710.0, 0.5, 0.06)
    spectra = {"rail": np.full(61, 0.002), "background": np.full(61, 0.85), "object": leaf}
    values = np.repeat(np.stack(list(spectra.values()), axis=1)[:, None, :], 150, axis=1).astype(np.float32)
    found = region.regions(values, BAND_GRID)
    for column, name in enumerate(spectra):
        assert found[name][:, column].all(), name


def test_a_grey_wall_is_background_and_a_black_thing_an_object() -> None:
    values = np.stack([np.full(61, 0.45), np.full(61, 0.04)], axis=1)[:, None, :]
    found = region.regions(values, BAND_GRID)
    assert found["background"].tolist() == [[True, False]]
    assert found["object"].tolist() == [[False, True]]


def test_other_bands_than_the_grids_will_do() -> None:
    found = region.regions(np.full((2, 1, 1), 0.5, np.float32), [1200.0, 1300.0])
    assert found["background"].all()
