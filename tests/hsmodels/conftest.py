"""What tests of models may ask for."""

import pytest

from hsmodels.zoo import precision


@pytest.fixture
def half_on_cpu(half_on_cpu, monkeypatch):
    """bf16 and fp16 as on a GPU, in the models too: a stand-in, as slow as a processor without such numbers is."""
    monkeypatch.setattr(precision, "_NATIVE", {})
    return half_on_cpu
