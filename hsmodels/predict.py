"""The verb `predict`: cubes for any folder of inputs, without the pipeline."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from hsdata import paths
from hsdata.cube import Cube
from hsdata.layout import INPUT_MODALITY, MODALITIES, SUFFIXES, Input, modality_of
from hsengine.base.errors import UserError
from hsengine.base.files import explaining, file_hash, replacing, write_array, write_json
from hsengine.base.wording import listed
from hsmodels import packing
from hsmodels.inference import predictor as predictors
from hsmodels.inference import seam_error
from hsmodels.inference.predictor import Predictor
from hsmodels.inference.weights import read_weights

Format = Literal["h5", "zarr", "npy", "npz"]

PROVENANCE = "provenance.json"
SEAM_BOUND = 1e-3
"""The difference between neighbouring tiles, in reflectance, above which the summary warns."""


@dataclass(frozen=True)
class Summary:
    """What a prediction made.

    Attributes:
        folder: where the cubes are.
        files: names of the cubes, in the order of the inputs.
        ignored: names in the input folder that are no inputs.
        seconds: of each sample, files read and written included.
        memory: peak bytes of each sample: reserved on the GPU, or of the whole process so far on a CPU.
        device: where the model ran.
        seam: greatest difference between neighbouring tiles on the first sample that has any; None without tiles.
    """

    folder: Path
    files: list[str]
    ignored: list[str]
    seconds: list[float]
    memory: list[int]
    device: str
    seam: float | None

    def __str__(self) -> str:
        lines = [
            f"{len(self.files)} cubes in {self.folder}: at most {max(self.seconds):.1f} s and "
            f"{max(self.memory) / 1e9:.2f} GB of {'GPU' if self.device != 'cpu' else 'process'} memory a sample"
        ]
        if self.seam is not None:
            lines.append(f"neighbouring tiles differ by at most {self.seam:.1e} where they meet")
            if self.seam > SEAM_BOUND:
                lines[-1] += (
                    f", more than {SEAM_BOUND:g}: this model looks further than the overlap reaches; larger tiles "
                    "and overlap come closer to the whole image"
                )
        if self.ignored:
            lines.append(f"not inputs, left alone: {', '.join(self.ignored)}")
        return "\n".join(lines)


def run(
    input: Path,
    output: Path,
    model: Path | Sequence[Path] = paths.MODEL,
    *,
    sha256: str | None = None,
    format: Format = "h5",
    weights: Path | None = None,
    checkpoint: Literal["best", "last"] | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    tta: bool | None = None,
    floor: float | None = None,
    precision: Literal["no", "bf16", "fp16"] | None = None,
    device: str | None = None,
) -> Summary:
    """Predict a cube for every input in a folder.

    Each cube appears under its input's name, whole or not at all, and takes the place of an older one;
    `provenance.json` comes last, so that its presence says that the run was complete.

    Args:
        input: a folder of inputs of the model's track, or one file.
        output: the folder for the cubes.
        model: a folder that training wrote, an address (see `hsengine.sources.local`), or a file that `export` wrote;
            several make an ensemble.
        sha256: of the weights of one model, where its address does not say it.
        format: `h5` and `zarr` hold the wavelengths too, `npz` (cube and wavelengths) and `npy` are
            (H, W, bands) float32.
        weights: weights of an ensemble, as `hsmodels evaluate` wrote them; the mean otherwise.
        checkpoint: `best` or `last`. As for all that follow, None leaves it as the model was trained with.
        tile: side of a tile in input pixels, so that memory does not depend on the image; a multiple of 8; 0 takes
            images whole.
        overlap: input pixels that tiles share.
        tta: average over the eight flips and turns.
        floor: least value of a cube.
        precision: `bf16` or `fp16` for autocast, `no` without.
        device: `cpu`, `cuda`; a GPU if there is one by default.

    Raises:
        UserError: there is no input, or one that does not suit the model (named, before anything is predicted);
            or see `inference.predictor.load`.
    """
    folders = [model] if isinstance(model, Path) else list(model)
    given = {
        "checkpoint": checkpoint,
        "tile": tile,
        "overlap": overlap,
        "tta": tta,
        "floor": floor,
        "precision": precision,
    }
    overrides: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if tile == 0:
        overrides["tile"] = None
    predictor = predictors.load(
        folders,
        sha256=sha256,
        overrides=overrides,
        weights=None if weights is None else read_weights(weights),
        device=device,
    )
    predictors.require_cubes(predictor)
    files, ignored = inputs_of(input, predictor.track, folders[0], predictor.input)
    _check_place(output, files)
    modality = modality_of(predictor.track, predictor.input)
    read = reader(modality)
    _check_inputs(files, read, folders[0], MODALITIES[modality].what)
    with explaining(output):
        output.mkdir(parents=True, exist_ok=True)
        (output / PROVENANCE).unlink(missing_ok=True)

    names, seconds, memory, samples = [], [], [], []
    seam: float | None = None
    where = predictor.device
    for file in tqdm(files, desc="predicting", disable=None, dynamic_ncols=True):
        started = time.perf_counter()
        if where.type == "cuda":
            torch.cuda.reset_peak_memory_stats(where)
        values = torch.from_numpy(read(file))
        if seam is None and predictor.settings.tile is not None and max(values.shape[1:]) > predictor.settings.tile:
            seam = _seam(predictor, values)
        target = output / f"{file.stem}.{format}"
        _write(target, Cube(predictor(values).cpu().numpy(), predictor.wavelengths, file.stem), format)
        names.append(target.name)
        seconds.append(time.perf_counter() - started)
        memory.append(_peak(where))
        samples.append({"id": file.stem, "input": file.name, "input_blake2b": file_hash(file), "output": target.name})
    record = predictor.provenance() | {"seam_error": seam, "device": str(where), "samples": samples}
    write_json(output / PROVENANCE, record)
    return Summary(output, names, ignored, seconds, memory, where.type, seam)


def inputs_of(place: Path, track: int, model: Path, input: Input = "track") -> tuple[list[Path], list[str]]:
    """The inputs of a track, or of another kind, in a folder (or the one file), sorted by name, and what else is there.

    Raises:
        UserError: there is none, some are of the other track, or two have one name.
    """
    modality = modality_of(track, input)
    ours, takes = SUFFIXES[modality], MODALITIES[modality].what
    others = {suffix for name in INPUT_MODALITY.values() for suffix in SUFFIXES[name]}.difference(ours)
    if not place.exists():
        raise UserError(f"There is no input at {place}: check the path.")
    found = sorted(place.iterdir()) if place.is_dir() else [place]
    found = [path for path in found if not path.name.startswith(".")]
    files = [path for path in found if path.is_file() and path.suffix.lower() in ours]
    wrong = [path.name for path in found if path.is_file() and path.suffix.lower() in others]
    if wrong:
        raise UserError(
            f"The model in {model} is of track {track} and takes {takes}; these inputs in {place} are not:\n"
            f"{listed(wrong)}\nTake them out of the folder, or use a model of track {3 - track}."
        )
    if not files:
        inside = place / modality
        hint = f"did you mean {inside}?" if inside.is_dir() else f"the model of track {track} takes {takes}."
        raise UserError(f"There is no input in {place}: {hint}")
    by_stem: dict[str, Path] = {}
    for path in files:
        if path.stem in by_stem:
            raise UserError(
                f"{by_stem[path.stem].name} and {path.name} in {place} would give one cube, {path.stem}: rename one."
            )
        by_stem[path.stem] = path
    return files, [path.name for path in found if path not in files]


def reader(modality: str) -> Callable[[Path], NDArray[np.float32]]:
    """What reads inputs of a kind (`hsdata.layout.MODALITIES`): (channels, height, width) in [0, 1]."""
    from hsdata.formats import image, mosaic

    return mosaic.read if modality == INPUT_MODALITY[1] else image.read


def _check_inputs(files: list[Path], read: Callable[[Path], NDArray[np.float32]], model: Path, takes: str) -> None:
    """Read every input once, so that all that is wrong is known before the long work begins."""
    problems = []
    for file in files:
        try:
            read(file)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(
            f"{len(problems)} of {len(files)} inputs do not suit the model in {model}, which takes {takes}:\n"
            f"{listed(problems)}\nNothing was predicted."
        )


def _check_place(output: Path, files: list[Path]) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file: give a folder for the cubes.")
    if os.path.realpath(output) in {os.path.realpath(file.parent) for file in files}:
        raise UserError(f"{output} holds the inputs: give another folder for the cubes.")


def _seam(predictor: Predictor, values: torch.Tensor) -> float:
    chosen = predictor.settings
    assert chosen.tile is not None
    return seam_error(
        predictor.model,
        values,
        tile=chosen.tile,
        overlap=chosen.overlap,
        tta=chosen.tta,
        precision=chosen.precision,
    )


def _write(path: Path, cube: Cube, format: Format) -> None:
    from hsdata.formats import hdf5, zarr

    if format == "h5":
        hdf5.write(path, cube)
    elif format == "zarr":
        zarr.write(path, cube)
    else:
        pixels = packing.bands_last(cube.values)
        with replacing(path) as scratch:
            if format == "npz":
                packing.write_npz(scratch, {"cube": pixels, "wavelengths": cube.wavelengths})
            else:
                write_array(scratch, pixels)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
