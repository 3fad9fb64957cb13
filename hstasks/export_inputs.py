"""What each challenge does before and after the network, and real images as its network sees them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hsengine.base.errors import UserError
from hsengine.base.params import validated

Real = tuple[str, tuple[Tensor, ...]]
"""The name of a file, and what the network is given of it, without the axis of the batch."""

_DATA = Path("data")
_SHOWN = 2
_WINDOW = 128


def side(config: Mapping[str, Any]) -> int | None:
    """Side in pixels of what the network is given, where that is always the same."""
    if config["challenge"] == "lenses":
        return 41
    section = config["params"]["input"]
    if config["challenge"] == "biomass":
        return int(section["size"])
    found = section["fit"]["pad"] or section["fit"]["resize"]
    return None if found is None else int(found)


def views(config: Mapping[str, Any]) -> int:
    """Views of a picture of pasture."""
    section = config["params"]["input"]
    return {"whole": 1, "halves": 2}.get(section["views"], int(section["tiles"]))


def metadata_width(config: Mapping[str, Any]) -> int:
    """Columns that the network of grams is given beside the picture."""
    params = config["model"]["params"]
    return int(params.get("metadata_dim", 0)) + (3 if params.get("residual") else 0)


def real(
    folder: Path, config: Mapping[str, Any], input: Path | None, table: Path | None
) -> tuple[list[Real], list[str]]:
    """Real images as the network sees them, and what to say where there is none."""
    readers = {"salt": _salt, "landcover": _landcover, "lenses": _lenses, "biomass": _biomass}
    place = _first(config["challenge"]) if input is None else input
    if place is None:
        return [], ["compared on random inputs alone: --input names real images, as for 'predict'"]
    return readers[config["challenge"]](folder, config, place, table), []


def before(config: Mapping[str, Any]) -> dict[str, Any]:
    """What must be done with an image first."""
    params = config["params"]
    if config["challenge"] == "lenses":
        return {"axes": "(batch, channels, 41, 41) float32", "from counts": config["input"]}
    if config["challenge"] == "biomass":
        return {
            "axes": "(batch, views, 3, height, width) float32, white as 1; mean and std are taken off inside the graph",
            "picture": "dates painted over, resized to all views together, rounded to 8 bits, cut into views",
            "input": params["input"],
            "metadata": "(batch, columns) float32, from the table by 'fitted'" if metadata_width(config) else "none",
            "fitted": config["fitted"],
        }
    return {
        "axes": "(batch, channels, height, width) float32, white as 1",
        "steps": "channels as 'channels' says, minus 'mean', divided by 'std', then resized and padded as 'fit' says",
        "input": params["input"],
    }


def after(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """What must be done with the outputs."""
    if config["challenge"] == "biomass":
        return {
            "grams": "(batch, 5) green, dead, clover, GDM, total; 'log_var' is the logarithm of their variances",
            "predict": config["params"].get("predict", {}),
        }
    if config["challenge"] == "lenses":
        return {
            "logits": "(batch, 1); a sigmoid makes probabilities, averaged over views, then tempered",
            "calibration": _calibration(folder, config),
        }
    one = config["model"]["out_channels"] == 1
    steps: dict[str, Any] = {
        "logits": f"(batch, classes, height, width); a {'sigmoid' if one else 'softmax over classes'} makes "
        "probabilities, cut back to the image"
    }
    if config["challenge"] == "salt":
        from hstasks.salt.params import Params
        from hstasks.salt.predict import rules_of

        params = validated(Params, dict(config["params"]), f"the record of {folder}")
        steps["rules"] = rules_of(folder, config["training"], params).plain()
    return steps


def _calibration(folder: Path, config: Mapping[str, Any]) -> Any:
    """What `evaluate` fitted beside the folder for this checkpoint; None where it did not."""
    from hsengine.base import reading
    from hstasks.lenses.scoring import beside

    file = beside(folder)
    found = reading.parsed_json(file, "what 'evaluate' fitted") if file.is_file() else None
    own = f"{config.get('training')} {config['checkpoint']['which']}"
    return found if isinstance(found, dict) and found.get("members") == [own] else None


def _first(challenge: str) -> Path | None:
    """The first image of a challenge's data in the current folder, or its folder."""
    suffixes = {
        "salt": (".png",),
        "landcover": (".tif", ".tiff"),
        "lenses": (".fits",),
        "biomass": (".jpg", ".jpeg", ".png"),
    }[challenge]
    if not _DATA.is_dir():
        return None
    found = (path for path in sorted(_DATA.rglob("*")) if path.suffix.lower() in suffixes)
    first = next(found, None)
    return first.parent if first is not None and challenge == "lenses" else first


def _salt(folder: Path, config: Mapping[str, Any], input: Path, _: Path | None) -> list[Real]:
    from hstasks.images.samples import shaped
    from hstasks.images.settings import Input
    from hstasks.salt.predict import images_of
    from hstasks.salt.samples import image_of

    settings = validated(Input, dict(config["params"]["input"]), f"{folder}: the record's 'input'")
    file = images_of(input)[0]
    return [(file.name, (shaped(torch.tensor(image_of(file)), settings),))]


def _landcover(folder: Path, config: Mapping[str, Any], input: Path, _: Path | None) -> list[Real]:
    from hsengine.predict.tiles import Span
    from hstasks.images import geotiff
    from hstasks.images.samples import shaped
    from hstasks.landcover import predict

    file = predict.scenes_of(input)[0]
    mapper = predict.opened(folder, device="cpu")
    with geotiff.opened(file) as scene:
        where = geotiff.place_of(scene)
        part = predict.reader(scene, where, mapper, file)(
            Span(0, min(where.height, 128)), Span(0, min(where.width, 128))
        )
    return [(file.name, (shaped(part, mapper.params.input),))]


def _lenses(folder: Path, config: Mapping[str, Any], input: Path, _: Path | None) -> list[Real]:
    from hstasks.lenses import catalog
    from hstasks.lenses.predict import objects_of
    from hstasks.lenses.samples import sight_of

    sight = sight_of(config, str(folder))
    found: list[Real] = []
    for one in objects_of(input):
        reading, image = catalog.read(one)
        seen = sight.samples(one.id, reading.bands)[:1]
        found += [(sample.name, (torch.tensor(sight.prediction(image, sample)).float(),)) for sample in seen]
        if len(found) == _SHOWN:
            break
    if not found:
        raise UserError(f"{input} holds no object with a band that the model in {folder} sees.")
    return found


def _biomass(folder: Path, config: Mapping[str, Any], input: Path, table: Path | None) -> list[Real]:
    from hstasks.biomass.params import Params
    from hstasks.biomass.predict import rows_of
    from hstasks.biomass.samples import BiomassSamples, restored

    rows = rows_of(input, table)[:_SHOWN]
    params = validated(Params, dict(config["params"]), f"{folder}: the record's parameters")
    numbers = restored(config["fitted"]).numbers(rows, guess=params.metadata.missing == "predicted")
    samples = BiomassSamples(rows, numbers, params.input)
    items = [samples[0, index, 0] for index in range(len(samples))]
    names = list(rows["id"])
    return [(str(name), (item["image"], item["metadata"])) for name, item in zip(names, items, strict=True)]
