"""Pictures of predictions beside the truth."""

from pathlib import Path

import numpy as np
from PIL import Image

from hsdata.cube import BAND_GRID
from hsmodels import pictures


def cube(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((61, height, width), dtype=np.float32)


def test_a_comparison_is_a_picture_and_the_same_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        figure = pictures.comparison(cube(20, 30), cube(20, 30, 1), BAND_GRID, title="Category-1_a_0001")
        pictures.save(figure, tmp_path / f"{name}.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1300, 360)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_figure_can_be_had_as_pixels() -> None:
    values = pictures.pixels(pictures.comparison(cube(8, 8), cube(8, 8), BAND_GRID))
    assert values.shape == (360, 1300, 3) and values.dtype == np.uint8
    assert values.min() < 100 and values.max() == 255


def test_points_go_from_bright_to_dark_and_lie_inside() -> None:
    ramp = np.linspace(1, 0, 600, dtype=np.float32).reshape(20, 30)
    chosen = pictures.points_of(np.repeat(ramp[None], 61, axis=0))
    levels = [ramp[point] for point in chosen]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > 0.9 and levels[-1] < 0.1


def test_large_cubes_are_thinned_and_dark_or_perfect_ones_drawn_too() -> None:
    dark = np.zeros((61, 900, 40), dtype=np.float32)
    pictures.comparison(dark, dark, BAND_GRID, points=[(899, 39)])
