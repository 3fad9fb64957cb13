"""Models that reconstruct hyperspectral cubes, and how well they do."""

import os
from typing import TYPE_CHECKING, Any

# Before torch loads OpenMP: threads that wait by spinning starve each other where cores are shared,
# several times over; waiting asleep costs next to nothing where they are not.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from hsmodels.checkpoint import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Reading a parameter or printing help does without torch.
    if name == "load":
        from hsmodels.checkpoint import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
