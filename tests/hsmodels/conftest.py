"""What tests of training may ask for."""

import pytest
import torch
from accelerate import Accelerator

from hsengine.train import session
from hsmodels.zoo import precision


class HalfOnCPU(Accelerator):
    """Autocasts to fp16 and scales the loss on a CPU, where Accelerate itself leaves both out."""

    start = 2.0**16

    def __init__(self, **options):
        super().__init__(**options)
        if self.mixed_precision == "fp16":
            self.native_amp = True
            self.scaler = torch.amp.GradScaler("cpu", init_scale=self.start, growth_interval=4)


@pytest.fixture
def half_on_cpu(monkeypatch):
    """bf16 and fp16 as on a GPU: a stand-in, as slow as a processor without such numbers is."""
    monkeypatch.setattr(session, "Accelerator", HalfOnCPU)
    monkeypatch.setattr(session, "_check_precision", lambda precision: None)
    monkeypatch.setattr(precision, "_NATIVE", {})
    if torch.cuda.is_available():
        pytest.skip("there is a GPU: half precision needs no stand-in")
    return HalfOnCPU
