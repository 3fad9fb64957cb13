"""The verb `info`: the record of a trained model."""

from __future__ import annotations

import json
from pathlib import Path

from hsdata import paths
from hsengine import sources
from hsengine.folder import record


def run(model: str | Path = paths.MODEL) -> str:
    """The record of a model's folder, or of one at an address, as text: parameters, data, code, versions, checkpoints.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    config = record(sources.local(model))
    wavelengths = config.pop("wavelengths", None)
    # On one line, and last: it is the longest and of least interest.
    shown = json.dumps(config, indent=2)
    return shown if wavelengths is None else f'{shown[:-2]},\n  "wavelengths": {json.dumps(wavelengths)}\n}}'
