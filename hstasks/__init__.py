"""Images to masks, classes and values: the rooms that all image tasks share, and each task's own."""

import os
from typing import TYPE_CHECKING, Any

# Before torch loads OpenMP: threads that wait by spinning starve each other where cores are shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from hstasks.lenses.import_checkpoint import import_checkpoint
    from hstasks.loading import load

__all__ = ["import_checkpoint", "load"]


def __getattr__(name: str) -> Any:
    # Reading a parameter or printing help does without torch.
    if name == "load":
        from hstasks.loading import load

        return load
    if name == "import_checkpoint":
        from hstasks.lenses.import_checkpoint import import_checkpoint

        return import_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
