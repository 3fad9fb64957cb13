import numpy as np
import pytest
import torch
from torch import nn

from hsengine.base.settings import Train, TrainingParams
from hstasks.classification import Classification, ObjectSamples


class Bright(nn.Module):
    """Scores an image by its mean."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, image):
        return (self.scale * image.mean(dim=(1, 2, 3)))[:, None]


def _view(index, key):
    image = np.full((2, 3, 3), float(index), np.float32)
    return image if key is None else image + np.float32(0.001 * key[0])


def _samples(labels=(0, 1, 0, 1, 1, 1), **options):
    return ObjectSamples([f"o{number}" for number in range(len(labels))], labels, _view, **options)


def _batch(samples, keys):
    return torch.utils.data.default_collate([samples[key] for key in keys])


def test_a_view_is_changed_in_training_only():
    assert float(_samples()[7, 2, 0]["image"][0, 0, 0]) == 2.0
    assert float(_samples(training=True)[7, 2, 0]["image"][0, 0, 0]) == pytest.approx(2.007)


def test_mixup_is_a_function_of_seed_epoch_sample_and_draw():
    mixed = _samples(training=True, mixup=0.4, seed=3)
    again = _samples(training=True, mixup=0.4, seed=3)
    for key in ((0, 1, 0), (5, 4, 1)):
        assert torch.equal(mixed[key]["image"], again[key]["image"])
        assert mixed[key]["share"] == again[key]["share"]
    shares = {float(mixed[epoch, 1, draw]["share"]) for epoch in range(3) for draw in range(3)}
    assert len(shares) == 9


def test_image_and_loss_are_mixed_by_one_share():
    samples = _samples(training=True, mixup=1.0)
    task = Classification(Bright, samples, samples)
    for epoch in range(6):
        item = samples[epoch, 2, 0]
        share, value = float(item["share"]), float(item["image"].mean()) - 0.001 * epoch
        others = [index for index in range(6) if abs(share * 2 + (1 - share) * index - value) < 1e-4]
        assert any(samples.labels[index] == int(item["other"]) for index in others)
        losses, _ = task.losses(Bright(), _batch(samples, [(epoch, 2, 0)]))
        logit = item["image"].mean()
        expected = share * nn.functional.softplus(logit) + (1 - share) * nn.functional.softplus(
            -logit if item["other"] else logit
        )
        assert float(losses[0].detach()) == pytest.approx(float(expected), rel=1e-5)


def test_where_two_are_mixed_both_labels_count_for_the_accuracy():
    batch = {
        "image": torch.full((2, 1, 1, 1), 2.0),
        "label": torch.tensor([1.0, 0.0]),
        "other": torch.tensor([0.0, 0.0]),
        "share": torch.tensor([0.75, 0.75]),
    }
    _, parts = Classification(Bright, _samples(), _samples()).losses(Bright(), batch)
    assert parts["accuracy"].tolist() == [0.75, 0.0]


def test_without_mixup_the_loss_is_the_cross_entropy():
    samples = _samples()
    losses, _ = Classification(Bright, samples, samples).losses(Bright(), _batch(samples, [(0, 1, 0), (0, 2, 0)]))
    truth = nn.functional.binary_cross_entropy_with_logits(
        torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0]), reduction="none"
    )
    assert torch.allclose(losses, truth)


def test_measures_of_the_set_are_those_of_its_ranking_and_of_its_parts():
    samples = _samples(labels=(0, 1, 0, 1), categories=(0, 1, 2, 3))
    task = Classification(Bright, samples, samples, {0: "near", 1: "near", 2: "far", 3: "far"})
    with torch.no_grad():
        rows = task.measures(Bright(), _batch(samples, [(0, index, 0) for index in range(4)]), full=True)
    known = [row | {"id": f"o{index}", "category": index} for index, row in enumerate(rows)]
    found = task.summary(known)
    assert found["auc"] == 0.75
    assert found["near/auc"] == found["far/auc"] == 1.0
    assert found["tpr0"] == 0.5
    assert found["accuracy"] == 0.5
    assert found["loss"] == pytest.approx(np.mean([row["loss"] for row in rows]))


def test_draws_visit_categories_equally_often():
    categories = [0] * 90 + [1] * 5 + [2] * 5
    samples = ObjectSamples([str(i) for i in range(100)], [0] * 95 + [1] * 5, _view, categories=categories)
    task = Classification(Bright, samples, samples)
    sampler = task.sampler(samples.ids, samples.categories, seed=0, epochs=1, size=3000)
    counts = np.bincount([categories[index] for index, _ in sampler.epoch(0)])
    assert abs(counts - 1000).max() < 120


def test_what_an_epoch_is_chosen_by_is_known():
    assert {"loss", "auc", "tpr0", "tpr10"} <= set(Classification.directions)
    assert TrainingParams(train=Train(watch="tpr0")).train.watch == "tpr0"
