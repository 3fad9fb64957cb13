"""fp16 with loss scaling, by a stand-in on CPUs."""

import pytest
import torch
from toy_task import Toy, files, same, trained


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it."""


class Mortal(Toy):
    """Killed in its eighth loss."""

    calls = 0

    def losses(self, model, batch):
        self.calls += 1
        if self.calls == 8:
            raise Killed
        return super().losses(model, batch)


def test_fp16_agrees_with_single_precision(tmp_path, half_on_cpu):
    single, half = trained(tmp_path / "a"), trained(tmp_path / "b", precision="fp16")
    assert half.history[-1]["val/loss"] == pytest.approx(single.history[-1]["val/loss"], rel=0.05)
    assert not same(half.last.weights, single.last.weights)
    assert all(value.dtype == torch.float32 for value in half.last.weights.values())


def test_updates_that_overflow_are_left_out_and_counted(tmp_path, half_on_cpu, monkeypatch):
    monkeypatch.setattr(half_on_cpu, "start", 2.0**24)
    result = trained(tmp_path, precision="fp16", epochs=8)
    assert result.history[0]["train/scaler_overflows"] > 0
    assert result.history[-1]["train/scaler_overflows"] == 0
    assert result.history[-1]["val/loss"] < result.history[0]["val/loss"]


def test_a_killed_training_goes_on_with_its_loss_scale(tmp_path, half_on_cpu):
    options = {"precision": "fp16", "epochs": 5, "state_minutes": 1e-9}
    expected = trained(tmp_path / "a", **options)
    with pytest.raises(Killed):
        trained(tmp_path / "b", Mortal(), **options)
    found = trained(tmp_path / "b", **options)
    assert same(found.last.weights, expected.last.weights)
    assert files(tmp_path / "b" / "curves") == files(tmp_path / "a" / "curves")
