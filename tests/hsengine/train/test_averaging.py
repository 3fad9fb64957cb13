import math

import torch
from torch import nn

from hsengine.train.averaging import BestOnes, Checkpoint, MovingAverage, mean_of


def _checkpoint(epoch, value):
    return Checkpoint({"w": torch.tensor([float(value)]), "n": torch.tensor(epoch)}, epoch, {}, (epoch,))


def test_the_moving_average_follows_the_weights_and_gives_them_back():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = MovingAverage(model, 0.9)
    start = model[0].weight.item()
    with torch.no_grad():
        model[0].weight += 1.0
        model[1].num_batches_tracked += 1
    average.update()
    with average.applied():
        # The first decay is 2/11.
        assert math.isclose(model[0].weight.item(), start + 9 / 11, rel_tol=1e-5)
        assert int(model[1].num_batches_tracked) == 1
    assert math.isclose(model[0].weight.item(), start + 1.0, rel_tol=1e-6)


def test_the_moving_average_comes_back_from_its_state():
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    average = MovingAverage(model, 0.5)
    with torch.no_grad():
        model.weight += 1
    average.update()
    other = MovingAverage(nn.Linear(2, 2), 0.5)
    other.load_state_dict(average.state_dict())
    assert other.updates == 1
    assert torch.equal(other.state_dict()["average"]["weight"], average.state_dict()["average"]["weight"])


def test_the_best_few_are_kept_in_order_and_the_earlier_of_equals_wins():
    best = BestOnes(2, "max")
    for epoch, value in enumerate([0.1, 0.3, 0.2, math.nan, 0.3, 0.3]):
        best.offer(value, _checkpoint(epoch, value))
    assert [checkpoint.epoch for checkpoint in best.kept] == [1, 4]
    assert best.best.epoch == 1
    assert best.value == 0.3


def test_less_is_better_where_the_direction_says_so():
    best = BestOnes(1, "min")
    for epoch, value in enumerate([3.0, 1.0, 2.0]):
        best.offer(value, _checkpoint(epoch, value))
    assert best.best.epoch == 1


def test_the_mean_of_the_best_is_of_floats_only_and_needs_two():
    best = BestOnes(3, "min")
    assert best.best is None
    assert mean_of(best.kept) is None
    best.offer(1.0, _checkpoint(0, 2.0))
    assert mean_of(best.kept) is None
    best.offer(0.5, _checkpoint(1, 5.0))
    assert mean_of(best.kept) == {"w": torch.tensor([3.5]), "n": torch.tensor(1)}


def test_the_best_come_back_from_their_state():
    best = BestOnes(2, "max")
    best.offer(1.0, _checkpoint(0, 2.0))
    other = BestOnes(2, "max")
    other.load_state_dict(best.state_dict())
    assert other.best == best.best
    assert other.value == 1.0


def test_a_moving_average_without_warm_up_has_its_decay_from_the_first_update_on():
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(model, 0.9, warmup=False)
    start = model.weight.item()
    with torch.no_grad():
        model.weight += 1.0
    average.update()
    with average.applied():
        assert math.isclose(model.weight.item(), start + 0.1, rel_tol=1e-5)
