"""What storing a cube in fewer bits does to the score."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hsdata import Cube, open_cube, sample
from hsdata.formats import zarr
from hsmodels.score import ssc

LIMIT = 1e-4
SAMPLES = sample.plan({"train": 8, "test-public": 0, "test-private": 0}, 0)


def prediction_of(cube: Cube, quality: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    tilt = 1.0 + 0.05 * quality * np.sin(np.arange(cube.bands) / 9.0)[:, None, None]
    noise = rng.normal(0.0, 0.002 * quality, cube.values.shape)
    return np.clip(cube.values * tilt + noise, 1e-4, None).astype(np.float32)


@pytest.mark.parametrize("position", [0, 3, 7])
def test_uint16_keeps_the_sample_data_exactly(tmp_path: Path, position: int) -> None:
    cube = sample.cube_of(SAMPLES[position], 48, 0)
    assert zarr.write(tmp_path / "a.zarr", cube, dtype="uint16") == 0.0
    np.testing.assert_array_equal(open_cube(tmp_path / "a.zarr").values, cube.values)


@pytest.mark.parametrize("position", [0, 3, 7])
@pytest.mark.parametrize("quality", [1.0, 0.1, 0.0])
def test_uint16_changes_the_score_by_less_than_one_in_ten_thousand(
    tmp_path: Path, position: int, quality: float
) -> None:
    cube = sample.cube_of(SAMPLES[position], 48, 0)
    # Values that lie on no grid, as those of the challenge.
    cube = replace(cube, values=(cube.values * np.float32(0.97) + np.float32(1e-4) / np.float32(3)))
    worst = zarr.write(tmp_path / "a.zarr", cube, dtype="uint16")
    assert 0.0 < worst < 1e-5
    stored = open_cube(tmp_path / "a.zarr").values
    prediction = prediction_of(cube, quality)
    assert abs(ssc(stored, prediction)["SSC"] - ssc(cube.values, prediction)["SSC"]) < LIMIT
