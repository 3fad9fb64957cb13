"""The score against reference values, the straightforward version, and direct float64 formulas."""

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hsdata import BAND_GRID
from hsengine.base.errors import UserError
from hsmodels import score
from hsmodels.score import colour, measure, spatial

Array = NDArray[np.float64]

LOOSER = {"SSIM", "S_SSIM", "S_SPAT", "SSC", "SSC_arith"}


def close(found: dict[str, float], expected: dict[str, float]) -> None:
    assert list(found) == list(score.NAMES)
    for name, value in expected.items():
        tolerance = 1e-3 if name in LOOSER else 1e-4
        assert found[name] == pytest.approx(value, rel=tolerance, abs=1e-9), name


def pair(bands: int = 61, height: int = 14, width: int = 17, seed: int = 0, noise: float = 0.02) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    spectrum = 0.2 + 0.5 * np.sin(np.linspace(0.0, 3.0 + seed % 4, bands))[:, None, None] ** 2
    light = rng.uniform(0.2, 1.0, (3, height, width))
    truth = spectrum * light[0] + 0.1 * np.linspace(0, 1, bands)[:, None, None] * light[1]
    return truth, np.clip(truth * 1.01 + rng.normal(0.0, noise, truth.shape), 0.0, None)


def textbook() -> ModuleType:
    pytest.importorskip("torchmetrics")
    pytest.importorskip("colour")
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "textbook_score.py"
    spec = importlib.util.spec_from_file_location("textbook_score", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("case", ["noise", "offset", "dark"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_reference_pairs_have_their_published_values(shared: Path, case: str, dtype: Any) -> None:
    arrays = np.load(shared / "reference" / "ssc" / "cases.npz")
    expected = json.loads((shared / "reference" / "ssc" / "expected.json").read_text())[case]
    close(score.ssc(arrays[f"{case}_truth"].astype(dtype), arrays[f"{case}_pred"].astype(dtype)), expected)


def test_the_render_is_the_reference_render(shared: Path) -> None:
    folder = shared / "reference" / "ssc"
    truth = torch.from_numpy(np.load(folder / "cases.npz")["noise_truth"]).double()
    linear = measure.colour_matrix(61, None) @ truth.flatten(1)
    rendered = colour.encode(linear).reshape(3, *truth.shape[1:])
    np.testing.assert_allclose(rendered, np.load(folder / "srgb_of_noise_truth.npz")["srgb"], atol=1e-6)


@pytest.mark.parametrize(("bands", "last"), [(61, 1000.0), (31, 700.0)])
def test_the_straightforward_version_agrees(bands: int, last: float) -> None:
    wavelengths = np.linspace(400.0, last, bands)
    for seed, noise in ((1, 0.001), (2, 0.02), (3, 0.2)):
        truth, prediction = (x.astype(np.float32) for x in pair(bands, seed=seed, noise=noise))
        prediction += np.float32(1e-4)
        close(score.ssc(truth, prediction, wavelengths=wavelengths), textbook().ssc(truth, prediction, wavelengths))


def direct(a: Array, b: Array) -> tuple[Array, Array]:
    """SAM in degrees and SID of each pixel, (bands, n), by the stated formulas."""
    norms = np.sqrt((a * a).sum(0)) * np.sqrt((b * b).sum(0))
    sam = np.degrees(np.arccos(np.clip((a * b).sum(0) / (norms + 1e-8), -1, 1)))
    p, q = (np.maximum(x, 0) / (np.maximum(x, 0).sum(0) + 1e-12) + 1e-12 for x in (a, b))
    return sam, (p * np.log(p / q)).sum(0) + (q * np.log(q / p)).sum(0)


@st.composite
def awkward_pairs(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pairs with zero spectra, dark pixels, constant images, equal and negative values."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = rng.uniform(0.0, 1.0, (61, height, width)) * rng.choice([1.0, 1.0, 0.002, 1e-6, 0.0], (height, width))
    kind = draw(st.sampled_from(["equal", "noisy", "brighter", "unrelated", "zero", "constant", "negative"]))
    prediction = {
        "equal": truth,
        "noisy": truth + rng.normal(0.0, 0.003, truth.shape),
        "brighter": truth * 1.03,
        "unrelated": rng.uniform(0.0, 1.0, truth.shape),
        "zero": np.zeros_like(truth),
        "constant": np.full_like(truth, 0.3),
        "negative": -truth,
    }[kind]
    if draw(st.booleans()):
        prediction = prediction * rng.choice([0.0, 1.0], prediction.shape)
    if draw(st.booleans()):
        truth = np.broadcast_to(truth[:, :1, :1], truth.shape)
    return truth.astype(np.float32), prediction.astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(awkward_pairs())
def test_awkward_images_have_a_score_and_the_direct_formulas_agree(
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    truth, prediction = images
    found = score.ssc(truth, prediction)
    assert all(math.isfinite(value) for value in found.values())
    assert 0.0 <= found["SSC"] <= 1.0 + 1e-9
    a, b = (x.reshape(61, -1).astype(np.float64) for x in images)
    sam, sid = direct(a, b)
    # Opposite directions, which no reflectances have, are known to 0.05 degrees only.
    assert found["SAM_deg"] == pytest.approx(sam.mean(), rel=1e-4, abs=0.05 if sam.mean() > 90.1 else 1e-5)
    assert found["SID"] == pytest.approx(sid.mean(), rel=1e-4, abs=1e-9)
    relative = ((a - b) ** 2).mean(1) / (np.abs(a.mean(1)) + 1e-12) ** 2
    assert found["ERGAS"] == pytest.approx(100 * np.sqrt(relative.mean()), rel=1e-4)


def test_equal_images_score_as_high_as_the_formula_lets_them() -> None:
    truth, _ = pair()
    found = score.ssc(truth, truth)
    assert (found["SID"], found["ERGAS"], found["DeltaE00"]) == (0.0, 0.0, 0.0)
    assert found["PSNR_dB"] == 120.0
    assert found["SSIM"] == pytest.approx(1.0, abs=1e-12)
    # The 1e-8 in the cosine leaves a small angle.
    assert 0.0 < found["SAM_deg"] < 0.01
    assert found["SSC"] == pytest.approx(1.0, abs=1e-3)


def test_small_angles_keep_their_digits_in_float32() -> None:
    truth, _ = pair(noise=0.0)
    for change in (1e-2, 1e-3, 1e-4):
        prediction = truth * (1.0 + change * np.random.default_rng(3).normal(size=truth.shape))
        sam, _ = direct(truth.reshape(61, -1), prediction.reshape(61, -1))
        found = score.ssc(truth.astype(np.float32), prediction.astype(np.float32))
        assert found["SAM_deg"] == pytest.approx(sam.mean(), rel=1e-4)


def test_a_batch_scores_as_the_mean_of_its_images() -> None:
    pairs = [pair(seed=seed, noise=0.01 * (seed + 1)) for seed in range(3)]
    truth, prediction = (torch.from_numpy(np.stack(images)).float() for images in zip(*pairs, strict=True))
    singly = [score.ssc(a, b) for a, b in zip(truth, prediction, strict=True)]
    rows = score.ssc_batch(truth, prediction)
    whole = score.ssc(truth, prediction)
    for name in score.NAMES:
        assert rows[name].shape == (3,)
        np.testing.assert_allclose(rows[name], [values[name] for values in singly], rtol=1e-6)
        assert whole[name] == pytest.approx(float(np.mean([values[name] for values in singly])), rel=1e-6)


def test_large_batches_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, prediction = (np.stack([x] * 5) for x in pair())
    whole = score.ssc_batch(truth, prediction)
    monkeypatch.setattr(measure, "_PIXELS_AT_ONCE", 2 * truth.shape[-1] * truth.shape[-2])
    parts = score.ssc_batch(truth, prediction)
    assert all(torch.allclose(whole[name], parts[name], rtol=1e-12) for name in score.NAMES)


def test_the_number_of_threads_changes_no_bit() -> None:
    truth, prediction = (x.astype(np.float32) for x in pair(height=200, width=190))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(score.ssc(truth, prediction))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_a_mask_of_everything_changes_nothing() -> None:
    truth, prediction = pair()
    close(score.ssc(truth, prediction, mask=np.ones(truth.shape[1:], dtype=bool)), score.ssc(truth, prediction))


def test_a_mask_averages_over_its_pixels_alone() -> None:
    truth, prediction = pair()
    mask = np.zeros(truth.shape[1:], dtype=bool)
    mask[3:9, 2:11] = True
    found = score.ssc(truth.astype(np.float32), prediction.astype(np.float32), mask=torch.from_numpy(mask))
    a, b = truth[:, mask], prediction[:, mask]
    sam, sid = direct(a, b)
    assert found["SAM_deg"] == pytest.approx(sam.mean(), rel=1e-5)
    assert found["SID"] == pytest.approx(sid.mean(), rel=1e-5)
    relative = ((a - b) ** 2).mean(1) / np.abs(a.mean(1)) ** 2
    assert found["ERGAS"] == pytest.approx(100 * np.sqrt(relative.mean()), rel=1e-5)
    # PSNR and ΔE00 know no neighbours either: a cube of the mask's pixels has the same.
    alone = score.ssc(a.reshape(61, 6, 9), b.reshape(61, 6, 9))
    assert found["PSNR_dB"] == pytest.approx(alone["PSNR_dB"], rel=1e-6)
    assert found["DeltaE00"] == pytest.approx(alone["DeltaE00"], rel=1e-6)
    # SSIM does: its map is that of the whole image.
    matrix = measure.colour_matrix(61, None)
    renders = [
        colour.encode(matrix @ torch.from_numpy(x).flatten(1)).reshape(1, 3, *mask.shape) for x in (truth, prediction)
    ]
    similarity = spatial.ssim_map(renders[0], renders[1])[0].numpy()
    assert found["SSIM"] == pytest.approx(similarity[mask].mean(), rel=1e-4)


def test_regions_are_scored_at_once_as_one_by_one() -> None:
    truth, prediction = pair()
    left = np.zeros(truth.shape[1:], dtype=bool)
    left[:, :8] = True
    masks = {"left": left, "nothing": np.zeros_like(left), "right": ~left, "everything": np.ones_like(left)}
    found = score.ssc_regions(truth, prediction, masks)
    assert list(found) == ["left", "right", "everything"]
    for name, values in found.items():
        close(values, score.ssc(truth, prediction, mask=masks[name]))
    assert score.ssc_regions(truth, prediction, {"nothing": masks["nothing"]}) == {}


def test_masks_of_a_batch_may_differ_by_image() -> None:
    truth, prediction = (np.stack([x, x]) for x in pair())
    masks = np.zeros((2, *truth.shape[2:]), dtype=np.uint8)
    masks[0, 2:], masks[1, :5] = 255, 1
    rows = score.ssc_batch(truth, prediction, mask=masks)
    for i in range(2):
        assert float(rows["SSC"][i]) == pytest.approx(
            score.ssc(truth[i], prediction[i], mask=masks[i])["SSC"], rel=1e-9
        )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_half_precision_predictions_are_scored(dtype: torch.dtype, tolerance: float) -> None:
    truth, prediction = (torch.from_numpy(x).float() for x in pair(noise=0.03))
    rounded = prediction.to(dtype)
    found = score.ssc(truth, rounded)
    close(found, score.ssc(truth, rounded.float()))
    assert found["SSC"] == pytest.approx(score.ssc(truth, prediction)["SSC"], rel=tolerance * 5)


def test_autocast_does_not_touch_the_score() -> None:
    truth, prediction = (torch.from_numpy(x).float() for x in pair())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = score.ssc(truth, prediction)
    assert inside == score.ssc(truth, prediction)


def test_any_layout_in_memory_is_scored_alike() -> None:
    truth, prediction = (x.astype(np.float32) for x in pair())
    expected = score.ssc(truth, prediction)
    last = [np.ascontiguousarray(np.moveaxis(x, 0, -1)) for x in (truth, prediction)]
    close(score.ssc(*(np.moveaxis(x, -1, 0) for x in last)), expected)
    close(score.ssc(truth.astype(">f4"), prediction[:, ::-1].copy()[:, ::-1]), expected)
    truth.flags.writeable = False
    assert score.ssc(truth, prediction) == expected


def test_magnitudes_beyond_float32_squares_are_scored() -> None:
    truth, prediction = (x.astype(np.float32) for x in pair())
    prediction[5, 3, 3] = 3e38
    found = score.ssc(truth, prediction)
    assert all(math.isfinite(value) for value in found.values())
    sam, _ = direct(
        truth.reshape(61, -1).astype(np.float64), np.minimum(prediction, 1e30).reshape(61, -1).astype(float)
    )
    assert found["SAM_deg"] == pytest.approx(sam.mean(), rel=1e-4)


def test_unordered_wavelengths_are_understood() -> None:
    truth, prediction = pair()
    order = np.random.default_rng(0).permutation(61)
    found = score.ssc(truth[order], prediction[order], wavelengths=torch.from_numpy(BAND_GRID.copy())[order])
    close(found, score.ssc(truth, prediction))


def test_a_negative_similarity_scores_zero_not_nan() -> None:
    checks = np.indices((16, 16)).sum(0) % 2 * 0.2 + 0.3
    truth = np.broadcast_to(checks, (61, 16, 16)).astype(np.float32)
    found = score.ssc(truth, 0.8 - truth)
    assert found["SSIM"] < 0
    assert found["S_SSIM"] == found["SSIM"]
    assert (found["SSC"] == 0.0) == (found["S_SPAT"] <= 0.0)


def refused(text: str, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(UserError, match=text):
        score.ssc(*args, **kwargs)


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    truth, prediction = pair()
    refused(r"\(61, 13, 17\).*\(61, 14, 17\)", truth, prediction[:, :-1])
    refused("bands, H, W", truth[0], prediction[0])
    refused("31 bands.*wavelengths", truth[:31], prediction[:31])
    refused("61 bands but 31 wavelengths", truth, prediction, wavelengths=BAND_GRID[:31])
    refused(r"mask has shape \(3, 3\)", truth, prediction, mask=np.ones((3, 3)))
    refused("holds no pixel", truth, prediction, mask=np.zeros(truth.shape[1:]))
    refused("two bands", truth, prediction, wavelengths=BAND_GRID + 400.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_counted_and_refused(value: float) -> None:
    truth, prediction = (x.astype(np.float32) for x in pair())
    prediction[2, 3, 4:6] = value
    refused("prediction holds 2 values", truth, prediction)
    refused("truth holds 2 values", prediction, truth)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (4, 5), (6, 6), (40, 13)])
def test_similarity_is_that_of_mirrored_windows(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(2, *shape))
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(taps, taps) / taps.sum() ** 2

    def blurred(image: Array) -> Array:
        padded = np.pad(image, 5, mode="reflect")
        return np.asarray(np.einsum("ijkl,kl->ij", np.lib.stride_tricks.sliding_window_view(padded, (11, 11)), window))

    x, y = blurred(a), blurred(b)
    xx, yy, xy = blurred(a * a) - x * x, blurred(b * b) - y * y, blurred(a * b) - x * y
    expected = (2 * x * y + 1e-4) * (2 * xy + 9e-4) / ((x * x + y * y + 1e-4) * (xx + yy + 9e-4))
    found = spatial.ssim_map(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None])
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)


def test_colour_differences_are_those_of_an_independent_implementation() -> None:
    reference = pytest.importorskip("colour")
    rng = np.random.default_rng(0)
    first = rng.uniform([[0], [-90], [-90]], [[100], [90], [90]], (3, 3000))
    second = np.where(rng.random(3000) < 0.5, first + rng.normal(0, 2, first.shape), rng.permutation(first, axis=1))
    # Greys, opposite hues, hues on either side of 0, equal colours.
    first[1:, :100], second[1:, 50:150] = 0.0, 0.0
    second[1:, 200:300] = -first[1:, 200:300]
    first[2, 300:400], second[2, 300:400] = 1.0, -1.0
    second[:, 400:500] = first[:, 400:500]
    first[:, 500:503] = [[50.0] * 3, [2.5, 2.49, -1.0], [0.0, -0.001, 2.0]]
    second[:, 500:503] = [[50.0] * 3, [-2.5, -2.49, 0.0], [0.0, 0.0011, 0.0]]
    expected = reference.delta_E(first.T, second.T, method="CIE 2000")
    found = colour.ciede2000(torch.from_numpy(first), torch.from_numpy(second - first)).numpy()
    # Between exactly opposite hues the direction of the turn is a matter of rounding, in any implementation.
    assert np.isfinite(found).all()
    distinct = np.delete(np.arange(3000), np.s_[200:300])
    np.testing.assert_allclose(found[distinct], expected[distinct], rtol=1e-6, atol=1e-9)


def test_colour_differences_in_float32_keep_their_digits() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform([[0], [-90], [-90]], [[100], [90], [90]], (3, 2000))
    apart = rng.normal(0.0, 1.0, first.shape) * rng.choice([1.0, 1e-3, 1e-6], 2000)
    # Greys, of which some turn to colours that are hardly any; opposite and equal ones.
    first[1:, :40], apart[1:, 20:40] = 0.0, rng.choice([0.0, 1e-12, 1e-25], (2, 20))
    apart[1:, 40:60], apart[:, 60:80] = -2.0 * first[1:, 40:60], 0.0
    pairs = [torch.from_numpy(values).float() for values in (first, apart)]
    expected = colour.ciede2000(*(values.double() for values in pairs))
    torch.testing.assert_close(colour.ciede2000(*pairs).double(), expected, rtol=2e-5, atol=1e-12)


def test_a_pair_of_linear_values_is_clipped_as_each_of_them() -> None:
    rng = np.random.default_rng(0)
    linear, other = (torch.from_numpy(rng.uniform(-0.5, 1.5, (3, 500))) for _ in range(2))
    bounded, change = colour.clipped(linear, other - linear)
    torch.testing.assert_close(bounded, linear.clamp(0.0, 1.0))
    torch.testing.assert_close(bounded + change, other.clamp(0.0, 1.0))


def test_errors_by_band_are_the_definitions() -> None:
    truth, prediction = pair()
    truth[:, 0, 0] = 0.0
    found = score.spectral_errors(truth.astype(np.float32), torch.from_numpy(prediction))
    error = prediction - truth.astype(np.float32)
    np.testing.assert_allclose(found["RMSE"], np.sqrt((error**2).mean((1, 2))), rtol=1e-6)
    np.testing.assert_allclose(found["MRAE"], (np.abs(error) / np.maximum(truth, 1e-4)).mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["PSNR_dB"], -20 * np.log10(found["RMSE"]), rtol=1e-9)
    whole = score.cube_errors(truth, prediction)
    assert whole["RMSE"] == pytest.approx(np.sqrt(((prediction - truth) ** 2).mean()), rel=1e-9)
    with pytest.raises(UserError, match="one shape"):
        score.spectral_errors(truth, prediction[:3])


def test_tensors_of_inference_mode_are_scored() -> None:
    truth, prediction = pair(height=80, width=90)
    expected = score.ssc(truth, prediction)
    with torch.inference_mode():
        assert score.ssc(torch.from_numpy(truth) * 1.0, torch.from_numpy(prediction) * 1.0) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_score() -> None:
    truth, prediction = (torch.from_numpy(x).float() for x in pair())
    close(score.ssc(truth.cuda(), prediction.cuda()), score.ssc(truth, prediction))
