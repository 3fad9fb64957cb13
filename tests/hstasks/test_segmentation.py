import numpy as np
import pytest
import torch
from torch import nn

from hsengine.base.errors import UserError
from hsengine.predict.views import FLIP_COLUMNS
from hsengine.train.batches import default_collate
from hstasks import networks, prediction
from hstasks.images.samples import ImageSamples, Picture
from hstasks.images.settings import Augment, Fit, Input
from hstasks.losses import Loss, Supervision
from hstasks.networks.output import Output
from hstasks.prediction import Masks
from hstasks.segmentation import Scoring, Segmentation, probabilities

SIZES = [(9, 12), (9, 12), (10, 10)]
GREY = Input(channels="grey", fit=Fit(pad=16))


class Pointwise(nn.Module):
    """Logits that are a function of each pixel alone, and a presence that is told."""

    def __init__(self, classes=1, presence=None):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-4.0, 4.0, classes) if classes > 1 else torch.tensor([8.0]))
        self.presence = presence

    def forward(self, image):
        logits = (image[:, :1] - 0.5) * self.weight[None, :, None, None]
        there = None if self.presence is None else torch.full((len(image),), self.presence)
        return Output(logits, (), there)


def _samples(settings=GREY, *, augment=None, classes=2, valid=True):
    random = np.random.default_rng(0)
    pictures = []
    for size in SIZES:
        image = random.random((3, *size), dtype=np.float32)
        known = random.random(size) < 0.8 if valid else None
        pictures.append(Picture(image, random.integers(0, classes, size).astype(np.uint8), known))
    return ImageSamples(["a", "b", "c"], lambda index: pictures[index], settings, augment=augment)


def _task(classes=1, settings=GREY, **options):
    kind, names = ("binary", {"bce": 1.0}) if classes == 1 else ("multiclass", {"cross_entropy": 1.0})
    held_out = _samples(settings, classes=max(classes, 2))

    def measures(truth, valid, shares):
        return {"pixels": float(valid.sum()), "side": float(shares.shape[-1]), "sum": float(shares.sum(0).mean())}

    scoring = Scoring(measures, {"pixels": "max"}, "pixels")
    supervision = Supervision(Loss(kind, names))
    return Segmentation(lambda: Pointwise(classes), held_out, held_out, supervision, scoring, settings, **options)


@pytest.mark.parametrize("classes", [1, 4])
def test_samples_are_measured_at_their_own_size_where_the_truth_counts(classes):
    task = _task(classes)
    held_out = task.held_out()
    with torch.no_grad():
        rows = task.measures(task.model(), default_collate([held_out[(0, 0, 0)], held_out[(0, 1, 0)]]), full=True)
    for index, row in enumerate(rows):
        assert row["pixels"] == held_out.picture(index).valid.sum()
        assert row["side"] == 12
        if classes > 1:
            assert row["sum"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_padding_and_pixels_without_truth_do_not_enter_the_loss(classes):
    task = _task(classes)
    item = task.held_out()[(0, 0, 0)]
    before, _ = task.losses(task.model(), default_collate([item]))
    changed = item | {"mask": torch.where(item["valid"], item["mask"], 1 - item["mask"].clamp(max=1))}
    after, _ = task.losses(task.model(), default_collate([changed]))
    assert after.item() == before.item()
    assert item["valid"].sum() == task.held_out().picture(0).valid.sum()


def test_a_sample_is_a_function_of_its_key():
    samples = _samples(augment=Augment(hflip=0.5, vflip=0.5))
    again = _samples(augment=Augment(hflip=0.5, vflip=0.5))
    drawn = [samples[(epoch, 0, 0)]["image"] for epoch in range(8)]
    for epoch, image in enumerate(drawn):
        torch.testing.assert_close(again[(epoch, 0, 0)]["image"], image, rtol=0, atol=0)
    assert len({image.numpy().tobytes() for image in drawn}) > 1


def test_grey_is_the_mean_of_the_channels():
    picture = _samples().picture(0)
    seen = _samples(Input(channels="grey", mean=[0.5], std=[0.25]))[(0, 0, 0)]["image"]
    np.testing.assert_allclose(seen[0], (picture.image.mean(0) - 0.5) / 0.25, rtol=1e-5, atol=1e-6)


def test_a_frozen_encoder_has_rate_zero():
    task = _task(rate=0.0)
    model = networks.build("unet_small", {"width": 4, "depth": 2}, 1, 1)
    model.encoder = model.stem
    rest, encoder = task.groups(model)
    assert encoder.scale == 0.0
    held = {id(value) for value in encoder.parameters}
    assert held == {id(value) for value in model.stem.parameters()}
    assert not held & {id(value) for value in rest.parameters}


def test_predictions_of_mixed_sizes_come_in_order_and_are_those_of_one_at_a_time():
    samples = _samples()
    ensemble = Masks([(Pointwise(), GREY)], (), torch.device("cpu"))
    for batch in (1, 2, 32):
        found = list(ensemble.over(samples, batch=batch))
        assert [one.id for one in found] == ["a", "b", "c"]
        for one, size in zip(found, SIZES, strict=True):
            grey = one.picture.image.mean(0)
            np.testing.assert_allclose(one.probabilities[0], 1 / (1 + np.exp(-8 * (grey - 0.5))), atol=1e-5)
            assert one.probabilities.shape == (1, *size)


def test_a_pointwise_network_says_the_same_of_the_mirror_image():
    samples = _samples()
    plain = list(Masks([(Pointwise(), GREY)], (), torch.device("cpu")).over(samples))
    turned = list(Masks([(Pointwise(), GREY)], FLIP_COLUMNS, torch.device("cpu")).over(samples))
    for one, other in zip(plain, turned, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)


def test_members_see_the_image_as_each_was_trained_to():
    other = Input(channels="grey", mean=[0.25], fit=Fit(pad=20))
    members = [(Pointwise(presence=4.0), GREY), (Pointwise(presence=-4.0), other)]
    both = next(Masks(members, (), torch.device("cpu")).over(_samples()))
    alone = [next(Masks([member], (), torch.device("cpu")).over(_samples())) for member in members]
    np.testing.assert_allclose(both.probabilities, np.mean([one.probabilities for one in alone], axis=0), atol=1e-6)
    assert both.presence == pytest.approx(0.5)
    assert alone[0].presence > 0.9 > 0.1 > alone[1].presence


def test_presence_is_the_largest_pixel_where_no_network_tells_it():
    found = next(Masks([(Pointwise(), GREY)], (), torch.device("cpu")).over(_samples()))
    assert found.presence == pytest.approx(found.probabilities.max())


def test_a_sample_that_is_too_large_is_named():
    ensemble = Masks([(Pointwise(), Input(channels="grey", fit=Fit(pad=10)))], (), torch.device("cpu"))
    with pytest.raises(UserError, match="a: An image of 9 x 12"):
        list(ensemble.over(_samples()))


def test_models_of_different_classes_make_no_ensemble(monkeypatch):
    def load(folder, which):
        return Pointwise(), {"challenge": "salt", "model": {"out_channels": int(folder)}, "checkpoints": {},
                             "params": {"input": GREY.model_dump()}}  # fmt: skip

    monkeypatch.setattr(prediction, "load", load)
    with pytest.raises(UserError, match="different challenges or classes"):
        prediction.opened(["1", "2"], ())


def test_shares_of_classes_sum_to_one_at_the_images_size():
    output = Output(torch.randn(1, 5, 16, 16), (), None)
    shares = probabilities(output, GREY, (9, 12), 0)
    assert shares.shape == (5, 9, 12)
    np.testing.assert_allclose(shares.sum(0), 1.0, atol=1e-6)
