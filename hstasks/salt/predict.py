"""The verb `predict`: masks of any folder of tiles; no pipeline is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from hsengine import folder
from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import check_own, replacing
from hsengine.base.params import validated
from hsengine.export import description
from hstasks.images import readers
from hstasks.images.samples import ImageSamples, Picture
from hstasks.salt.params import Params
from hstasks.salt.postprocess import FILE as RULES
from hstasks.salt.postprocess import Rules, fitted_rules, fixed, mask_of
from hstasks.salt.prediction import masks, tiles
from hstasks.salt.samples import image_of
from hstasks.salt.submit import FILE, write

_SHOWN = 255


@dataclass(frozen=True)
class Summary:
    """What was predicted."""

    tiles: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.tiles} masks, their probabilities and {FILE} in {self.folder}"


def run(
    input: Path,
    output: Path,
    model: Sequence[Path],
    *,
    checkpoint: Literal["best", "last"] | None = None,
    device: str | None = None,
    rules: Rules | None = None,
) -> Summary:
    """Predict all images of a folder.

    Writes `masks/<name>.png` (0 and 255), `probabilities/<name>.png` (0 to 255) and `submission.csv` into `output`.

    Args:
        input: a folder of images, or one.
        output: a folder that is not there yet, or that this verb wrote.
        model: folders that training wrote; several are an ensemble.
        checkpoint: which weights; by default those that the first model's parameters predict by, which its rules
            were fitted for.
        device: `cpu` or `cuda`; a GPU if there is one by default.
        rules: from probabilities to masks; by default those that `evaluate` fitted for the first model where they
            stand beside its folder, else those that its parameters fix.

    Raises:
        UserError: there is no image, one cannot be read, a folder is not a trained model's, or `output` holds
            something else.
    """
    files = images_of(input)
    check_own(output, FILE, "a folder of predictions", ("masks", "probabilities"))
    record = folder.record(model[0])
    params = validated(Params, dict(record["params"]), f"the record of {model[0]}")
    settings = params.predict.model_copy(update={"checkpoint": checkpoint or params.predict.checkpoint})
    ensemble, _ = masks(model, settings, device)
    chosen = rules or rules_of(model[0], record["training"], params)

    def read(index: int) -> Picture:
        return Picture(image_of(files[index]))

    samples = ImageSamples([file.stem for file in files], read, params.input)
    found: dict[str, Any] = {}
    with replacing(output) as scratch:
        (scratch / "masks").mkdir(parents=True)
        (scratch / "probabilities").mkdir()
        for tile in tiles(ensemble, samples, settings, "predicting"):
            found[tile.id] = mask = mask_of(tile, chosen)
            Image.fromarray(mask.astype(np.uint8) * _SHOWN).save(scratch / "masks" / f"{tile.id}.png")
            levels = np.rint(tile.probability * _SHOWN).astype(np.uint8)
            Image.fromarray(levels).save(scratch / "probabilities" / f"{tile.id}.png")
        write(scratch / FILE, list(found), list(found.values()))
    return Summary(len(found), output)


def rules_of(model: Path, training: str, params: Params) -> Rules:
    """The rules that `evaluate` fitted for a model, where they stand beside it; else those that its parameters fix."""
    if description.is_exported(model):
        return Rules(**description.content(model)["after"]["rules"])
    beside = model.parent / paths.EVALUATION.name
    rules = fitted_rules(beside, training) if (beside / RULES).is_file() else fixed(params.postprocess)
    # Of these tiles no neighbours are known.
    return replace(rules, mosaic=False)


def images_of(input: Path) -> list[Path]:
    """The images of a folder, or one."""
    if not input.exists():
        raise UserError(f"There is no {input}: give a folder of images, or one image.")
    files = [input] if input.is_file() else sorted(f for f in input.iterdir() if f.suffix.lower() in readers.FORMATS)
    if not files:
        raise UserError(f"{input} holds no image: the suffixes are {', '.join(sorted(readers.FORMATS))}.")
    twice = {file.stem for file in files if sum(other.stem == file.stem for other in files) > 1}
    if twice:
        raise UserError(f"{input} holds images that differ by their suffix alone: {', '.join(sorted(twice))}.")
    return files
