import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hstasks import losses
from hstasks.losses import KINDS, Loss, Supervision
from hstasks.networks import Output


@pytest.fixture
def salt(shared):
    folder = shared / "reference" / "salt"
    return json.loads((folder / "expected.json").read_text())["losses"], np.load(folder / "loss_cases.npz")


@pytest.fixture
def landcover(shared):
    folder = shared / "reference" / "landcover"
    arrays = np.load(folder / "loss_sampler_cases.npz")
    return json.loads((folder / "expected.json").read_text()), {k: torch.tensor(arrays[k]) for k in arrays.files}


def random_masks(seed, batch=3, size=6):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, size, size, generator=generator, dtype=torch.float64)
    return logits, torch.rand(batch, size, size, generator=generator) > 0.6


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("lovasz_hinge", losses.lovasz_hinge),
        ("lovasz_hinge_whole_batch", lambda x, y: losses.lovasz_hinge(x.reshape(1, -1), y.reshape(1, -1))),
        ("lovasz_elu1", losses.lovasz_elu),
        ("lovasz_symmetric", losses.lovasz_symmetric),
        ("bce_dice", losses.bce_dice),
    ],
)
def test_binary_losses_and_their_gradients_are_those_of_the_reference(salt, name, function):
    cases, arrays = salt
    for case in cases:
        logits = torch.tensor(arrays[f"logits_{case['index']}"], requires_grad=True)
        loss = function(logits, torch.tensor(arrays[f"labels_{case['index']}"]))
        loss.backward()
        assert loss.item() == pytest.approx(case[name], abs=1e-9)
        np.testing.assert_allclose(logits.grad, arrays[f"grad_{name}_{case['index']}"], atol=1e-9)


def test_of_an_empty_mask_only_the_largest_logit_counts_for_the_lovasz_hinge():
    logits = torch.tensor([[[-0.5, 0.25], [2.0, -3.0]]])
    assert losses.lovasz_hinge(logits, torch.zeros(1, 2, 2)).item() == pytest.approx(3.0)


@given(st.integers(0, 10_000))
def test_the_gradient_of_the_lovasz_hinge_is_that_of_finite_differences(seed):
    logits, mask = random_masks(seed, batch=1, size=4)
    logits.requires_grad_()
    losses.lovasz_hinge(logits, mask).backward()
    step = 1e-7
    for place in range(0, 16, 5):
        shift = torch.zeros(16, dtype=torch.float64)
        shift[place] = step
        shift = shift.reshape(1, 4, 4)
        with torch.no_grad():
            up, down = (losses.lovasz_hinge(logits + sign * shift, mask) for sign in (1, -1))
        assert (up - down).item() / (2 * step) == pytest.approx(logits.grad.flatten()[place].item(), abs=1e-5)


@pytest.mark.parametrize("name", KINDS["binary"])
@given(seed=st.integers(0, 10_000))
def test_what_stands_on_invalid_pixels_is_of_no_account_to_a_binary_loss(name, seed):
    logits, mask = random_masks(seed)
    valid = torch.rand(mask.shape, generator=torch.Generator().manual_seed(seed + 1)) > 0.3
    other = torch.where(valid, logits, 7.0).requires_grad_()
    function = KINDS["binary"][name]
    loss = function(other, torch.where(valid, mask, ~mask), valid, each=True)
    torch.testing.assert_close(loss, function(logits, mask, valid, each=True))
    loss.sum().backward()
    assert (other.grad[~valid] == 0).all()
    for i in range(len(mask)):
        if valid[i].any():
            alone = function(logits[i][valid[i]][None], mask[i][valid[i]][None])
            torch.testing.assert_close(loss[i], alone)


@pytest.mark.parametrize("name", KINDS["binary"])
def test_an_image_without_valid_pixels_has_no_gradient(name):
    logits, mask = random_masks(0)
    logits.requires_grad_()
    loss = KINDS["binary"][name](logits, mask, torch.zeros_like(mask), each=True)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", KINDS["binary"])
def test_a_channel_axis_makes_no_difference_and_the_batch_is_the_mean_of_its_images(name):
    logits, mask = random_masks(5)
    function = KINDS["binary"][name]
    each = function(logits, mask, each=True)
    assert each.shape == (3,)
    torch.testing.assert_close(function(logits[:, None], mask[:, None], each=True), each)
    torch.testing.assert_close(function(logits, mask), each.mean())


def test_mixed_labels_weigh_both_entropies():
    logits = torch.tensor([0.3, -2.0])
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0])
    mixed = losses.bce(logits, 0.7 * one + 0.3 * other, each=True)
    apart = 0.7 * losses.bce(logits, one, each=True) + 0.3 * losses.bce(logits, other, each=True)
    torch.testing.assert_close(mixed, apart)


def test_focal_without_its_exponent_is_the_cross_entropy():
    logits, mask = random_masks(1)
    torch.testing.assert_close(losses.focal(logits, mask, gamma=0.0), losses.bce(logits, mask))


def test_half_types_are_computed_in_single_precision():
    logits, mask = random_masks(2)
    for name, function in KINDS["binary"].items():
        assert function(logits.bfloat16(), mask).dtype == torch.float32, name


def test_multiclass_losses_are_those_of_the_reference(landcover):
    expected, arrays = landcover
    logits, truth = arrays["student_logits"], arrays["truth"]
    values = {
        "cross_entropy": losses.cross_entropy(logits, truth, ignore=0),
        "smoothed_ce": losses.cross_entropy(logits, truth, ignore=0, smoothing=0.05),
        "dice_present": losses.multiclass_dice(logits, truth, ignore=0),
        "focal_gamma2": losses.multiclass_focal(logits, truth, ignore=0),
        "ohem_07_64": losses.ohem(logits, truth, ignore=0),
        "lovasz_softmax_present": losses.lovasz_softmax(logits, truth, ignore=0),
    }
    for name, value in values.items():
        assert value.item() == pytest.approx(expected["losses"][name], abs=1e-9), name


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_distillation_is_that_of_the_reference(landcover, temperature):
    expected, arrays = landcover
    wanted = expected["distillation"][str(temperature)]
    student, teacher, mapping = arrays["student_logits"], arrays["teacher_logits"], arrays["mapping"]
    valid = arrays["truth"] != 0
    divergence = losses.distillation(student, teacher, mapping, temperature, valid)
    assert divergence.item() == pytest.approx(wanted["kl_valid_T2"], abs=1e-9)
    everywhere = losses.distillation(student, teacher, mapping, temperature)
    assert everywhere.item() == pytest.approx(wanted["kl_all_T2"], abs=1e-9)
    land = losses.distillation(student, teacher, mapping, temperature, valid, foreground=True)
    assert land.item() == pytest.approx(wanted["kl_foreground_T2"], abs=1e-9)
    hard = losses.cross_entropy(student, arrays["truth"], ignore=0, smoothing=0.05)
    hard = hard + losses.multiclass_dice(student, arrays["truth"], ignore=0)
    assert (0.7 * hard + 0.3 * divergence).item() == pytest.approx(wanted["total_alpha03"], abs=1e-9)


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn():
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert losses.distillation(logits, logits, torch.eye(3), 2.0).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("mapping", "temperature", "said"),
    [
        ([[1.0, 0.0], [0.5, 0.4]], 2.0, "Row 1"),
        ([[1.0, 0.0], [1.5, -0.5]], 2.0, "Row 1"),
        ([[1.0, 0.0]], 2.0, r"it needs \(2, 2\)"),
        ([[1.0, 0.0], [0.0, 1.0]], 0.0, "temperature"),
    ],
)
def test_a_class_map_or_temperature_that_cannot_be_is_refused(mapping, temperature, said):
    logits = torch.zeros(1, 2, 3, 3)
    with pytest.raises(UserError, match=said):
        losses.distillation(logits, logits, mapping, temperature)


@pytest.mark.parametrize("name", [name for name in KINDS["multiclass"] if name != "set_label"])
def test_ignored_and_invalid_pixels_have_no_gradient_in_a_multiclass_loss(name):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 5, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    truth = torch.randint(0, 4, (2, 5, 5), generator=generator)
    truth[0, 0] = 255
    valid = torch.rand(2, 5, 5, generator=generator) > 0.2
    valid[1] = False
    loss = KINDS["multiclass"][name](logits, truth, valid, ignore=255, each=True)
    loss.sum().backward()
    left_out = (~valid | (truth == 255))[:, None].expand_as(logits)
    assert (logits.grad[left_out] == 0).all()
    assert (logits.grad[~left_out] != 0).any()
    assert loss[1].item() == 0


def test_a_label_that_is_no_class_is_named():
    with pytest.raises(UserError, match=r"label 7.*4 classes"):
        losses.cross_entropy(torch.zeros(1, 4, 2, 2), torch.full((1, 2, 2), 7))


def test_class_weights_weigh_pixels():
    logits = torch.randn(1, 3, 1, 2, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([[[0, 2]]])
    apart = [losses.cross_entropy(logits[..., i : i + 1], truth[..., i : i + 1]) for i in (0, 1)]
    both = losses.cross_entropy(logits, truth, class_weights=[1.0, 1.0, 3.0])
    torch.testing.assert_close(both, (apart[0] + 3 * apart[1]) / 4)
    with pytest.raises(UserError, match="2 class weights for 3 classes"):
        losses.cross_entropy(logits, truth, class_weights=[1.0, 2.0])


def test_a_set_of_one_class_is_a_label_and_of_all_classes_says_nothing():
    logits = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits.requires_grad_()
    truth = torch.randint(0, 4, (2, 3, 3), generator=torch.Generator().manual_seed(1))
    single = losses.possible_classes(truth, {c: [c] for c in range(4)}, 4)
    torch.testing.assert_close(losses.set_label(logits, single), losses.cross_entropy(logits, truth))
    every = losses.possible_classes(truth, {c: [0, 1, 2, 3] for c in range(4)}, 4)
    assert losses.set_label(logits, every).item() == pytest.approx(0.0, abs=1e-12)
    partly = losses.set_label(logits, losses.possible_classes(truth, {1: [0, 2]}, 4))
    partly.backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[(truth != 1)[:, None].expand_as(logits)] == 0).all()
    with pytest.raises(UserError, match="Label 1 may be class 4"):
        losses.possible_classes(truth, {1: [4]}, 4)


def test_regression_losses_are_those_of_the_reference(shared):
    case = json.loads((shared / "reference" / "biomass" / "training_cases.json").read_text())["losses"]
    target, prediction, log_var = (
        torch.tensor(case[name], dtype=torch.float64) for name in ("target", "prediction", "log_variance")
    )
    weights = [0.1, 0.1, 0.1, 0.2, 0.5]
    options = {
        "smooth_l1_beta_1": ("huber", {}),
        "smooth_l1_beta_5": ("huber", {"beta": 5.0}),
        "smooth_l1_beta_32.5641": ("huber", {"beta": 32.5641}),
        "quantile_q_0.1": ("quantile", {"q": 0.1}),
        "quantile_q_0.5": ("quantile", {}),
        "quantile_q_0.9": ("quantile", {"q": 0.9}),
        "focal_l1_sigmoid_beta_0.2_gamma_1": ("focal", {}),
        "focal_mse_sigmoid_beta_0.2_gamma_1": ("focal", {"power": 2}),
        "focal_l1_tanh_beta_0.2_gamma_1": ("focal", {"activation": "tanh"}),
        "focal_l1_sigmoid_beta_0.2_gamma_2": ("focal", {"gamma": 2.0}),
        "focal_mse_sigmoid_beta_0.2_gamma_2": ("focal", {"power": 2, "gamma": 2.0}),
        "focal_l1_tanh_beta_0.2_gamma_2": ("focal", {"activation": "tanh", "gamma": 2.0}),
        "gaussian_nll_full": ("gaussian_nll", {"log_var": log_var}),
        "weighted_mse_metric_weights_sum_over_targets_mean_over_images": ("squared", {"weights": weights}),
        "weighted_smooth_l1_beta_5_metric_weights_sum_over_targets": ("huber", {"beta": 5.0, "weights": weights}),
        "one_minus_weighted_r2_of_the_batch": ("weighted_r2", {"weights": weights}),
    }
    assert options.keys() == case["expected"].keys()
    for key, (name, given_options) in options.items():
        function = KINDS["regression"][name]
        assert function(prediction, target, **given_options).item() == pytest.approx(case["expected"][key], rel=1e-6)
        assert function(prediction, target, each=True, **given_options).mean().item() == pytest.approx(
            case["expected"][key], rel=1e-6
        )


@pytest.mark.parametrize("name", [name for name in KINDS["regression"] if name != "gaussian_nll"])
def test_an_unknown_target_is_left_out(name):
    prediction = torch.tensor([[1.0, 5.0], [2.0, 3.0]], requires_grad=True)
    loss = KINDS["regression"][name](prediction, torch.tensor([[2.0, torch.nan], [0.0, 1.0]]), each=True)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert prediction.grad[0, 1] == 0
    assert prediction.grad[0, 0] != 0


def test_the_losses_of_a_batch_are_the_weighted_sum_of_their_parts():
    logits, mask = random_masks(4)
    total, parts = Loss("binary", {"lovasz_hinge": 0.5, "focal": 2.0, "dice": 0.0}, {"focal": {"gamma": 1.0}})(
        logits, mask
    )
    assert set(parts) == {"lovasz_hinge", "focal"}
    wanted = 0.5 * losses.lovasz_hinge(logits, mask, each=True) + 2 * losses.focal(logits, mask, gamma=1.0, each=True)
    torch.testing.assert_close(total, wanted)


@pytest.mark.parametrize(
    ("weights", "options", "said"),
    [
        ({"lovasz_hing": 1.0}, {}, r"close: lovasz_hinge"),
        ({"bce": 0.0}, {}, "above 0"),
        ({}, {}, "above 0"),
        ({"bce": -1.0}, {}, "weight -1"),
        ({"focal": 1.0}, {"focal": {"gama": 2.0}}, r"close: gamma"),
        ({"bce": 1.0}, {"bce": {"each": True}}, "It has: none"),
    ],
)
def test_weights_and_options_that_cannot_be_are_named(weights, options, said):
    with pytest.raises(UserError, match=said):
        Loss("binary", weights, options)


def test_what_a_loss_lacks_is_asked_for():
    with pytest.raises(UserError, match="variances"):
        Loss("regression", {"gaussian_nll": 1.0})(torch.zeros(2, 5), torch.zeros(2, 5))
    with pytest.raises(UserError, match="sets"):
        Loss("multiclass", {"set_label": 1.0})(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3))
    with pytest.raises(UserError, match="same shape"):
        losses.bce(torch.zeros(2, 3), torch.zeros(2, 4))


def test_auxiliary_masks_count_on_images_that_are_not_empty_and_presence_on_all():
    logits, mask = random_masks(6)
    mask[0] = False
    presence = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    output = Output(logits[:, None], (logits[:, None] * 0.5, logits[:, None] * 0.25), presence)
    loss = Loss("binary", {"bce": 1.0})
    total, parts = Supervision(loss, auxiliary=0.1, presence=0.2)(output, mask)
    sides = [losses.bce(logits * scale, mask, each=True) for scale in (0.5, 0.25)]
    torch.testing.assert_close(parts["auxiliary"], (sides[0] + sides[1]) / 2 * torch.tensor([0, 1, 1]))
    torch.testing.assert_close(parts["presence"], losses.bce(presence, torch.tensor([0.0, 1.0, 1.0]), each=True))
    torch.testing.assert_close(total, parts["bce"] + 0.1 * parts["auxiliary"] + 0.2 * parts["presence"])
