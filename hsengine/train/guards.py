"""What surrounds a training: faults turned into advice, and operations that give the same bits."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from hsengine.base.errors import UserError
from hsengine.base.reading import reason


@contextmanager
def explained(advice: Mapping[str, str]) -> Iterator[None]:
    """Turn what a GPU refuses into advice.

    Args:
        advice: the task's own, see `hsengine.train.Task`.

    Raises:
        UserError: memory ran out, or an operation has no deterministic form.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        own = f"{advice['memory']}, " if "memory" in advice else ""
        raise UserError(
            f"The GPU's memory is full ({reason(error)[:160]}): lower train.batch_size (and raise "
            f"train.accumulate), {own}set train.precision bf16 or train.gradient_checkpointing."
        ) from error
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise UserError(
            f"train.deterministic: {traceback.format_exception_only(error)[-1].splitlines()[0][:300]} "
            "Set it to false, or choose a model without that operation."
        ) from error


def deterministic(wanted: bool) -> AbstractContextManager[None]:
    """While it lasts, operations give the same bits on every run, on GPUs too; or nothing changes."""
    return _deterministic() if wanted else nullcontext()


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
