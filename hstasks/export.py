"""The verb `export`: a trained network as ONNX, TorchScript or torch.export, proven equal, and what surrounds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from hsengine import folder as folders
from hsengine.base.errors import UserError
from hsengine.export import trials, writing
from hsengine.export.conversion import Axes
from hsengine.export.description import Axis, Format, is_exported
from hsengine.export.writing import Request, Sample, Summary
from hstasks import export_inputs
from hstasks.loading import Record, load

_MULTIPLES = (8, 32)
"""What sides are tried to be multiples of, where a network does not say: three and five halvings."""


def run(
    folder: Path,
    to: Path | None,
    format: Format,
    *,
    opset: int | None = None,
    half: bool = False,
    which: Literal["best", "last"] = "best",
    input: Path | None = None,
    table: Path | None = None,
) -> Summary:
    """Export a trained network of any challenge.

    Masks: `image` → `logits` and, where there is such a head, `presence`. Classes: `image` → `logits`. Values: `image`
    and, where the network uses them, `metadata` → `grams` and `log_var`, the normalisation of the pictures inside.

    Args:
        folder: what training wrote.
        to: the file to write; `outputs/model` with the format's suffix by default.
        format: of the file.
        opset: of ONNX.
        half: weights and arithmetic in float16.
        which: checkpoint.
        input: real images to compare on, as `predict` takes them; the first of the project's `data` by default.
        table: what is known of the images beside them, as `predict` takes it.

    Raises:
        UserError: see `loading.load`, `predict` of the challenge, and `writing.write`.
    """
    place = writing.target(to, format)
    if is_exported(folder):
        raise UserError(f"{folder} is an exported file: give the folder of the trained model.")
    said = folders.read(folder, Record)
    network, config = load(folder, which)
    real, notes = export_inputs.real(folder, config, input, table)
    made = {"segmentation": _masks, "classification": _classes, "regression": _grams}[said.task](network, config, real)
    module, inputs, outputs, axes, samples, fixed = made
    params = {**config["params"]}
    request = Request(
        module=module,
        inputs=inputs,
        outputs=outputs,
        axes=axes,
        samples=samples,
        described={
            "challenge": said.challenge,
            "task": said.task,
            "model": config["model"],
            "checkpoint": config["checkpoint"],
            "padding": getattr(network, "multiple", 1),
            "before": export_inputs.before(config),
            "after": export_inputs.after(folder, config),
            "record": {**config, "params": params, "checkpoints": _one(config)},
        },
        fixed=fixed,
    )
    done = writing.write(request, place, format, opset=opset, half=half)
    return Summary(done.file, done.error, done.compared, done.sizes, notes)


_Made = tuple[nn.Module, list[str], list[str], list[Axes], list[Sample], Sample]


class _Masks(nn.Module):
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = self.net(image)
        return (found.logits,) if found.presence is None else (found.logits, found.presence)


class _Grams(nn.Module):
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, metadata: Tensor | None = None) -> tuple[Tensor, Tensor]:
        known = image.new_zeros(image.shape[0], 0) if metadata is None else metadata
        told = self.net(image, known)
        return told.grams, told.log_var


def _masks(network: nn.Module, config: dict[str, Any], real: list[export_inputs.Real]) -> _Made:
    channels, side = config["model"]["in_channels"], export_inputs.side(config)
    own = getattr(network, "multiple", None)
    multiples = [1] if own == 1 else []
    multiples += [n for n in ([own] if own not in (None, 1) else _MULTIPLES) if side is None or side % n == 0]
    axes: list[Axes] = [[{0: Axis(name="batch"), **_sides(multiple, 2)}] for multiple in multiples or [1]]
    most = max(multiples or [1])
    samples = [*_random((channels,), most), *_one_size((channels,), side or 2 * most)]
    samples += [Sample(name, (window,)) for name, (image, *_) in real for window in _windows(image, most, side)]
    names = ["logits"]
    if len(_Masks(network).eval()(samples[0].inputs[0])) > 1:
        names.append("presence")
    return _Masks(network), ["image"], names, axes, samples, samples[2]


def _classes(network: nn.Module, config: dict[str, Any], real: list[export_inputs.Real]) -> _Made:
    channels, side = config["model"]["in_channels"], export_inputs.side(config) or 64
    samples = [*_random((channels,), 1), *_one_size((channels,), side)]
    samples += [Sample(name, (image[None],)) for name, (image, *_) in real]
    axes: list[Axes] = [[{0: Axis(name="batch"), **_sides(1, 2)}]]
    return _Single(network), ["image"], ["logits"], axes, samples, samples[2]


class _Single(nn.Module):
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.net(image)
        return found


def _grams(network: nn.Module, config: dict[str, Any], real: list[export_inputs.Real]) -> _Made:
    side = export_inputs.side(config) or 64
    views, width = export_inputs.views(config), export_inputs.metadata_width(config)
    samples = []
    for seed, (batch, height, sideways) in enumerate([(2, side, side), (3, side, side), *trials.sizes(32)]):
        image = trials.random([(batch, views, 3, height, sideways)], seed)[0]
        samples.append(Sample("random", (image, *_numbers(batch, width, seed))))
    for name, tensors in real:
        samples.append(Sample(name, tuple(value[None] for value in tensors[: 2 if width else 1])))
    axis = Axis(name="batch")
    table: list[dict[int, Axis]] = [{0: axis}] if width else []
    axes: list[Axes] = [[{0: axis, **_sides(32, 3)}, *table]] if side % 32 == 0 else [[{0: axis}, *table]]
    names = ["image", "metadata"] if width else ["image"]
    return _Grams(network), names, ["grams", "log_var"], axes, samples, samples[0]


def _numbers(batch: int, width: int, seed: int) -> tuple[Tensor, ...]:
    return trials.random([(batch, width)], 100 + seed) if width else ()


def _sides(multiple: int, place: int) -> dict[int, Axis]:
    least = max(multiple, 32)
    return {
        place: Axis(name="height", multiple=multiple, least=least),
        place + 1: Axis(name="width", multiple=multiple, least=least),
    }


def _random(channels: tuple[int, ...], multiple: int) -> list[Sample]:
    sizes = trials.sizes(multiple, 32)
    return [
        Sample("random", trials.random([(batch, *channels, height, width)], seed))
        for seed, (batch, height, width) in enumerate(sizes)
    ]


def _one_size(channels: tuple[int, ...], side: int) -> list[Sample]:
    """Two batches of the size that the network is given: what is left where it allows no other."""
    return [Sample("random", trials.random([(batch, *channels, side, side)], batch)) for batch in (2, 1)]


def _windows(image: Tensor, multiple: int, side: int | None) -> list[Tensor]:
    """The image as the network sees it where it has one size, and windows of two sizes."""
    whole = [image[None]] if side is not None else []
    return whole + [sample.inputs[0] for sample in trials.windows(image, "", multiple)]


def _one(config: dict[str, Any]) -> dict[str, Any]:
    """What the record says of the checkpoint that is in the file; snapshots are not."""
    which = config["checkpoint"]["which"]
    said = {key: value for key, value in config["checkpoint"].items() if key not in ("which", "snapshot")}
    return {which: said, "best": said}
