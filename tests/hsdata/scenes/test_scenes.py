import numpy as np
import pytest

from hsdata.scenes import materials
from hsdata.scenes.painting import Layer, View, planes
from hsdata.scenes.scenes import CATEGORIES, scene


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def view(size: int = 24) -> View:
    place = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    x, y = np.meshgrid(place, place)
    return View(x, y, 2.0 / size)


@pytest.mark.parametrize(
    ("category", "number"),
    [(category, number) for category, kinds in CATEGORIES.items() for number in range(len(kinds))],
)
def test_every_kind_of_object_makes_a_physical_scene(category: int, number: int) -> None:
    values = np.stack(list(planes(scene(category, number, rng(1), rng(2), 24))))
    assert values.shape == (61, 24, 24)
    assert np.isfinite(values).all()
    assert values.min() >= 0.0
    assert np.quantile(values, 0.99) <= 1.0


def test_a_scene_is_a_function_of_its_random_numbers() -> None:
    first, second = (np.stack(list(planes(scene(3, 0, rng(1), rng(2), 16)))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_pose_moves_an_object_and_does_not_repaint_it() -> None:
    contents = []
    for pose in range(6):
        *_, figure = scene(3, 0, rng(7), rng(pose), 96)
        contents.append({name for name, content in figure.pigments.items() if content.max() > 0.3})
    assert all(content == contents[0] for content in contents)


@pytest.mark.parametrize("size", [16, 64])
def test_finer_images_show_the_same_texture(size: int) -> None:
    coarse, fine = view(size).texture(rng(3), 1.0), view(4 * size).texture(rng(3), 1.0)
    averaged = fine.reshape(size, 4, size, 4).mean(axis=(1, 3))
    assert np.corrcoef(coarse.ravel(), averaged.ravel())[0, 1] > 0.9


def test_a_texture_takes_nothing_from_its_objects_random_numbers() -> None:
    for size in (16, 128):
        numbers = rng(4)
        view(size).texture(numbers, 4.0)
        assert numbers.random() == rng(4).random()


def test_a_part_on_bare_ground_keeps_its_colour_at_the_edge() -> None:
    here = view()
    layer = Layer.empty("plastic", here)
    layer.paint(here.fill(here.ellipse(0.6, 0.5)), 0.8, carbon=0.5)
    painted = layer.cover > 0.0
    assert ((layer.cover > 0.0) & (layer.cover < 1.0)).any()
    np.testing.assert_allclose(layer.gain[painted], 0.8)
    np.testing.assert_allclose(layer.pigments["carbon"][painted], 0.5)


def test_a_layer_in_front_hides_what_is_behind() -> None:
    here = view()
    back, front = Layer.empty("wall", here), Layer.empty("rail", here)
    back.paint(np.ones_like(here.x))
    front.paint(np.ones_like(here.x))
    plane = next(planes([back, front]))
    np.testing.assert_allclose(plane, materials.BASES["rail"][0])
