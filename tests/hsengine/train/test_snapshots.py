import pytest
from toy_task import same, settings, trained

from hsengine.base.errors import UserError
from hsengine.base.params import validated
from hsengine.base.settings import TrainingParams
from hsengine.train.schedule import Schedule, cycle_ends


def _rates(**changes):
    given = settings(**{"lr": 1.0, "min_lr": 0.01, "schedule": "cosine"} | changes)
    import torch

    schedule = Schedule(torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), given)
    return [schedule.rate(epoch) for epoch in range(given.epochs + 1)]


def test_a_cosine_begins_again_with_every_cycle():
    single = _rates(epochs=3)
    assert _rates(epochs=9, cycles=3) == pytest.approx([*single[:3], *single[:3], *single])
    assert _rates(epochs=7, cycles=3, warmup_epochs=1)[1:] == pytest.approx([1.0, 0.505, 1.0, 0.505, 1.0, 0.505, 0.01])


def test_cycles_may_differ_in_length():
    short, long = _rates(epochs=3), _rates(epochs=6)
    assert _rates(epochs=9, cycles=[1, 2]) == pytest.approx([*short[:3], *long])
    assert cycle_ends(settings(epochs=105, cycles=[1, 2, 4])) == {14, 44, 104}
    assert _rates(epochs=9, cycles=[2.0]) == _rates(epochs=9)


def test_a_cycles_last_epoch_is_the_last_before_the_restart():
    assert cycle_ends(settings(epochs=9, cycles=3)) == {2, 5, 8}
    assert cycle_ends(settings(epochs=10, cycles=3, warmup_epochs=1)) == {3, 6, 9}
    assert cycle_ends(settings(epochs=10, cycles=4)) == {1, 4, 6, 9}
    assert cycle_ends(settings(epochs=5)) == {4}
    with pytest.raises(UserError, match=r"train\.cycles: 6 cycles in 5 epochs"):
        cycle_ends(settings(epochs=6, cycles=6, warmup_epochs=1))


def test_each_cycles_last_model_is_kept_and_measured_in_full(tmp_path):
    result = trained(tmp_path, epochs=6, cycles=3, kept="cycles", snapshots="files", score_every=100)
    assert [made.epoch for made in result.kept] == [1, 3, 5]
    assert all("val/margin" in made.measures for made in result.kept)
    assert same(result.kept[-1].weights, result.last.weights)
    assert result.kept[0].measures == result.history[1]


def test_the_best_few_are_kept_as_files_the_best_first(tmp_path):
    result = trained(tmp_path, epochs=6, best_k=3, snapshots="files", watch="loss", lr=0.4, schedule="none")
    values = [made.measures["val/loss"] for made in result.kept]
    assert values == sorted(row["val/loss"] for row in result.history)[:3]
    assert same(result.best.weights, result.kept[0].weights)
    assert len(result.best.averaged) == 1


@pytest.mark.parametrize("kept", [{"best_k": 3}, {"kept": "cycles"}], ids=["best", "cycles"])
def test_the_mean_of_several_takes_the_place_of_the_best_only_where_it_measures_better(tmp_path, kept):
    given = {"epochs": 9, "cycles": 3, "watch": "loss", "lr": 0.6, "min_lr": 0.1} | kept
    single = trained(tmp_path / "files", snapshots="files", **given)
    mean = trained(tmp_path / "mean", **given)
    assert not mean.kept
    assert mean.best.measures["val/loss"] <= single.best.measures["val/loss"]
    if len(mean.best.averaged) > 1:
        assert mean.best.averaged == tuple(sorted(made.epoch for made in single.kept))
    else:
        assert same(mean.best.weights, single.best.weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cycles": 2, "schedule": "step"}, r"train\.cycles above 1 needs train\.schedule cosine"),
        ({"cycles": [1, 2], "schedule": "step"}, r"train\.cycles above 1 needs train\.schedule cosine"),
        ({"kept": "cycles", "best_k": 2}, r"train\.best_k above 1 needs train\.kept best"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        validated(TrainingParams, {"train": changes}, "params.yaml")
