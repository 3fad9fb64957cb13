import math

import pytest
import torch
from toy_task import settings

from hsengine.train.schedule import Schedule

NAMES = ["cosine", "step", "exponential", "plateau", "onecycle", "none"]


def _schedule(**changes):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    return Schedule(optimizer, settings(**{"lr": 1.0, "min_lr": 0.01, "epochs": 10} | changes))


def test_cosine_goes_from_the_rate_to_the_least_one():
    schedule = _schedule(schedule="cosine")
    assert schedule.rate(0) == 1.0
    assert schedule.rate(5) == pytest.approx(0.505)
    assert schedule.rate(10) == pytest.approx(0.01)


def test_cosine_is_that_of_torch_at_the_epochs():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=0.01)
    schedule = _schedule(schedule="cosine")
    for epoch in range(10):
        assert schedule.rate(epoch) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_steps_and_exponential_fall_by_the_factor():
    stepped = _schedule(schedule="step", step_epochs=4, gamma=0.1)
    assert [stepped.rate(epoch) for epoch in (0, 3.9, 4, 8)] == pytest.approx([1.0, 1.0, 0.1, 0.01])
    falling = _schedule(schedule="exponential", gamma=0.5)
    assert [falling.rate(epoch) for epoch in (0, 1, 2.5)] == pytest.approx([1.0, 0.5, 0.25])


def test_one_cycle_rises_and_falls():
    schedule = _schedule(schedule="onecycle")
    assert [schedule.rate(epoch) for epoch in (0, 3, 10)] == pytest.approx([0.04, 1.0, 0.01])
    assert schedule.rate(1) < schedule.rate(2) < schedule.rate(3) > schedule.rate(4)


def test_plateau_lowers_the_rate_once_the_loss_stops_falling_and_remembers_that():
    schedule = _schedule(schedule="plateau", plateau_patience=2, gamma=0.5)
    for loss in (1.0, 0.9, 0.9, 0.95):
        schedule.end_epoch(loss)
        assert schedule.rate(1) == 1.0
    schedule.end_epoch(0.9)
    assert schedule.rate(1) == 0.5
    other = _schedule(schedule="plateau", plateau_patience=2, gamma=0.5)
    other.load_state_dict(schedule.state_dict())
    for _ in range(3):
        schedule.end_epoch(math.nan)
        other.end_epoch(math.nan)
    assert other.rate(1) == schedule.rate(1) == 0.25


def test_plateau_can_wait_for_more_of_a_measure_and_passes_over_epochs_without_it():
    schedule = _schedule(schedule="plateau", plateau_patience=1, gamma=0.5)
    for value in (0.1, None, 0.2, None, None, 0.3, 0.3):
        schedule.end_epoch(value, "max")
    assert schedule.rate(1) == 1.0
    schedule.end_epoch(0.2, "max")
    assert schedule.rate(1) == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_every_schedule_warms_up_and_keeps_within_its_bounds(name):
    schedule = _schedule(schedule=name, warmup_epochs=2)
    rates = [schedule.set(epoch + update / 4, 4) for epoch in range(10) for update in range(4)]
    assert all(0 < rate <= 1.0 for rate in rates)
    assert rates[0] < 0.2
    assert rates[:8] == sorted(rates[:8])
    assert rates[7] == pytest.approx(1.0)
    assert schedule.optimizer.param_groups[0]["lr"] == rates[-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_warm_up_longer_than_the_training_is_no_fault(name):
    schedule = _schedule(schedule=name, warmup_epochs=20)
    rates = [schedule.set(epoch, 1) for epoch in range(10)]
    assert all(math.isfinite(rate) for rate in rates)
    schedule.rate(10)
