"""The verb `predict`: maps of scenes of any size, by overlapping windows, where the scene lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.base.files import replacing
from hsengine.predict import tiles
from hsengine.predict.run import device_named
from hsengine.predict.tiles import Span
from hsengine.predict.views import DIHEDRAL, averaged
from hstasks.images import geotiff
from hstasks.images.samples import shaped
from hstasks.landcover.classes import OEM_PALETTE, PALETTE
from hstasks.landcover.params import Params
from hstasks.landcover.samples import scaled
from hstasks.loading import load

WINDOW = 512
"""Side of a window where none is said; neighbours share half of it."""

_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Summary:
    """What was predicted."""

    scenes: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.scenes} maps with georeference in {self.folder}"


@dataclass(frozen=True)
class Mapper:
    """A trained network, and how it sees a scene.

    Attributes:
        model: the network.
        params: of its training.
        classes: of its maps.
        window: side of a window.
        views: whether all flips and turns are averaged.
        device: where to compute.
    """

    model: nn.Module
    params: Params
    classes: int
    window: int
    views: bool
    device: torch.device

    def run(self, batch: Tensor) -> Tensor:
        """Probabilities (B, classes, h, w) of windows (B, bands, h, w), white as 1."""

        def plain(images: Tensor) -> Tensor:
            seen = torch.stack([shaped(image, self.params.input) for image in images]).to(self.device)
            shares: Tensor = torch.softmax(self.model(seen).logits.float(), dim=1).cpu()
            return shares

        with torch.no_grad():
            return averaged(plain, batch, DIHEDRAL) if self.views else plain(batch)


def run(
    input: Path,
    output: Path,
    model: Sequence[Path],
    *,
    checkpoint: Literal["best", "last"] = "best",
    device: str | None = None,
    window: int | None = None,
    views: bool | None = None,
) -> Summary:
    """Map all GeoTIFFs of a folder, or one: `<name>.tif` with the palette of the classes, and `<name>_shares.tif` with
    the probability of each in percent.

    Args:
        input: a folder, or a file.
        output: a folder that is not there yet, or holds GeoTIFFs alone.
        model: the folder that training wrote; one.
        checkpoint: which weights.
        device: `cpu` or `cuda`; a GPU if there is one by default.
        window: side of a window, a multiple of 8; by default as the model's parameters say, else 512.
        views: average over flips and turns; by default as the model's parameters say.

    Raises:
        UserError: there is no scene, one cannot be read or has too few bands, or the folder is not a trained model's.
    """
    if len(model) != 1:
        raise UserError("Scenes are mapped by one model; name one folder.")
    files = scenes_of(input)
    if output.exists() and any(file.suffix.lower() not in _SUFFIXES for file in output.iterdir()):
        raise UserError(f"{output} holds other files: give a folder that is not there yet.")
    mapper = opened(model[0], checkpoint=checkpoint, device=device, window=window, views=views)
    with replacing(output) as scratch:
        scratch.mkdir()
        for file in files:
            write(mapper, file, scratch)
    return Summary(len(files), output)


def opened(
    folder: Path,
    *,
    checkpoint: str = "best",
    device: str | None = None,
    window: int | None = None,
    views: bool | None = None,
) -> Mapper:
    """A trained model, ready to map scenes."""
    model, record = load(folder, checkpoint)
    if record["challenge"] != "landcover":
        raise UserError(f"The model in {folder} is of the challenge '{record['challenge']}'.")
    params = Params.model_validate(record["params"])
    place = device_named(device)
    side = window or params.predict.window or WINDOW
    tiles.overlap_of(side, side // 2)
    chosen = params.predict.views if views is None else views
    return Mapper(model.to(place).eval(), params, record["model"]["out_channels"], side, chosen, place)


def scenes_of(input: Path) -> list[Path]:
    """The GeoTIFFs of a folder, or one.

    Raises:
        UserError: there is none.
    """
    files = [input] if input.is_file() else sorted(input.iterdir()) if input.is_dir() else []
    found = [file for file in files if file.suffix.lower() in _SUFFIXES]
    if not found:
        raise UserError(f"There is no GeoTIFF in {input}: give a folder of them, or one.")
    return found


def write(mapper: Mapper, file: Path, folder: Path) -> None:
    """Map one scene, strip by strip: memory depends on its width and the window, not on its height.

    Pixels without data have class 0 in the map, and 255 as their shares.

    Raises:
        UserError: the scene is no GeoTIFF, is damaged or has too few bands.
    """
    where = geotiff.place(file)
    palette = PALETTE if mapper.classes == len(PALETTE) else OEM_PALETTE
    with ExitStack() as stack:
        scene = stack.enter_context(geotiff.opened(file))
        labels = stack.enter_context(
            geotiff.writing(folder / f"{file.stem}.tif", where, 1, "uint8", nodata=0, palette=palette)
        )
        shares = stack.enter_context(
            geotiff.writing(folder / f"{file.stem}_shares.tif", where, mapper.classes, "uint8", nodata=255)
        )
        top = 0
        read, size = reader(scene, where, mapper, file), (where.height, where.width)
        for strip in tiles.strips(mapper.run, read, size, mapper.window, mapper.window // 2):
            rows = strip.shape[1]
            window = _window(Span(top, top + rows), Span(0, where.width))
            valid = geotiff.validity(_pixels(scene, window, file), where.nodata)
            found = strip.numpy()
            labels.write(np.where(valid, found.argmax(axis=0), 0).astype(np.uint8)[None], window=window)
            percent = np.rint(found * 100.0).astype(np.uint8)
            shares.write(np.where(valid, percent, np.uint8(255)), window=window)
            top += rows


def reader(scene: Any, where: geotiff.Place, mapper: Mapper, file: Path) -> Callable[[Span, Span], Tensor]:
    """What reads windows (bands, h, w) of an open scene, white as 1."""
    data = mapper.params.data
    white = data.white if mapper.params.learns == "target" else None

    def read(down: Span, across: Span) -> Tensor:
        pixels = _pixels(scene, _window(down, across), file)
        valid = geotiff.validity(pixels, where.nodata)
        return torch.from_numpy(scaled(pixels, data.bands, white, str(file)) * valid)

    return read


def seams(mapper: Mapper, file: Path) -> float:
    """The largest difference of a probability between windows and the scene taken whole; for scenes that fit."""
    with geotiff.opened(file) as scene:
        where = geotiff.place_of(scene)
        read = reader(scene, where, mapper, file)
        size = (where.height, where.width)
        windows = torch.cat(list(tiles.strips(mapper.run, read, size, mapper.window, mapper.window // 2)), dim=1)
        whole = mapper.run(read(Span(0, size[0]), Span(0, size[1]))[None])[0]
    return float((windows - whole).abs().max())


def _pixels(scene: Any, window: Any, file: Path) -> NDArray[Any]:
    """The pixels (bands, h, w) of a window of an open scene.

    Raises:
        UserError: they cannot be read.
    """
    try:
        pixels: NDArray[Any] = scene.read(window=window)
    except OSError as error:
        raise UserError(f"{file} cannot be read as GeoTIFF: it is damaged ({error}). Get it anew.") from error
    return pixels


def _window(down: Span, across: Span) -> Any:
    from rasterio.windows import Window  # type: ignore[import-untyped]

    return Window(across.start, down.start, across.stop - across.start, down.stop - down.start)
