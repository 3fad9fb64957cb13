"""Models that reconstruct hyperspectral cubes, and how well they do."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hsmodels.checkpoint import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Reading a parameter or printing help does without torch.
    if name == "load":
        from hsmodels.checkpoint import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
