import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsdata.batches import augment
from hsdata.params import Augment


def coordinates(height: int, width: int, scale: int = 1) -> np.ndarray:
    """(2, H, W) row and column of the input pixel that each pixel belongs to."""
    rows, columns = np.mgrid[0 : height * scale, 0 : width * scale] // scale
    return np.stack([rows, columns]).astype(np.float32)


def colours(height: int, width: int) -> np.ndarray:
    """(1, H, W) Bayer colour of each pixel: 0 red, 1 and 2 the greens, 3 blue."""
    rows, columns = np.mgrid[0:height, 0:width]
    return (2 * (rows % 2) + columns % 2)[None].astype(np.float32)


def is_rggb(plane: np.ndarray) -> bool:
    """Red and blue in their places, green in both others (a transposition exchanges the greens)."""
    expected = colours(*plane.shape[-2:])
    green = np.isin(expected, (1, 2))
    return np.array_equal(np.isin(plane, (1, 2)), green) and np.array_equal(plane[~green], expected[~green])


def cut(values: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    top, left, height, width = window
    return values[..., top : top + height, left : left + width]


even = st.integers(4, 12).map(lambda half: 2 * half)
moments = st.tuples(st.integers(0, 2**32), st.integers(0, 5000), st.integers(0, 9))


@given(st.integers(8, 24), st.integers(8, 24), st.booleans(), st.booleans(), st.booleans(), moments)
def test_input_and_target_show_the_same_place(
    height: int, width: int, crop: bool, flip: bool, rot90: bool, moment: tuple[int, int, int]
) -> None:
    seed, epoch, number = moment
    chosen = augment.draw(
        Augment(crop=8 if crop else None, flip=flip, rot90=rot90),
        "Category-1_a_0001",
        (height, width),
        seed=seed,
        epoch=epoch,
        draw=number,
        mosaic=False,
    )
    small = chosen.input(cut(coordinates(height, width), chosen.geometry.window()))
    large = chosen.target(cut(coordinates(height, width, 2), chosen.geometry.window(2)))
    assert small.shape[-2:] == ((8, 8) if crop else (height, width))
    np.testing.assert_array_equal(large, small.repeat(2, axis=1).repeat(2, axis=2))


@given(even, even, st.sampled_from([None, 8]), st.booleans(), moments)
def test_a_mosaic_stays_rggb_at_its_size(
    height: int, width: int, crop: int | None, rot90: bool, moment: tuple[int, int, int]
) -> None:
    seed, epoch, number = moment
    chosen = augment.draw(
        Augment(crop=crop, flip=True, rot90=rot90),
        "x",
        (height, width),
        seed=seed,
        epoch=epoch,
        draw=number,
        mosaic=True,
    )
    window = chosen.geometry.window()
    turned = chosen.input(cut(colours(height, width), window))
    assert turned.shape[-2:] == ((crop, crop) if crop else (height, width))
    assert is_rggb(turned)
    places = chosen.target(cut(coordinates(height, width), window))
    expected = colours(height, width)[0][places[0].astype(int), places[1].astype(int)]
    np.testing.assert_array_equal(turned[0], expected)


@given(even, even, st.booleans(), st.booleans(), moments)
def test_columns_name_the_original_column(
    height: int, width: int, mosaic: bool, crop: bool, moment: tuple[int, int, int]
) -> None:
    seed, epoch, number = moment
    scale = 1 if mosaic else 2
    chosen = augment.draw(
        Augment(crop=8 if crop else None),
        "x",
        (height, width),
        seed=seed,
        epoch=epoch,
        draw=number,
        mosaic=mosaic,
    )
    shown = np.mgrid[0 : height * scale, 0 : width * scale][1].astype(np.float32)[None]
    turned = chosen.target(cut(shown, chosen.geometry.window(scale)))[0]
    columns = chosen.geometry.columns(scale)
    expected = columns[:, None] if chosen.geometry.transpose else columns[None, :]
    np.testing.assert_array_equal(turned, np.broadcast_to(expected, turned.shape))


def test_a_smaller_crop_flips_without_reflected_pixels() -> None:
    options = Augment(crop=8, flip=True, rot90=True)
    for epoch in range(50):
        chosen = augment.draw(options, "x", (10, 12), seed=0, epoch=epoch, mosaic=True)
        assert not chosen.geometry.reflect_rows
        assert not chosen.geometry.reflect_columns


def test_every_flip_turn_and_position_occurs() -> None:
    draws = [augment.draw(Augment(crop=8), "x", (10, 9), seed=0, epoch=e, mosaic=False) for e in range(400)]
    geometries = {d.geometry for d in draws}
    assert {(g.flip_rows, g.flip_columns, g.transpose) for g in geometries} == {
        (a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)
    }
    assert {(g.top, g.left) for g in geometries} == {(t, x) for t in range(3) for x in range(2)}


def test_rotation_without_flips_makes_no_mirror_image() -> None:
    letter = np.array([[1, 2], [3, 4]], dtype=np.float32)[None].repeat(4, axis=1).repeat(4, axis=2)
    turns = [np.rot90(letter, k, axes=(1, 2)) for k in range(4)]
    options = Augment(flip=False, rot90=True)
    for epoch in range(40):
        turned = augment.draw(options, "x", (8, 8), seed=1, epoch=epoch, mosaic=False).input(letter)
        assert any(np.array_equal(turned, turn) for turn in turns)


def test_an_oblong_frame_keeps_its_shape() -> None:
    for epoch in range(40):
        chosen = augment.draw(Augment(), "x", (8, 10), seed=0, epoch=epoch, mosaic=False)
        assert not chosen.geometry.transpose


def test_choices_follow_from_seed_epoch_sample_and_draw() -> None:
    options = Augment(crop=8, noise=0.1, jitter=0.1)
    base = {"seed": 3, "epoch": 4, "draw": 0, "mosaic": False}
    frame = (64, 64)
    image = np.full((3, 8, 8), 0.5, dtype=np.float32)

    def outcome(sample: str = "a", **changed: int) -> bytes:
        chosen = augment.draw(options, sample, frame, **(base | changed))  # type: ignore[arg-type]
        return chosen.input(image).tobytes() + chosen.target(image).tobytes()

    assert outcome() == outcome()
    others = {outcome(), outcome("b"), outcome(seed=4), outcome(epoch=5), outcome(draw=1)}
    assert len(others) == 5


def test_one_option_leaves_the_others_choices_alone() -> None:
    for epoch in range(20):
        plain = augment.draw(Augment(crop=8, rot90=False), "x", (32, 32), seed=0, epoch=epoch, mosaic=False)
        noisy = augment.draw(Augment(crop=8, rot90=False, noise=0.1), "x", (32, 32), seed=0, epoch=epoch, mosaic=False)
        assert plain.geometry == noisy.geometry
        unflipped = augment.draw(
            Augment(crop=8, rot90=False, flip=False), "x", (32, 32), seed=0, epoch=epoch, mosaic=False
        )
        assert (unflipped.geometry.top, unflipped.geometry.left) == (plain.geometry.top, plain.geometry.left)


def test_noise_has_its_width_and_stays_in_range() -> None:
    options = Augment(flip=False, rot90=False, noise=0.05)
    chosen = augment.draw(options, "x", (64, 64), seed=0, epoch=0, mosaic=False)
    middle = chosen.input(np.full((3, 64, 64), 0.5, dtype=np.float32))
    assert abs(float(middle.std()) - 0.05) < 0.002
    dark = chosen.input(np.zeros((3, 64, 64), dtype=np.float32))
    assert dark.min() == 0.0
    assert dark.dtype == np.float32


def test_jitter_scales_each_band_as_a_whole() -> None:
    options = Augment(flip=False, rot90=False, jitter=0.02)
    chosen = augment.draw(options, "x", (8, 8), seed=0, epoch=0, mosaic=False)
    target = np.random.default_rng(0).uniform(0.1, 1.0, (61, 8, 8)).astype(np.float32)
    gains = chosen.target(target) / target
    np.testing.assert_allclose(gains, gains[:, :1, :1].repeat(8, 1).repeat(8, 2), rtol=1e-6)
    assert 0.01 < float(gains[:, 0, 0].std()) < 0.03


def test_the_crop_follows_its_steps() -> None:
    options = Augment(crop=8, crop_steps={10: 16, 20: None})
    assert [augment.crop_at(options, epoch) for epoch in (0, 9, 10, 19, 20, 99)] == [8, 8, 16, 16, None, None]


@settings(max_examples=30)
@given(even, even, st.integers(0, 7), st.booleans())
def test_a_turned_mosaic_is_rggb_and_comes_back_whole(height: int, width: int, k: int, tensor: bool) -> None:
    plane = colours(height, width)
    places = coordinates(height, width)
    if tensor:
        turned = augment.mosaic_dihedral(torch.from_numpy(plane), k).numpy()
        back = augment.undo_mosaic_dihedral(augment.mosaic_dihedral(torch.from_numpy(places), k), k).numpy()
    else:
        turned = augment.mosaic_dihedral(plane, k)
        back = augment.undo_mosaic_dihedral(augment.mosaic_dihedral(places, k), k)
    assert is_rggb(turned)
    np.testing.assert_array_equal(back, places)


@given(even, even, st.sampled_from([-1, -2]))
def test_a_mosaic_flip_keeps_size_and_phase(height: int, width: int, axis: int) -> None:
    plane = colours(height, width)
    flipped = augment.mosaic_flip(plane, axis)
    np.testing.assert_array_equal(flipped, plane)
    torch.testing.assert_close(augment.mosaic_flip(torch.from_numpy(plane), axis), torch.from_numpy(plane))
