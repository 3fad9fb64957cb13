"""The verb `export`: a trained model as ONNX, TorchScript or torch.export, proven equal, with all that surrounds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hsdata import layout, paths
from hsengine import folder as folders
from hsengine.base import tables
from hsengine.base.errors import UserError
from hsengine.export import trials, writing
from hsengine.export.description import Axis, Format
from hsengine.export.writing import Halved, Request, Sample, Summary
from hsmodels import checkpoint, zoo
from hsmodels.exported import PATTERN
from hsmodels.inference.predictor import settings_of
from hsmodels.params import Predict
from hsmodels.predict import inputs_of, reader
from hsmodels.zoo.composed import Residual, Striped

_RGB = {
    "values": "8-bit values divided by 255, gamma-encoded sRGB as stored; no normalisation by image",
    "axes": "(batch, 3, height, width) float32, channels R, G, B",
    "inside the graph": "linearisation where the model wants it; padding to what the network takes, and back",
}
_BEFORE = {
    layout.INPUT_MODALITY[1]: {
        "input": "one RGGB Bayer plane, its first pixel red; height and width are even",
        "values": "reflectance-like intensities in [0, 1]; a plane with values above 1 is 8-bit: divide by 255",
        "axes": "(batch, 1, height, width) float32",
        "inside the graph": "Bayer masks, packing or demosaicking; padding to what the network takes, and back",
    },
    layout.INPUT_MODALITY[2]: {"input": "an RGB image of half the cube's height and width", **_RGB},
    layout.RGB_FULL: {"input": "an RGB image of the cube's height and width", **_RGB},
}


def run(
    folder: Path,
    to: Path | None,
    format: Format,
    *,
    opset: int | None = None,
    half: bool = False,
    which: checkpoint.Which | None = None,
    input: Path | None = None,
) -> Summary:
    """Export a trained model.

    The file takes a track's batches of any even (track 1) or any (track 2) height and width. Its first output is what
    the network makes of them, `cube` (or `rgb` of a first stage); the second, `pattern` (bands, columns), is the
    sensor's fixed pattern where one was learned. The JSON beside says what is left to do.

    Args:
        folder: what training wrote.
        to: the file to write; `outputs/model` with the format's suffix by default.
        format: of the file.
        opset: of ONNX.
        half: weights and arithmetic in float16, but for closed forms.
        which: checkpoint; as the model was trained with by default.
        input: real inputs to compare on, a folder or a file; those of the project's catalog by default.

    Raises:
        UserError: see `checkpoint.load`, `predict.inputs_of` and `writing.write`.
    """
    place = writing.target(to, format)
    record = folders.read(folder, checkpoint.Record)
    settings = settings_of(folder)
    model, config = checkpoint.load(folder, which or settings.checkpoint)
    mosaic = layout.modality_of(record.track, record.input) == layout.INPUT_MODALITY[1]
    multiple, channels = (2, 1) if mosaic else (1, 3)
    network = Outputs(model)
    names = [
        "rgb" if zoo.target_of(record.model.name) != layout.CUBES else "cube",
        *([PATTERN] if network.striped else []),
    ]
    samples = [
        Sample("random", trials.random([(batch, channels, height, width)], seed))
        for seed, (batch, height, width) in enumerate(trials.sizes(multiple))
    ]
    real, notes = _real(folder, record, multiple, input)
    request = Request(
        module=network,
        inputs=["image"],
        outputs=names,
        axes=[[{0: Axis(name="batch"), 2: _side("height", multiple), 3: _side("width", multiple)}]],
        samples=[*samples, *real],
        described=_described(config, settings, network.striped),
        halves=Outputs(halved(checkpoint.load(folder, which or settings.checkpoint)[0])) if half else None,
    )
    made = writing.write(request, place, format, opset=opset, half=half)
    return Summary(made.file, made.error, made.compared, made.sizes, notes)


class Outputs(nn.Module):
    """A model whose fixed pattern, if it has one, is an output of its own: tiles and views need it apart."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.striped = isinstance(model, Striped)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """A track's batch → its output, and the pattern (bands, columns)."""
        made: Tensor = self.model(image)
        return (made, self.model.bias.float().clone()) if isinstance(self.model, Striped) else (made,)


def halved(model: nn.Module) -> nn.Module:
    """A model with its trained networks in half precision; closed forms, whose terms nearly cancel, stay as they are.

    Raises:
        UserError: there is nothing else in it.
    """
    if isinstance(model, Striped | Residual):
        model.net = halved(model.net)
        return model
    if zoo.is_closed_form(model):
        raise UserError("--half: a closed form's terms nearly cancel, and half precision leaves nothing of them.")
    return Halved(model)


def _side(name: str, multiple: int) -> Axis:
    return Axis(name=name, multiple=multiple, least=8)


def _real(folder: Path, record: checkpoint.Record, multiple: int, input: Path | None) -> tuple[list[Sample], list[str]]:
    """Windows of a real input, and what to say where there is none."""
    if input is not None:
        files = inputs_of(input, record.track, folder, record.input)[0]
    else:
        files = _of_catalog(record.track) if record.input == "track" else []
    if not files:
        return [], ["compared on random inputs alone: --input names a folder of real ones"]
    image = torch.from_numpy(reader(layout.modality_of(record.track, record.input))(files[0]))
    return trials.windows(image, files[0].name, multiple), []


def _of_catalog(track: layout.Track) -> list[Path]:
    """The inputs of the project in the current folder; none where there is no project."""
    if not paths.CATALOG.is_file():
        return []
    rows = tables.read(paths.CATALOG, ("track", "input"))
    return [file for row in rows if row["track"] == str(track) and (file := Path(row["input"])).is_file()]


def _described(config: dict[str, Any], settings: Predict, striped: bool) -> dict[str, Any]:
    after = [f"hold the cube within [{settings.floor:g}, 1]"]
    if striped:
        after.insert(
            0,
            f"add '{PATTERN}'[:, None, :width] to each cube that is no wider than it; column 0 is the sensor's first; "
            "after tiles and views were put together",
        )
    predict = config.get("params", {}).get("predict", {})
    kept = {
        **config.get("params", {}),
        "predict": {**predict, "checkpoint": config["checkpoint"]["which"], "precision": "no"},
    }
    return {
        "model": zoo.title(config["model"]),
        "checkpoint": config["checkpoint"],
        "track": config["track"],
        "before": _BEFORE[layout.modality_of(config["track"], config.get("input", "track"))],
        "after": {
            "steps": after,
            "axes": "(batch, bands, height, width) reflectance",
            "floor": settings.floor,
            "ceiling": 1.0,
            "wavelengths_nm": config["wavelengths"],
        },
        "tiles": {"tile": settings.tile, "overlap": settings.overlap, "views": 8 if settings.tta else 1},
        "record": {**config, "params": kept},
    }
