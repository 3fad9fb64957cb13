import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import toy_worker
from toy_task import EVERYTHING, Learned, Toy, files, machine, same, settings, trained

from hsengine.base.errors import UserError
from hsengine.train.interruption import PREEMPTED, Interruption

# Everything that a state must bring back.
RICH = {
    "epochs": 3,
    "accumulate": 2,
    "ema": 0.9,
    "best_k": 2,
    "schedule": "plateau",
    "plateau_patience": 1,
    "clip_norm": 0.5,
    "optimizer": "adamw",
    "state_minutes": 1e-9,
}


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it."""


class Mortal(Toy):
    """The toy task, with dropout, killed in its n-th loss or measure."""

    def __init__(self, lives=None):
        super().__init__(dropout=0.5)
        self.lives = lives
        self.calls = 0

    def losses(self, model, batch):
        self._live()
        return super().losses(model, batch)

    def measures(self, model, batch, *, full):
        self._live()
        return super().measures(model, batch, full=full)

    def _live(self):
        self.calls += 1
        if self.calls == self.lives:
            raise Killed


class MortalLearned(Mortal, Learned):
    """The one with all that a task may add."""


def _outcome(folder, result):
    return result.best.weights, result.last.weights, result.history, files(folder / "curves")


@pytest.mark.parametrize(
    ("task", "given"),
    [(Mortal, RICH | {"sampling": name}) for name in ("shuffle", "balanced", "difficulty")]
    + [(Mortal, RICH | {"sampling": "balanced", "updates": 2}), (MortalLearned, EVERYTHING)],
    ids=["shuffle", "balanced", "difficulty", "updates", "everything"],
)
def test_a_training_killed_anywhere_goes_on_to_the_same_weights_and_curves(tmp_path, task, given):
    undisturbed = task()
    first = trained(tmp_path / "a", undisturbed, **given)
    expected = _outcome(tmp_path / "a", first)
    some = random.Random(str(given)).sample(range(1, undisturbed.calls + 1), 3)
    for lives in [*some, undisturbed.calls]:
        folder = tmp_path / str(lives)
        with pytest.raises(Killed):
            trained(folder, task(lives), **given)
        result = trained(folder, task(), **given)
        best, last, history, curves = _outcome(folder, result)
        assert same(best, expected[0])
        assert same(last, expected[1])
        assert history == expected[2]
        assert curves == expected[3]
        assert [made.epoch for made in result.kept] == [made.epoch for made in first.kept]
        assert all(same(mine.weights, other.weights) for mine, other in zip(result.kept, first.kept, strict=True))
        assert not list((folder / "runs").iterdir())


def test_without_states_in_mid_epoch_the_epoch_is_done_again_alike(tmp_path):
    expected = _outcome(tmp_path / "a", trained(tmp_path / "a", Mortal()))
    with pytest.raises(Killed):
        trained(tmp_path / "b", Mortal(lives=13))
    said = []
    result = trained(tmp_path / "b", Mortal(), said=said)
    assert said == ["Going on from a saved state: epoch 1."]
    assert same(result.last.weights, expected[1])
    assert files(tmp_path / "b" / "curves") == expected[3]


def test_killed_in_finishing_the_result_is_made_again(tmp_path):
    first = trained(tmp_path)
    before = files(tmp_path / "curves")

    from hsengine.train import Identity, train

    given = settings()
    arguments = {"seed": 3, "identity": Identity(given.model_dump(), "code", "data"), "say": lambda text: None}
    places = {"curves": tmp_path / "curves", "states": tmp_path / "runs"}

    def killed(result):
        raise Killed

    with pytest.raises(Killed):
        train(Toy(), given, machine(), finish=killed, **arguments, **places)
    task = Mortal()
    task.dropout = 0.0
    finished = []
    train(task, given, machine(), finish=finished.append, **arguments, **places)
    assert task.calls == 0
    assert same(finished[0].last.weights, first.last.weights)
    assert files(tmp_path / "curves") == before


def test_the_last_generation_cut_off_by_hand_costs_nothing_but_time(tmp_path):
    expected = trained(tmp_path / "a", Mortal())
    with pytest.raises(Killed):
        trained(tmp_path / "b", Mortal(lives=20))
    newest = max((tmp_path / "b" / "runs").glob("*/*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    said = []
    result = trained(tmp_path / "b", Mortal(), said=said)
    assert "cannot be used" in said[0]
    assert same(result.last.weights, expected.last.weights)


def test_another_configuration_starts_afresh(tmp_path):
    with pytest.raises(Killed):
        trained(tmp_path, Mortal(lives=20))
    said = []
    trained(tmp_path, Mortal(), said=said, lr=0.01)
    assert "lr differ" in said[0]
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_training_goes_on_over_a_full_disk_with_the_last_good_state(tmp_path, monkeypatch):
    expected = trained(tmp_path / "a", Mortal())
    written = Path.write_bytes

    def full(self, data):
        if self.name > "00000000.part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(self, data)

    said = []
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(Killed):
            trained(tmp_path / "b", Mortal(lives=20), said=said)
    assert len(said) == 1
    assert "No space left" in said[0]
    result = trained(tmp_path / "b", Mortal(), said=said)
    assert said[1] == "Going on from a saved state: epoch 1."
    assert same(result.last.weights, expected.last.weights)


class Signalled(Mortal):
    """Gets SIGTERM or Ctrl-C where the mortal one is killed."""

    def __init__(self, lives, number=signal.SIGTERM):
        super().__init__(lives)
        self.number = number

    def _live(self):
        try:
            super()._live()
        except Killed:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("lives", [5, 12, 26])
def test_sigterm_saves_and_leaves_with_a_code_of_its_own(tmp_path, lives):
    expected = _outcome(tmp_path / "a", trained(tmp_path / "a", Mortal(), epochs=4))
    handler = signal.getsignal(signal.SIGTERM)
    said = []
    with pytest.raises(SystemExit) as left:
        trained(tmp_path / "b", Signalled(lives), said=said, epochs=4)
    assert left.value.code == PREEMPTED == 75
    assert "the state is saved" in said[-1]
    assert signal.getsignal(signal.SIGTERM) is handler
    task = Mortal()
    best, last, history, curves = _outcome(tmp_path / "b", trained(tmp_path / "b", task, epochs=4))
    assert same(best, expected[0])
    assert same(last, expected[1])
    assert (history, curves) == expected[2:]


def test_ctrl_c_saves_too(tmp_path):
    with pytest.raises(SystemExit) as left:
        trained(tmp_path, Signalled(5, signal.SIGINT))
    assert left.value.code == 130
    assert list((tmp_path / "runs").glob("*/*.pt"))


def test_a_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_failing_training_keeps_its_state(tmp_path):
    class Failing(Mortal):
        def _live(self):
            try:
                super()._live()
            except Killed:
                raise UserError("a sample is gone") from None

    with pytest.raises(UserError, match="a sample is gone"):
        trained(tmp_path, Failing(lives=20))
    assert list((tmp_path / "runs").glob("*/*.pt"))


def test_a_process_killed_by_the_system_goes_on_to_the_same_weights_and_curves(tmp_path):
    def specification(name):
        folder = tmp_path / name
        folder.mkdir()
        spec = {"folder": str(folder), "task": {"pause": 0.02, "dropout": 0.5}}
        spec["settings"] = {"epochs": 6, "batch_size": 4, "lr": 0.05, "state_minutes": 1e-9}
        (folder / "spec.json").write_text(json.dumps(spec))
        return folder, [sys.executable, "-m", "toy_worker", str(folder / "spec.json"), str(folder / "result.json")]

    folder, command = specification("killed")
    with subprocess.Popen(command) as process:
        while not list(folder.glob("runs/*/*.pt")):
            assert process.poll() is None
            time.sleep(0.01)
        # At any moment, another one on each run: what is asserted holds for all of them.
        time.sleep(random.Random(os.getpid()).uniform(0.0, 0.2))
        process.kill()
    assert not (folder / "result.json").exists()
    other, undisturbed = specification("undisturbed")
    for arguments in (command, undisturbed):
        toy_worker.run(*map(Path, arguments[-2:]))
    assert (folder / "result.json").read_bytes() == (other / "result.json").read_bytes()
    assert files(folder / "curves") == files(other / "curves")


def test_the_generators_of_the_caller_do_not_matter(tmp_path):
    first = trained(tmp_path / "a", Mortal())
    torch.manual_seed(99)
    torch.rand(5)
    assert same(trained(tmp_path / "b", Mortal()).last.weights, first.last.weights)
