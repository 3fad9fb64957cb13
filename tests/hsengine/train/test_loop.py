import math
import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from toy_task import Points, Toy, machine, same, settings, trained

from hsengine.base.errors import UserError
from hsengine.train import Identity, Task, session, train
from hsengine.train.task import categories_of, ids_of


class Ten(Task):
    """A newcomer's task, with nothing but what a task must have."""

    def model(self):
        return nn.Linear(2, 2)

    def training(self):
        return Points(8, seed=1)

    def held_out(self):
        return Points(3, seed=2)

    def losses(self, model, batch):
        return nn.functional.cross_entropy(model(batch["input"]), batch["target"], reduction="none"), {}


class Poisoned(Toy):
    """One sample's loss is not a number, in some epochs."""

    def __init__(self, *epochs, **options):
        super().__init__(**options)
        self.epochs, self.epoch, self.steps = epochs, 0, 0

    def losses(self, model, batch):
        loss, parts = super().losses(model, batch)
        if torch.is_grad_enabled():
            epoch, self.steps = self.steps // 3, self.steps + 1
            if epoch in self.epochs:
                loss = torch.where(batch["index"] == 7, torch.nan, loss)
        return loss, parts


def test_a_task_of_ten_lines_is_trained(tmp_path):
    result = trained(tmp_path, Ten(), epochs=5)
    assert result.watch == "val/loss"
    assert result.history[-1]["val/loss"] < result.history[0]["val/loss"]
    assert ids_of([1, 2, 3]) == ["0", "1", "2"]
    assert categories_of([1, 2, 3]) == [0, 0, 0]


def test_the_updates_are_those_of_a_plain_loop(tmp_path):
    """Three epochs by hand: same order, same global mean, also for the short last batch."""
    task, given = Toy(), settings(schedule="none", accumulate=2, clip_norm=0.1)
    result = trained(tmp_path, task, schedule="none", accumulate=2, clip_norm=0.1)
    from hsengine.train import sampling
    from hsengine.train.task import seeded

    seeded(3)
    model = task.model()
    optimizer = torch.optim.Adam(model.parameters(), lr=given.lr)
    samples = task.training()
    order = sampling.build("shuffle", samples.ids, samples.categories, seed=3, epochs=3)
    for epoch in range(3):
        visits = order.epoch(epoch)
        for start in (0, 8):
            items = [samples[epoch, index, draw] for index, draw in visits[start : start + 8]]
            batch = next(iter(DataLoader(items, batch_size=len(items))))
            optimizer.zero_grad()
            task.losses(model, batch)[0].mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
    for name, value in model.state_dict().items():
        assert torch.allclose(result.last.weights[name], value, atol=1e-5)


def test_samples_of_different_sizes_weigh_the_same_in_an_update(tmp_path):
    """Whether zeros are appended to some samples makes no difference, but for the last bits."""

    class Padded(Points):
        def __init__(self, every):
            super().__init__(10, seed=1)
            self.every = every

        def __getitem__(self, key):
            item = super().__getitem__(key)
            return item | {"padding": torch.zeros(key[1] % self.every)}

    class Task(Toy):
        def __init__(self, every):
            super().__init__()
            self.every = every

        def training(self):
            return Padded(self.every)

    plain, ragged = (trained(tmp_path / str(every), Task(every)) for every in (1, 3))
    for name, value in plain.last.weights.items():
        assert torch.allclose(ragged.last.weights[name], value, atol=1e-5)


def test_the_first_weights_follow_from_the_seed_alone(tmp_path):
    first = trained(tmp_path / "a", lr=1e-12).last.weights
    torch.rand(3)
    assert same(first, trained(tmp_path / "b", lr=1e-12).last.weights)


def test_readers_in_processes_change_nothing(tmp_path):
    alone = trained(tmp_path / "a", epochs=2)
    helped = trained(tmp_path / "b", epochs=2, loader_workers=2)
    assert same(alone.last.weights, helped.last.weights)
    assert alone.history == helped.history


def test_the_next_epoch_is_read_while_the_held_out_samples_are_measured(tmp_path):
    class Noted(Points):
        def __getitem__(self, key):
            (tmp_path / f"epoch-{key[0]}").touch()
            return super().__getitem__(key)

    class Patient(Toy):
        def training(self):
            return Noted(self.count, seed=1)

        def measures(self, model, batch, *, full):
            if not full:
                limit = time.monotonic() + 20
                while not (tmp_path / "epoch-1").exists():
                    assert time.monotonic() < limit
                    time.sleep(0.01)
            return super().measures(model, batch, full=full)

    assert trained(tmp_path, Patient(), epochs=2, loader_workers=1).reason == "epochs"


def test_full_scores_come_every_so_many_epochs_and_at_the_end(tmp_path):
    history = trained(tmp_path, epochs=5, score_every=2).history
    assert ["val/margin" in row for row in history] == [False, True, False, True, True]
    assert all({"val/loss", "val/accuracy", "train/loss", "train/gradient_norm"} <= row.keys() for row in history)


def test_the_best_epoch_is_that_of_the_watched_measure(tmp_path):
    result = trained(tmp_path, epochs=4, watch="train/loss", lr=0.3, schedule="none")
    losses = [row["train/loss"] for row in result.history]
    assert result.best.epoch == losses.index(min(losses))
    assert result.best.measures == result.history[result.best.epoch]
    assert result.last.epoch == 3


def test_an_expensive_measure_decides_in_the_epochs_that_have_it(tmp_path):
    result = trained(tmp_path, epochs=5, score_every=2, watch="margin")
    margins = {epoch: row["val/margin"] for epoch, row in enumerate(result.history) if "val/margin" in row}
    assert result.best.epoch == max(margins, key=margins.__getitem__)


def test_an_unknown_measure_is_told_with_those_that_are_known(tmp_path):
    with pytest.raises(UserError, match=r"train\.watch: no measure is called 'SSC'; known are accuracy, loss, margin"):
        trained(tmp_path, watch="SSC")
    with pytest.raises(UserError, match=r"train\.stop_on: nothing is logged as 'val/books/loss'"):
        trained(tmp_path, stop_on="books/loss", patience=1, score_every=1)


def test_training_stops_early_with_a_scored_model(tmp_path):
    result = trained(tmp_path, epochs=30, lr=1e-9, patience=3, stop_on="accuracy", score_every=100)
    assert result.reason == "patience"
    assert len(result.history) == 4
    assert "val/margin" in result.history[-1]


def test_the_time_budget_ends_with_a_scored_model(tmp_path):
    result = trained(tmp_path, epochs=1000, max_minutes=1e-4, score_every=1000)
    assert result.reason == "time"
    assert len(result.history) < 1000
    assert "val/margin" in result.history[-1]


def test_a_schedule_by_time_comes_to_its_end_with_the_time(tmp_path):
    given = {"epochs": 100_000, "max_minutes": 0.01, "schedule": "cosine", "warmup_epochs": 0, "min_lr": 0.0, "lr": 1.0}
    by_time = trained(tmp_path / "time", schedule_by="time", score_every=100_000, **given)
    by_epochs = trained(tmp_path / "epochs", score_every=100_000, **given)
    assert by_time.reason == by_epochs.reason == "time"
    assert by_epochs.history[-1]["train/learning_rate"] > 0.99
    assert by_time.history[-1]["train/learning_rate"] < 0.2


def test_a_schedule_by_time_is_that_of_the_epochs_where_they_end_first(tmp_path):
    plain = trained(tmp_path / "plain", schedule="cosine")
    timed = trained(tmp_path / "timed", schedule="cosine", schedule_by="time", max_minutes=1000.0)
    assert same(plain.last.weights, timed.last.weights)


def test_plateau_waits_for_the_measure_that_it_is_told(tmp_path):
    with pytest.raises(UserError, match=r"train\.plateau_on: no measure is called 'SSC'"):
        trained(tmp_path, schedule="plateau", plateau_on="SSC")
    given = {"schedule": "plateau", "plateau_patience": 1, "lr": 1e-9, "min_lr": 0.0, "epochs": 5, "score_every": 1}
    flat = trained(tmp_path / "flat", plateau_on="accuracy", **given)
    assert flat.history[-1]["train/learning_rate"] < flat.history[0]["train/learning_rate"]


def test_a_loss_that_is_not_finite_stops_and_names_the_sample(tmp_path):
    with pytest.raises(UserError, match=r"The loss of point-007 is not finite in epoch 1, update \d"):
        trained(tmp_path, Poisoned(1))


def test_updates_with_such_a_loss_can_be_passed_over(tmp_path):
    said = []
    result = trained(tmp_path, Poisoned(1), said=said, nonfinite="skip")
    assert [row.get("train/skipped_updates", 0.0) for row in result.history] == [0.0, 1.0, 0.0]
    assert len(said) == 1
    assert "point-007" in said[0]
    assert all(math.isfinite(row["train/loss"]) for row in result.history)
    assert all(torch.isfinite(value).all() for value in result.last.weights.values())


def test_running_statistics_survive_a_passed_over_update(tmp_path):
    class Normalised(Poisoned):
        def model(self):
            return nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))

        def losses(self, model, batch):
            poisoned = torch.is_grad_enabled() and self.steps // 3 in self.epochs
            if poisoned:
                batch = batch | {"input": batch["input"] / (batch["index"] != 7)[:, None]}
            return super().losses(model, batch)

    result = trained(tmp_path, Normalised(0), nonfinite="skip")
    assert all(torch.isfinite(value).all() for value in result.last.weights.values())


def test_an_epoch_without_any_finite_loss_is_the_end(tmp_path):
    class Hopeless(Toy):
        def losses(self, model, batch):
            loss, parts = super().losses(model, batch)
            return loss * math.nan, parts

    with pytest.raises(UserError, match="No update of epoch 0"):
        trained(tmp_path, Hopeless(), nonfinite="skip")


def test_the_mean_of_the_best_is_taken_where_it_measures_better(tmp_path):
    result = trained(tmp_path, epochs=6, best_k=3, watch="loss", lr=0.4, schedule="none")
    single = min(row["val/loss"] for row in result.history)
    assert result.best.measures["val/loss"] <= single
    assert len(result.best.averaged) in (1, 3)


def test_a_moving_average_is_what_is_measured_and_kept(tmp_path):
    plain = trained(tmp_path / "a")
    averaged = trained(tmp_path / "b", ema=0.9)
    assert averaged.last.moving
    assert not plain.last.moving
    assert not same(plain.last.weights, averaged.last.weights)
    assert plain.history[-1]["train/loss"] == averaged.history[-1]["train/loss"]
    assert plain.history[-1]["val/loss"] != averaged.history[-1]["val/loss"]


def test_bf16_agrees_with_single_precision(tmp_path):
    single, half = trained(tmp_path / "a"), trained(tmp_path / "b", precision="bf16")
    assert half.history[-1]["val/loss"] == pytest.approx(single.history[-1]["val/loss"], rel=0.05)
    assert all(value.dtype == torch.float32 for value in half.last.weights.values())


@pytest.mark.parametrize(
    ("given", "device", "cores", "beside", "readers"),
    [
        (3, "cuda", 64, 1, 3),
        (0, "cuda", 64, 1, 0),
        (None, "cpu", 64, 1, 0),
        (None, "cuda", 6, 1, 5),
        (None, "cuda", 64, 1, 8),
        (None, "cuda", 16, 4, 3),
        (None, "cuda", 1, 1, 1),
    ],
)
def test_a_gpu_has_its_share_of_the_cores_as_readers(monkeypatch, given, device, cores, beside, readers):
    monkeypatch.setattr(session, "available_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(beside))
    assert session._readers(machine(loader_workers=given), torch.device(device)) == readers


def test_fp16_without_a_gpu_is_refused(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        trained(tmp_path, precision="fp16")


def test_deterministic_training_says_what_it_cannot_do(tmp_path):
    class Undetermined(Toy):
        def losses(self, model, batch):
            if torch.are_deterministic_algorithms_enabled():
                raise RuntimeError("put_ does not have a deterministic implementation")
            return super().losses(model, batch)

    assert trained(tmp_path / "a", deterministic=True).reason == "epochs"
    with pytest.raises(UserError, match=r"train\.deterministic: .*put_ does not have"):
        trained(tmp_path / "b", Undetermined(), deterministic=True)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_full_gpu_is_told_with_what_to_lower(tmp_path):
    class Greedy(Toy):
        def losses(self, model, batch):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 TiB")

    with pytest.raises(
        UserError, match=r"memory is full .*train\.batch_size .*take a smaller toy, set train\.precision"
    ):
        trained(tmp_path, Greedy())


def test_no_sample_is_an_error_and_none_held_out_is_watched_by_the_training_loss(tmp_path):
    with pytest.raises(UserError, match="no sample to train on"):
        trained(tmp_path, Toy(count=0))
    result = trained(tmp_path, Toy(held_out=0))
    assert result.watch == "train/loss"
    assert not any(name.startswith("val/") for name in result.history[-1])


def test_a_mistake_found_in_a_reader_process_comes_out_as_its_own_message(tmp_path):
    class Broken(Points):
        def __getitem__(self, key):
            raise UserError("point-003.h5 is cut off: get it again.")

    class Task(Toy):
        def training(self):
            return Broken(4, seed=1)

    with pytest.raises(UserError, match=r"^point-003\.h5 is cut off: get it again\.$"):
        trained(tmp_path, Task(), loader_workers=1)


def test_a_closed_form_model_is_fitted_once_and_scored(tmp_path):
    class Means(nn.Module):
        closed_form = True

        def __init__(self):
            super().__init__()
            self.register_buffer("centres", torch.zeros(2, 2))

        def forward(self, points):
            return -torch.cdist(points, self.centres)

    class Task(Toy):
        def model(self):
            return Means()

        def fit(self, model, batches):
            items = list(batches)
            for label in (0, 1):
                members = [item["input"] for item in items if int(item["target"]) == label]
                model.centres[label] = torch.cat(members).mean(0)

    result = trained(tmp_path, Task(count=40))
    assert result.reason == "closed form"
    assert result.best is result.last
    assert result.best.measures["val/accuracy"] == 1.0
    assert (tmp_path / "curves" / "plots" / "metrics" / "val" / "margin.tsv").exists()


def test_speed_waiting_and_memory_are_reported(tmp_path):
    speed = trained(tmp_path).speed
    assert speed["samples"] == 30
    assert speed["samples_per_second"] > 0
    assert 0 <= speed["data_wait_share"] <= 1
    assert speed["peak_memory_mb"] > 10


def test_a_training_does_not_leave_its_precision_to_the_next_one(tmp_path):
    single, half, again = (
        trained(tmp_path / str(number), epochs=1, precision=precision).last.weights
        for number, precision in enumerate(["no", "bf16", "no"])
    )
    assert same(single, again)
    assert not same(single, half)


def test_finish_is_called_with_the_result_before_the_state_goes(tmp_path):
    seen = []

    def finish(result):
        seen.append((result.reason, len(list((tmp_path / "runs").glob("*/*.pt")))))

    identity = Identity({}, "", "")
    train(
        Toy(),
        settings(),
        machine(),
        seed=0,
        identity=identity,
        finish=finish,
        curves=tmp_path / "c",
        states=tmp_path / "runs",
    )
    assert seen == [("epochs", 2)]
    assert not list((tmp_path / "runs").iterdir())
