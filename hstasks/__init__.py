"""Images to masks, classes and values: the rooms that all image tasks share, and each task's own."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hstasks.loading import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Torch is imported when a model is loaded, not when a table is read.
    if name == "load":
        return importlib.import_module("hstasks.loading").load
    raise AttributeError(f"module 'hstasks' has no attribute '{name}'")
