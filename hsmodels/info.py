"""The verb `info`: the record of a trained model."""

from __future__ import annotations

import json
from pathlib import Path

from hsdata import paths
from hsengine import sources
from hsengine.folder import record
from hsmodels.checkpoint import HELD_OUT


def run(model: str | Path = paths.MODEL) -> str:
    """The record of a model's folder, or of one at an address, as text: parameters, data, code, versions, checkpoints.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    config = record(sources.local(model))
    # On one line each, and last: they are the longest and of least interest.
    long = {name: config.pop(name) for name in (HELD_OUT, "wavelengths") if name in config}
    lines = [f'  "{name}": {json.dumps(value)}' for name, value in long.items()]
    return ",\n".join([json.dumps(config, indent=2)[:-2], *lines]) + "\n}"
