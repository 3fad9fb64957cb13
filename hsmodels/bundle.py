"""The verb `bundle`: what the challenge's final run asks for, one folder or archive that needs nothing of this project.

The code inside is the project's own, as far as prediction runs through it: the same code gives the same bytes.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from hsdata.formats import image, mosaic
from hsdata.layout import INPUT_MODALITY, MODALITIES, modality_of
from hsengine import folder as folders
from hsengine.base import code
from hsengine.base.errors import UserError
from hsengine.base.files import check_own, replacing, write_json, write_text
from hsengine.export import trials
from hsengine.export.description import is_exported
from hsmodels import bundle_memory, checkpoint, predict
from hsmodels.inference import predictor as predictors
from hsmodels.inference.weights import read_weights
from hsmodels.packing import entry

RECORD = "bundle.json"
SCRIPT = "inference.py"
MEMORY_LIMIT = 24 * 10**9
"""Bytes of GPU memory that the challenge's final run allows, and seconds for each sample."""
TIME_LIMIT = 30 * 60
_FRAME = 1024
_TILES = (2048, 1536, 1024, 768, 512, 384, 256, 128)
_TRIED = (64, 48)
# Read where weights to start a training from are looked up, which a prediction never does.
_UNUSED = ("dvc", "scmrepo")
_SOURCE = Path(__file__).with_name("bundle_inference.py")

_README = """# {title}

Predicts hyperspectral cubes ({bands} bands, {first:g} to {last:g} nm) from {what}. It needs Python {python} or newer
and nothing of the project that made it.

```
python -m venv env && env/bin/python -m pip install -r requirements.txt
env/bin/python inference.py --input FOLDER --output FOLDER [--format h5|zarr|npz|npy] [--device cpu|cuda]
```

- `--input`: {takes}. Inputs that cannot be read are named before anything is predicted, and the exit code is 1.
- `--output`: one cube for each input, under its name. `h5` and `zarr` hold (height, width, bands) and the wavelengths,
  `npz` and `npy` (height, width, bands) float32, as the challenge takes them. `provenance.json` says from what they
  were computed.
- Memory: images of up to {tile} x {tile} input pixels are taken whole, larger ones by overlapping tiles: at most
  {memory:.1f} GB of a GPU's memory by estimate, of 24 GB. `--tile 256` takes less.
- Time: {seconds:.0f} s by estimate for a {frame} x {frame} cube on the processor that made this bundle, with
  {threads} thread(s); a GPU is much faster. The limit is 30 minutes.

| place | what |
| --- | --- |
{models}
| `code/` | the code that prediction runs through |
| `bundle.json` | the settings of the prediction |
"""


@dataclass(frozen=True)
class Summary:
    """What was bundled."""

    place: Path
    megabytes: float
    tile: int
    memory: float
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"{self.place}: {self.megabytes:.1f} MB; inference.py in it gave the bytes of 'hsmodels predict'",
            f"by estimate {self.memory:.1f} GB of GPU memory (images above {self.tile} pixels a side by tiles), and "
            f"{self.seconds:.0f} s a sample on this processor",
        ]
        if self.seconds > TIME_LIMIT:
            lines.append("that is more than the 30 minutes allowed: only a GPU, or a smaller model, will do")
        return "\n".join(lines)


def run(
    models: Sequence[Path], to: Path, *, which: checkpoint.Which | None = None, weights: Path | None = None
) -> Summary:
    """Bundle trained models.

    The bundle is tried before it takes its place: its script, in a Python that sees nothing else of the project, must
    give the bytes of `predict`.

    Args:
        models: folders that training wrote; several make an ensemble.
        to: a folder that is not there yet or holds a bundle, or a file ending in `.zip`.
        which: checkpoint; as the first model was trained with by default.
        weights: of an ensemble, as `hsmodels evaluate` wrote them.

    Raises:
        UserError: a folder is no trained model's, see `inference.predictor.load`; it takes another input than the
            track's; something else stands at `to`; or the bundle does not give the same bytes.
    """
    zipped = to.suffix == ".zip"
    if zipped and to.is_dir():
        raise UserError(f"{to} is a folder: give another name.")
    if not zipped:
        check_own(to, RECORD, "a bundle")
    for model in filter(is_exported, models):
        raise UserError(f"{model} is an exported file: give the folder of the trained model.")
    predictor = predictors.load(
        models,
        overrides={} if which is None else {"checkpoint": which},
        weights=None if weights is None else read_weights(weights),
        device="cpu",
    )
    predictors.require_cubes(predictor)
    if predictor.input != "track":
        raise UserError(
            f"{models[0]} is given {modality_of(predictor.track, predictor.input)}, which the final run does not have: "
            "bundle a model of the track's own input."
        )
    tile, memory = _tile(predictor)
    seconds = _seconds(predictor)
    with ExitStack() as stack:
        if zipped:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory())) / to.stem
        else:
            place = stack.enter_context(replacing(to))
        place.mkdir()
        names = [f"model-{number}" if len(models) > 1 else "model" for number in range(1, len(models) + 1)]
        for model, name in zip(models, names, strict=True):
            _copy_model(model, place / name, predictor.settings.checkpoint)
        if weights is not None:
            shutil.copyfile(weights, place / "weights.csv")
        _copy_code(place / "code")
        shutil.copyfile(_SOURCE, place / SCRIPT)
        write_text(place / "requirements.txt", "".join(f"{line}\n" for line in requirements()))
        write_text(place / "README.md", _readme(predictor, names, tile, memory, seconds))
        own = predictor.settings.tile
        side = tile if own is None else min(tile, own)
        settings = {
            "models": names,
            "weights": None if weights is None else "weights.csv",
            "checkpoint": predictor.settings.checkpoint,
            "tile": side,
            "memory_bytes": memory,
        }
        write_json(place / RECORD, settings)
        _check(place, list(models), predictor, weights)
        if zipped:
            with replacing(to) as scratch:
                _zip(place, scratch)
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return Summary(to, size / 1e6, side, memory / 1e9, seconds)


def modules() -> dict[str, Path]:
    """The modules and files that prediction runs through: name -> file."""
    return code.closure("hsmodels.predict")


def requirements() -> list[str]:
    """The libraries that prediction runs through, in the versions of this environment."""
    owners = metadata.packages_distributions()
    found: set[str] = set()
    for file in modules().values():
        if file.suffix == ".py":
            found.update(_libraries(file))
    names = sorted({owners[name][0] for name in found - set(_UNUSED) if name in owners}, key=str.lower)
    # A local part names how the wheel was built for this machine, which no index knows.
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in names]


def _libraries(file: Path) -> set[str]:
    import ast

    tree = ast.parse(file.read_bytes())
    tops = {
        name.partition(".")[0]
        for _, origin, taken in code.imports(tree, "", package=False)
        for name in (origin or taken or "",)
    }
    return tops - set(sys.stdlib_module_names) - set(code.PACKAGES) - {""}


def _copy_model(folder: Path, to: Path, which: str) -> None:
    to.mkdir()
    for name in (folders.CONFIG, folders.file_of(which)):
        shutil.copyfile(folder / name, to / name)


def _copy_code(to: Path) -> None:
    for name, file in modules().items():
        parts = name.split("/") if "/" in name else name.split(".")
        target = to.joinpath(*parts)
        if "/" not in name:
            target = target / "__init__.py" if file.name == "__init__.py" else target.with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _tile(predictor: predictors.Predictor) -> tuple[int, int]:
    """The side of what is taken whole, in input pixels, and the bytes that it takes of a GPU's memory."""
    channels = 1 if _sees_mosaics(predictor) else 3
    found = [bundle_memory.largest_tile(member, channels, MEMORY_LIMIT, _TILES) for member in predictor.members]
    # Members work one after the other, but all weights are there at once.
    held = sum(value.numel() * value.element_size() for member in predictor.members for value in _values(member))
    side = min(side for side, _ in found)
    return side, max(needed for _, needed in found) + (held if len(found) > 1 else 0)


def _sees_mosaics(predictor: predictors.Predictor) -> bool:
    return modality_of(predictor.track, predictor.input) == INPUT_MODALITY[1]


def _values(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def _seconds(predictor: predictors.Predictor) -> float:
    """How long a frame takes on this processor, drawn on from a part of it."""
    sides = (64, 128)
    taken = []
    for side in sides:
        batch = trials.random([(1 if _sees_mosaics(predictor) else 3, side, side)])[0]
        started = time.perf_counter()
        output = predictor(batch)
        taken.append(time.perf_counter() - started)
    return taken[1] * (_FRAME / output.shape[-1]) ** 2


def _readme(predictor: predictors.Predictor, names: Sequence[str], tile: int, memory: int, seconds: float) -> str:
    modality = modality_of(predictor.track, predictor.input)
    rows = [
        f"| `{name}/` | {record['title']}, checkpoint '{record['checkpoint']['which']}' |"
        for name, record in zip(names, predictor.records, strict=True)
    ]
    return _README.format(
        title="Hyperspectral cubes: a standalone model",
        bands=len(predictor.wavelengths),
        first=predictor.wavelengths[0],
        last=predictor.wavelengths[-1],
        what=MODALITIES[modality].what,
        takes=MODALITIES[modality_of(predictor.track)].what,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        tile=tile,
        memory=memory / 1e9,
        seconds=seconds,
        frame=_FRAME,
        threads=torch.get_num_threads(),
        models="\n".join(rows),
    )


def _check(bundle: Path, models: list[Path], predictor: predictors.Predictor, weights: Path | None) -> None:
    """Try the bundle in a Python that sees nothing else of the project.

    Raises:
        UserError: it fails, or gives other bytes than `predict`.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "inputs").mkdir()
        values = trials.random([(3, *_TRIED)])[0].numpy()
        if _sees_mosaics(predictor):
            mosaic.write(place / "inputs" / "trial.npy", values[0])
        else:
            image.write(place / "inputs" / "trial.png", values)
        predict.run(
            place / "inputs",
            place / "expected",
            models,
            format="npy",
            weights=weights,
            checkpoint=predictor.settings.checkpoint,
            device="cpu",
        )
        command = [sys.executable, "-I", "-B", str(bundle.resolve() / SCRIPT), "--input", "inputs", "--output", "found"]
        done = subprocess.run(
            [*command, "--format", "npy", "--device", "cpu"], cwd=place, capture_output=True, text=True, check=False
        )
        same = done.returncode == 0 and filecmp.cmp(
            place / "expected" / "trial.npy", place / "found" / "trial.npy", shallow=False
        )
        if not same:
            said = re.sub(r"\s+", " ", done.stderr[-500:])
            raise UserError(f"The bundle does not predict as this project does ({said or 'other bytes'}): not written.")


def _zip(folder: Path, to: Path) -> None:
    """The folder as an archive whose bytes depend on its content alone."""
    with zipfile.ZipFile(to, "w") as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = f"{folder.name}/{file.relative_to(folder).as_posix()}"
            with file.open("rb") as source, entry(archive, name, file.stat().st_size) as stream:
                shutil.copyfileobj(source, stream, 1 << 20)
