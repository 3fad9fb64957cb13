"""What the model card says of the models of the zoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hsdata import layout
from hsengine.card import FOLDER, About

_PICTURE: Final = "an sRGB picture, (3, height, width) in [0, 1]"
_INPUTS: Final = {"mosaic": "an RGGB Bayer mosaic, (1, height, width) in [0, 1]"}
_SCALED: Final = {1: "of the same height and width", 2: "of twice the height and width"}
_LIMITS: Final = (
    "The wavelengths, the camera that made the inputs and the light are those of the training data. A photo says "
    "little of what lies beyond the visible: there, the model gives what such scenes had.",
    "Predictions are not held within [0, 1]: `hsmodels.inference.finish` does it, as the score expects.",
)


def about(record: Mapping[str, Any]) -> About:
    """What is particular to a model.

    Args:
        record: of `config.json`: `track`, `input` where it is not the track's, `target`, `wavelengths`.
    """
    track, bands = record["track"], record["wavelengths"]
    modality = layout.modality_of(track, record.get("input", "track"))
    scaled = _SCALED[layout.MODALITIES[modality].scale]
    cubes = record["target"] == layout.CUBES
    made = (
        f"a hyperspectral cube {scaled}: (bands, height, width) reflectance at {len(bands)} wavelengths from "
        f"{bands[0]:g} to {bands[-1]:g} nm"
        if cubes
        else f"an sRGB picture {scaled}, (3, height, width): a first stage, on which another model builds"
    )
    return About(
        summary=f"From {_INPUTS.get(modality, _PICTURE)}, the model makes {made}.",
        data=f"Hyper-Object Challenge layout, track {track}",
        task="image-to-image",
        tags=["hyperspectral", "spectral-reconstruction", f"track-{track}", modality],
        limits=_LIMITS if cubes else (),
        load=_LOAD.replace("SHAPE", f"1, {1 if modality in _INPUTS else 3}, 512, 512"),
    )


_LOAD: Final = f"""
import torch

import hsmodels

# {FOLDER}: a copy of this folder, or the address of model.safetensors with #sha256= and its hash.
model, record = hsmodels.load("{FOLDER}")
with torch.inference_mode():
    prediction = model(torch.rand(SHAPE))

# Of files: hsmodels predict --model {FOLDER} --input photos --output predictions
"""
