"""Tiles, test-time augmentation, ensembles, floor and ceiling."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.predict import Moments
from hsengine.predict.tiles import STEP, fades, margin_of, spans
from hsmodels import zoo
from hsmodels.inference import Ensemble, finish, predict, reconstruct, seam_error
from hsmodels.params import Predict
from hsmodels.zoo.composed import Striped


def image(channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(seed))


class Pointwise(nn.Module):
    """3 channels to 5 bands at twice the size; no pixel sees another."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 1)
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(x.numel())
        return F.interpolate(self.conv(x), scale_factor=2)


class Convolutions(nn.Module):
    """A stack of 3 × 3 convolutions that sees `layers` pixels far."""

    def __init__(self, channels: int = 3, layers: int = 4) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleList([nn.Conv2d(channels if k == 0 else 6, 6, 3, padding=1) for k in range(layers)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


class Bayer(nn.Module):
    """Asserts that a plane is RGGB with red 0.1, green 0.2 and 0.3, blue 0.4, plus a pixel's mark; gives the mark."""

    pattern = torch.tensor([[0.1, 0.2], [0.3, 0.4]])

    def forward(self, plane: Tensor) -> Tensor:
        height, width = plane.shape[-2:]
        assert height % 2 == 0 and width % 2 == 0
        marks = plane - self.pattern.repeat(height // 2, width // 2)
        # Either green may stand in the place of the other: a transposition exchanges them.
        swapped = plane - self.pattern.T.repeat(height // 2, width // 2)
        marks = torch.where(marks.abs() < swapped.abs(), marks, swapped)
        assert float(marks.abs().max()) < 0.03
        return marks.repeat(1, 4, 1, 1)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 400),
    tile=st.integers(2, 20).map(lambda k: k * STEP),
    part=st.floats(0.0, 1.0),
    scale=st.sampled_from([1, 2]),
)
def test_tiles_cover_an_axis_and_their_weights_sum_to_one(length: int, tile: int, part: float, scale: int) -> None:
    overlap = int(part * (tile - STEP))
    along = spans(length, tile, overlap)
    taken = fades(along, overlap, scale, length)
    weights = taken[:-1] - taken[1:]
    assert along[0].start == 0 and along[-1].stop == length
    assert weights.min() >= 0
    assert torch.allclose(weights.sum(dim=0), torch.ones(length * scale, dtype=torch.float64))
    for number, (span, row) in enumerate(zip(along, weights, strict=True)):
        assert span.start % STEP == 0 and 0 < span.stop - span.start <= tile
        used = torch.nonzero(row)[:, 0]
        # Beside a cut, the margin is not used; at the image's own border there is none.
        first = span.start + (margin_of(overlap) if number else 0)
        last = span.stop - (margin_of(overlap) if number < len(along) - 1 else 0)
        assert used[0] >= first * scale and used[-1] < last * scale


@pytest.mark.parametrize("size", [(40, 96), (57, 33), (16, 130)])
def test_a_model_that_sees_single_pixels_gives_the_same_bits_in_tiles(size: tuple[int, int]) -> None:
    model, x = Pointwise(), image(3, *size)
    assert torch.equal(predict(model, x, tile=24, overlap=8), predict(model, x))


@pytest.mark.parametrize("overlap", [24, 32, None])
def test_tiles_equal_the_whole_where_the_margin_holds_the_models_reach(overlap: int | None) -> None:
    model, x = Convolutions(layers=4), image(3, 150, 101)
    whole = predict(model, x)
    for tile in (64, 88):
        assert torch.allclose(predict(model, x, tile=tile, overlap=overlap), whole, atol=2e-6)
    assert seam_error(model, x, tile=64, overlap=overlap) < 2e-6


def test_a_reach_beyond_the_margin_shows_in_the_stated_seam_error() -> None:
    model, x = Convolutions(layers=8), image(3, 150, 101)
    difference = (predict(model, x, tile=40, overlap=8) - predict(model, x)).abs().max()
    assert difference > 1e-5
    assert seam_error(model, x, tile=40, overlap=8) > 1e-5
    assert seam_error(model, x, tile=160) == 0.0


def test_raw2hsi_in_tiles_of_default_overlap_equals_the_whole() -> None:
    torch.manual_seed(0)
    model, x = zoo.for_track("raw2hsi", 1, {"base_ch": 8}, bands=5), image(1, 304, 200)
    assert (predict(model, x, tile=160) - predict(model, x)).abs().max() < 1e-5


def test_memory_depends_on_the_tile_not_on_the_image() -> None:
    model = Pointwise()
    for size in (64, 200):
        model.sizes.clear()
        predict(model, image(3, size, size), tile=32, overlap=8)
        assert max(model.sizes) == 3 * 32 * 32


def test_batches_and_single_images_give_the_same() -> None:
    model = Convolutions()
    batch = torch.stack([image(3, 48, 40, seed) for seed in range(2)])
    together = predict(model, batch, tile=32, overlap=16)
    assert together.shape == (2, 6, 48, 40)
    for row, single in zip(together, batch, strict=True):
        assert torch.allclose(row, predict(model, single, tile=32, overlap=16), atol=1e-6)


def test_augmentation_of_a_model_without_direction_changes_nothing() -> None:
    model, x = Pointwise(), image(3, 20, 31)
    assert torch.allclose(predict(model, x, tta=True), predict(model, x), atol=1e-6)
    assert torch.allclose(predict(model, x, tta=True, tile=16, overlap=8), predict(model, x), atol=1e-6)


def test_augmentation_averages_the_eight_views() -> None:
    class Right(nn.Module):
        """Each pixel's right neighbour, around the border."""

        def forward(self, x: Tensor) -> Tensor:
            return x.roll(-1, dims=-1)

    x = image(3, 12, 16)
    expected = torch.stack([x.roll(step, dims=axis) for axis in (-1, -2) for step in (-1, 1)]).mean(dim=0)
    assert torch.allclose(predict(Right(), x, tta=True), expected, atol=1e-6)


@pytest.mark.parametrize("tile", [None, 16])
def test_every_view_of_a_mosaic_is_rggb_and_comes_back_in_place(tile: int | None) -> None:
    marks = 0.01 * image(1, 28, 36)
    plane = marks + Bayer.pattern.repeat(14, 18)
    result = predict(Bayer(), plane, tta=True, tile=tile, overlap=None)
    assert torch.allclose(result, marks.repeat(4, 1, 1), atol=1e-6)


def test_a_model_that_hands_out_what_it_keeps_is_not_written_into() -> None:
    x = image(3, 16, 16)
    kept = x.clone()
    predict(nn.Identity(), x, tta=True)
    predict(nn.Identity(), x, tile=16)
    finish(predict(nn.Identity(), x), 0.5)
    assert torch.equal(x, kept)


def test_modes_of_the_models_parts_are_as_before() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5))
    model.train()
    model[1].eval()
    first, second = (predict(model, image(3, 16, 16)) for _ in range(2))
    assert torch.equal(first, second)
    assert [model.training, model[1].training, model[2].training] == [True, False, True]


def test_a_model_can_be_trained_after_a_prediction() -> None:
    model, x = Convolutions(), image(3, 16, 16)
    predict(model, x, tile=16)
    model(x[None]).sum().backward()
    predict(model, x).add_(1.0)


def test_half_precision_gives_float32_near_the_full_result() -> None:
    model, x = Convolutions(), image(3, 32, 32)
    half = predict(model, x, precision="bf16")
    assert half.dtype == torch.float32
    assert 0 < (half - predict(model, x)).abs().max() < 0.05


def test_finished_cubes_lie_between_floor_and_one() -> None:
    cube = finish(torch.tensor([-1.0, 0.0, 0.5, 2.0]), 0.001)
    assert cube.tolist() == pytest.approx([0.001, 0.001, 0.5, 1.0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(UserError, match="not finite"):
        finish(torch.tensor([0.5, bad]), 0.001)


def test_settings_reach_the_prediction() -> None:
    model, x = Convolutions(), image(3, 40, 40)
    given_settings = Predict(floor=0.01, tile=32, overlap=8, tta=True)
    expected = predict(model, x, tile=32, overlap=8, tta=True).clamp(0.01, 1.0)
    assert torch.equal(reconstruct(model, x, given_settings), expected)


@pytest.mark.parametrize(("tile", "overlap"), [(20, None), (8, None), (32, 32), (32, -1)])
def test_tiles_that_cannot_be_are_refused(tile: int, overlap: int | None) -> None:
    with pytest.raises(UserError, match=r"tile"):
        predict(Pointwise(), image(3, 64, 64), tile=tile, overlap=overlap)


def test_an_output_that_does_not_fit_the_input_is_refused() -> None:
    with pytest.raises(UserError, match="its output must be"):
        predict(nn.MaxPool2d(2), image(3, 16, 16))
    with pytest.raises(UserError, match="scale 1"):
        predict(Pointwise(), image(3, 16, 16), scale=1)
    with pytest.raises(UserError, match="shape"):
        predict(Pointwise(), torch.zeros(16, 16))


def test_too_little_gpu_memory_names_a_smaller_tile() -> None:
    class Hungry(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match=r"whole image.*512"):
        predict(Hungry(), image(3, 16, 16))
    with pytest.raises(UserError, match=r"256"):
        predict(Hungry(), image(3, 16, 16), tile=512)


class Noisy(nn.Module):
    """The truth, which is the input, with an error in each band of its own."""

    def __init__(self, errors: list[float], seed: int) -> None:
        super().__init__()
        self.errors, self.seed = torch.tensor(errors), seed

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(self.seed))
        return x + self.errors[:, None, None] * noise


def test_an_ensemble_without_weights_is_the_mean() -> None:
    x, members = image(3, 16, 16), [Noisy([0.1, 0.1, 0.1], seed) for seed in (1, 2)]
    mean = (predict(members[0], x) + predict(members[1], x)) / 2
    assert torch.allclose(predict(Ensemble(members), x), mean, atol=1e-6)


def test_fitted_weights_are_least_squares_in_each_band() -> None:
    x, members = image(3, 64, 64), [Noisy([0.1, 0.3, 0.0], 1), Noisy([0.3, 0.1, 0.5], 2)]
    predictions = [predict(member, x) for member in members]
    weights = Moments.of(predictions, x).weights()
    assert weights.shape == (2, 3) and weights.min() >= 0
    assert weights[0, 0] > 0.8 and weights[1, 1] > 0.8 and weights[0, 2] == pytest.approx(1.0, abs=1e-4)
    fitted = (predict(Ensemble(members, weights), x) - x).square().mean()
    assert fitted < min((prediction - x).square().mean() for prediction in predictions)
    for band in range(2):
        rows = np.stack([prediction[band].numpy().ravel() for prediction in predictions], axis=1)
        free = np.linalg.lstsq(rows.astype(np.float64), x[band].numpy().ravel().astype(np.float64))[0]
        assert weights[:, band] == pytest.approx(free, abs=1e-5)


def test_moments_of_images_add_up_and_equal_members_share() -> None:
    truth = [image(2, 8, 8, seed) for seed in (1, 2)]
    parts = [Moments.of([t, t], t) for t in truth]
    both = Moments.of([torch.cat(truth, 1)] * 2, torch.cat(truth, 1))
    assert np.allclose((parts[0] + parts[1]).products, both.products)
    assert np.allclose((both - parts[0]).targets, parts[1].targets)
    assert both.weights().sum(axis=0) == pytest.approx(1.0, abs=1e-6)


def test_members_of_different_shape_are_refused() -> None:
    with pytest.raises(UserError, match="one shape"):
        predict(Ensemble([Convolutions(), Pointwise()]), image(3, 16, 16))
    with pytest.raises(UserError, match="one row a model"):
        Ensemble([Convolutions()], np.ones((2, 6)))


@pytest.mark.parametrize("around", [{}, {"tta": True}, {"tile": 16, "overlap": 8}, {"tile": 16, "tta": True}])
def test_the_stripes_of_the_sensor_stay_in_their_columns(around):
    model = Striped(Pointwise(), 5, 60)
    nn.init.normal_(model.bias)
    x = image(3, 24, 28)
    bare = predict(model.net, x, **around)
    torch.testing.assert_close(predict(model, x, **around), bare + model.bias.detach()[:, None, :56])
    both = Ensemble([model, Pointwise()])
    torch.testing.assert_close(predict(both, x, **around), bare + 0.5 * model.bias.detach()[:, None, :56])


def test_stripes_are_no_seam():
    model = Striped(Pointwise(), 5, 60)
    nn.init.normal_(model.bias)
    assert seam_error(model, image(3, 24, 28), tile=16, overlap=8) < 1e-6
