import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hstasks.lenses import params, preprocess, preprocess_published
from hstasks.lenses.preprocess import OurPreprocess, PublishedPreprocess

RNG = np.random.default_rng(0)
SKY = RNG.standard_normal((20, 5, 41, 41)) * np.array([0.1, 0.2, 0.3, 0.4, 0.5])[:, None, None]
LIGHT = 30.0 * np.exp(-np.hypot(*np.mgrid[-20:21, -20:21]) / 3.0)
OURS = OurPreprocess("grizy", (0.1, 0.2, 0.3, 0.4, 0.5))
BOTH = [OURS, PublishedPreprocess()]

REFERENCE = {
    "zscore_clip997": {},
    "gaussian1_zscore_clip997": {"smoothing": "gaussian", "sigma": 1.0},
    "mad_lowclip005": {"normalise": "mad", "low_clip": 0.005},
    "zscore_noclip": {"clip": None},
    "zscore_padded64": {"pad": 64},
    "gaussian1_raw": {"smoothing": "gaussian", "sigma": 1.0, "normalise": "none"},
    "guided_r2_eps1e2_raw": {"smoothing": "guided", "guided_radius": 2, "guided_eps": 1e-2, "normalise": "none"},
}


def test_the_published_preprocessing_is_exact(shared: Path) -> None:
    with np.load(shared / "reference" / "lenses" / "preprocess.npz") as known:
        assert set(known) == {"raw", *REFERENCE}
        for name, options in REFERENCE.items():
            found = preprocess_published(known["raw"], **options)  # type: ignore[arg-type]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, known[name], atol=1e-5)
            both = preprocess_published(np.stack([LIGHT, known["raw"]]), **options)  # type: ignore[arg-type]
            np.testing.assert_array_equal(both[1], found)


def test_training_and_prediction_share_a_sigma_unless_told_otherwise() -> None:
    image = (SKY[0] + LIGHT).astype(np.float32)
    plain = PublishedPreprocess(sigma=preprocess.TRAINING_SIGMA, augment=False)
    seen = plain.training(image, seed=0, epoch=0, sample="a")
    np.testing.assert_array_equal(seen, plain.prediction(image))
    published = dataclasses.replace(plain, prediction_sigma=preprocess.PREDICTION_SIGMA)
    np.testing.assert_array_equal(seen, published.training(image, seed=0, epoch=0, sample="a"))
    assert np.abs(published.prediction(image) - seen).max() > 0.1
    assert (preprocess.TRAINING_SIGMA, preprocess.PREDICTION_SIGMA) == (0.8, 1.0)


def test_the_published_gamma_erases_what_is_negative() -> None:
    image = (SKY[0] + LIGHT).astype(np.float32)
    views = [PublishedPreprocess().training(image, seed=0, epoch=epoch, sample="a") for epoch in range(40)]
    erased = [view.min() > 0.0 for view in views]
    assert 8 < sum(erased) < 32
    assert all((view < 1e-3).mean() > 0.5 for view, lost in zip(views, erased, strict=True) if lost)


@pytest.mark.parametrize("chosen", BOTH, ids=["ours", "published"])
def test_randomness_follows_from_seed_epoch_sample_and_draw(chosen: preprocess.Preprocess) -> None:
    image = (SKY[0] + LIGHT).astype(np.float32)
    keys = [(0, 0, "a", 0), (1, 0, "a", 0), (0, 1, "a", 0), (0, 0, "b", 0), (0, 0, "a", 1)]
    views = [chosen.training(image, seed=s, epoch=e, sample=name, draw=d).tobytes() for s, e, name, d in keys]
    again = [chosen.training(image, seed=s, epoch=e, sample=name, draw=d).tobytes() for s, e, name, d in keys]
    assert views == again and len(set(views)) > 3


@pytest.mark.parametrize("chosen", BOTH, ids=["ours", "published"])
def test_a_record_gives_the_preprocessing_back(chosen: preprocess.Preprocess) -> None:
    assert preprocess.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
    with pytest.raises(UserError, match="cannot be restored"):
        preprocess.from_dict({"kind": "theirs"})
    with pytest.raises(UserError, match="cannot be restored"):
        preprocess.from_dict({**chosen.to_dict(), "more": 1})


@pytest.mark.parametrize("chosen", BOTH, ids=["ours", "published"])
def test_missing_pixels_constant_corners_and_bands_do_no_harm(chosen: preprocess.Preprocess) -> None:
    image = (SKY[0] + LIGHT).astype(np.float32)
    image[0, 3, 3], image[1, 0, 0] = np.nan, np.inf
    image[2], image[3] = np.nan, 0.7
    image[4, :5, :5] = -99.0
    assert np.isfinite(chosen.prediction(image)).all()
    assert np.isfinite(chosen.training(image, seed=0, epoch=0, sample="a")).all()
    if isinstance(chosen, OurPreprocess):
        seen = chosen.prediction(image)
        assert seen[0, 3, 3] == seen[1, 0, 0] == 0.0
        assert not seen[2:4].any() and not seen[4, :5, :5].any()


def test_the_published_function_refuses_what_is_not_finite() -> None:
    with pytest.raises(UserError, match="finite pixels only"):
        preprocess_published(np.full((41, 41), np.nan))


@given(st.floats(0.5, 1e4))
def test_ours_keeps_colours_and_is_linear_in_faint_light(flux: float) -> None:
    image = np.zeros((5, 41, 41))
    image[:, 20, 20] = flux * np.array(OURS.noise_counts)
    centre = OURS.prediction(image)[:, 20, 20]
    np.testing.assert_allclose(centre, np.arcsinh(flux / 3.0), rtol=1e-5)


def test_the_noise_is_fitted_whatever_the_light() -> None:
    section = params.Preprocess()
    fitted = preprocess.made(section, (image + LIGHT * 0.05 for image in SKY))
    assert isinstance(fitted, OurPreprocess)
    np.testing.assert_allclose(fitted.noise_counts, OURS.noise_counts, rtol=0.25)
    sky = SKY.copy()
    sky[:, 2] = np.nan
    alone = preprocess.made(section, sky)
    assert isinstance(alone, OurPreprocess) and np.isfinite(alone.noise_counts).all()
    with pytest.raises(UserError, match="band with noise"):
        preprocess.made(section, np.zeros((1, 5, 41, 41)))


def test_views_of_ours_are_turns_flips_and_shifts_of_one_image() -> None:
    still = dataclasses.replace(OURS, noise=0.0, blur=0.0, shift=0)
    image = (SKY[0] + LIGHT).astype(np.float32)
    plain = still.prediction(image)
    eight = {np.ascontiguousarray(view).tobytes() for flip in (plain, plain[..., ::-1])
             for view in (np.rot90(flip, turns, axes=(1, 2)) for turns in range(4))}  # fmt: skip
    seen = {still.training(image, seed=0, epoch=epoch, sample="a").tobytes() for epoch in range(80)}
    assert seen == eight
    moved = dataclasses.replace(still, d4=False, shift=2)
    light = LIGHT[None].repeat(5, 0)
    views = [moved.training(light, seed=0, epoch=epoch, sample="a")[0] for epoch in range(200)]
    peaks = {divmod(int(view.argmax()), 41) for view in views}
    assert peaks == {(20 + down, 20 + right) for down in range(-2, 3) for right in range(-2, 3)}
