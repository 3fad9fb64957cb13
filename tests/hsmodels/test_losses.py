"""The losses: their values against the definitions and the score, their gradients against finite differences."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hsengine.base.errors import UserError
from hsmodels.losses import COSINE_LIMIT, ReconstructionLoss, SSCLoss, spectral_angle
from hsmodels.params import Loss
from hsmodels.score import ssc

KINDS = ("plain", "dark", "black truth", "negative", "unrelated", "flat")


def pair(kind: str = "plain", height: int = 7, width: int = 8, bands: int = 61) -> tuple[Tensor, Tensor]:
    """(prediction, truth) float64, without values at which a measure has a kink."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    truth = (0.1 + 0.5 * random(bands, 1, 1)) * (0.3 + random(1, height, width)) + 0.02 * random(bands, height, width)
    prediction = truth * (1.02 + 0.02 * random(bands, height, width))
    if kind == "dark":
        truth[:, :2] *= 0.004
        prediction[:, :2] *= 0.005
    elif kind == "black truth":
        truth[:, 0] = 0.0
    elif kind == "negative":
        prediction[3:9, :2] = -0.004
    elif kind == "unrelated":
        prediction = 0.01 + random(*truth.shape)
    elif kind == "flat":
        prediction, truth = torch.full_like(truth, 0.3), truth.clone()
        truth[:, 2:] = 0.3
    return prediction, truth


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_loss_is_one_minus_the_score(kind: str) -> None:
    prediction, truth = pair(kind)
    assert float(SSCLoss()(prediction, truth)) == pytest.approx(1.0 - ssc(truth, prediction)["SSC"], abs=1e-12)
    single = SSCLoss()(prediction.float(), truth.float())
    assert float(single) == pytest.approx(1.0 - ssc(truth.float(), prediction.float())["SSC"], abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smooth", [False, True])
def test_the_gradient_is_that_of_finite_differences(kind: str, smooth: bool) -> None:
    prediction, truth = pair(kind)
    loss = SSCLoss(smooth=smooth)
    prediction.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(prediction, truth), prediction)
    generator = torch.Generator().manual_seed(0)
    # Well below the darkest reflectances; the rounding of a loss, some 1e-15 that differ from processor to processor,
    # is divided by it. Four points take out the curvature that so large a step would show.
    step = 5e-8
    for i in range(8):
        direction = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
        if i >= 4:
            # Single values, of which some are in the dark rows.
            direction *= torch.rand(truth.shape, generator=generator) < 0.002
        with torch.no_grad():
            at = {n: float(loss(prediction + n * step * direction, truth)) for n in (-2, -1, 1, 2)}
        expected = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("smooth", [False, True])
def test_the_gradient_in_float32_is_that_in_float64(smooth: bool) -> None:
    prediction, truth = pair("dark")
    loss = SSCLoss(smooth=smooth)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        at = prediction.to(dtype).requires_grad_()
        gradients.append(torch.autograd.grad(loss(at, truth.to(dtype)), at)[0].double())
    assert float((gradients[1] - gradients[0]).norm() / gradients[0].norm()) < 1e-4


def zero(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(shape)


def black_border(shape: tuple[int, ...]) -> Tensor:
    cube = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    cube[..., :3, :] = 0.0
    return cube


def specks(shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.7)


def tiny(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(4)) * 1e-12


def opposite(shape: tuple[int, ...]) -> Tensor:
    return -black_border(shape)


def grey(shape: tuple[int, ...]) -> Tensor:
    return torch.full(shape, 0.4)


def glaring(shape: tuple[int, ...]) -> Tensor:
    return black_border(shape) * 50.0


SPECIAL = (zero, black_border, specks, tiny, opposite, grey, glaring)


@pytest.mark.parametrize("truth", SPECIAL)
@pytest.mark.parametrize("prediction", SPECIAL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_gradient_is_finite(truth: object, prediction: object, dtype: torch.dtype) -> None:
    shape = (2, 61, 8, 7)
    target = truth(shape)  # type: ignore[operator]
    for loss in (SSCLoss(), SSCLoss(smooth=True), ReconstructionLoss(ssc=0.5, ssc_smooth=True)):
        at = prediction(shape).to(dtype).requires_grad_()  # type: ignore[operator]
        result = loss(at, target)
        values = result[0] if isinstance(result, tuple) else result
        (gradient,) = torch.autograd.grad(values.sum(), at)
        assert values.shape == (2,)
        assert values.isfinite().all()
        assert gradient.isfinite().all()


def test_the_smooth_loss_pulls_where_the_score_is_flat() -> None:
    _, truth = pair()
    prediction = torch.zeros_like(truth, requires_grad=True)
    (gradient,) = torch.autograd.grad(SSCLoss(smooth=True)(prediction, truth), prediction)
    assert float((gradient * truth).sum()) < -0.1
    far, near = truth * 0.5, truth * 0.9
    assert float(SSCLoss(smooth=True)(near, truth)) < float(SSCLoss(smooth=True)(far, truth))
    assert float(SSCLoss(smooth=True)(truth, truth)) == pytest.approx(0.0, abs=1e-2)


def test_a_batch_has_a_loss_for_each_image() -> None:
    pairs = [pair("plain"), pair("dark")]
    prediction, truth = (torch.stack(images) for images in zip(*pairs, strict=True))
    for smooth in (False, True):
        loss = SSCLoss(smooth=smooth)
        singly = torch.stack([loss(*images) for images in pairs])
        torch.testing.assert_close(loss(prediction, truth), singly, rtol=1e-9, atol=1e-12)


def test_gradients_of_a_batch_do_not_mix() -> None:
    prediction, truth = (torch.stack([x, x * 0.9]) for x in pair())
    prediction.requires_grad_()
    (gradient,) = torch.autograd.grad(SSCLoss()(prediction, truth)[0], prediction)
    assert float(gradient[0].abs().sum()) > 0
    assert float(gradient[1].abs().sum()) == 0


def test_other_bands_come_with_their_wavelengths() -> None:
    prediction, truth = pair(bands=31)
    wavelengths = np.linspace(400.0, 700.0, 31)
    found = float(SSCLoss(wavelengths)(prediction, truth))
    assert found == pytest.approx(1.0 - ssc(truth, prediction, wavelengths=wavelengths)["SSC"], abs=1e-12)
    with pytest.raises(UserError, match="wavelengths"):
        SSCLoss()(prediction, truth)


def test_channels_last_predictions_have_the_same_gradient() -> None:
    prediction, truth = (x[None].float() for x in pair())
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        at = prediction.contiguous(memory_format=layout).requires_grad_()
        gradients.append(torch.autograd.grad(SSCLoss()(at, truth).sum(), at)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)


def test_the_reconstruction_loss_is_l1_and_the_angle_in_radians() -> None:
    prediction, truth = (torch.stack([x, 0.5 * x]) for x in pair("unrelated"))
    losses, parts = ReconstructionLoss(l1=2.0, sam=0.3)(prediction, truth)
    a, b = truth.numpy(), prediction.numpy()
    cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-8)
    l1, sam = np.abs(a - b).mean((1, 2, 3)), np.arccos(cosine).mean((1, 2))
    np.testing.assert_allclose(parts["l1"], l1, rtol=1e-9)
    np.testing.assert_allclose(parts["sam"], sam, rtol=1e-9)
    np.testing.assert_allclose(losses, 2.0 * l1 + 0.3 * sam, rtol=1e-9)
    assert list(parts) == ["l1", "sam"]


def test_the_angle_of_equal_spectra_is_clipped() -> None:
    _, truth = pair()
    at = truth[None].clone().requires_grad_()
    angle = spectral_angle(at, truth[None])
    assert float(angle.detach()) == pytest.approx(np.arccos(COSINE_LIMIT), rel=1e-6)
    assert float(torch.autograd.grad(angle, at)[0].abs().max()) == 0.0


@pytest.mark.parametrize("loss", [ReconstructionLoss(), ReconstructionLoss(ssc=1.0)])
def test_the_loss_is_computed_in_float32_under_autocast(loss: ReconstructionLoss) -> None:
    prediction, truth = (x[None].float() for x in pair())
    half = prediction.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, _ = loss(half, truth)
    outside, _ = loss(half.float(), truth)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_the_weight_of_the_score_rises_over_the_ramp() -> None:
    prediction, truth = (x[None].float().requires_grad_() for x in pair())
    loss = ReconstructionLoss(ssc=0.8, ssc_ramp=0.5)
    found = {}
    for fraction in (0.0, 0.25, 0.5, 1.0):
        loss.set_progress(fraction)
        losses, parts = loss(prediction, truth)
        base = parts["l1"] + 0.1 * parts["sam"]
        found[fraction] = float(((losses - base) / parts["ssc"]).detach())
    assert found == pytest.approx({0.0: 0.0, 0.25: 0.4, 0.5: 0.8, 1.0: 0.8}, abs=1e-5)
    assert ReconstructionLoss(ssc=0.8).ssc_weight == 0.8


def test_the_section_of_the_parameters_makes_the_loss() -> None:
    assert ReconstructionLoss(**Loss(ssc=0.5, ssc_ramp=0.0).model_dump()).ssc_weight == 0.5


def test_shapes_that_differ_are_refused() -> None:
    prediction, truth = pair()
    for loss in (SSCLoss(), ReconstructionLoss()):
        with pytest.raises(UserError, match=r"\(1, 61, 6, 8\).*\(1, 61, 7, 8\)"):
            loss(prediction[None, :, 1:], truth[None])
