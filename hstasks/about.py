"""What the model card says of the networks of the image tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hsengine.card import FOLDER, About

_TASKS: Final = {"segmentation": "image-segmentation", "classification": "image-classification", "regression": ""}


def about(challenge: str, task: str, summary: str, limits: Sequence[str] = ()) -> About:
    """What is particular to the models of a challenge.

    Args:
        challenge: its name.
        task: `segmentation`, `classification` or `regression`.
        summary: what goes in and what comes out, in a sentence.
        limits: sentences about what the models cannot do.
    """
    return About(
        summary=summary,
        data=f"{challenge} challenge layout",
        task=_TASKS[task],
        tags=[challenge, task],
        limits=limits,
        load=_LOAD,
    )


_LOAD: Final = f"""
import hstasks

# {FOLDER}: a copy of this folder, or the address of model.safetensors with #sha256= and its hash.
model, record = hstasks.load("{FOLDER}")

# Of files: hstasks predict --model {FOLDER} --input images --output predictions
"""
