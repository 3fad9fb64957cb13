"""One way for every model: convert, compare in the runtime, and only then put the file in its place."""

from __future__ import annotations

import copy
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash, replacing, write_json
from hsengine.export.conversion import DEFAULT_OPSET, Axes, ConversionError, convert
from hsengine.export.description import SUFFIXES, Axis, Format, Port, beside
from hsengine.export.runtime import library, opened

TOLERANCE = 1e-5
"""The largest difference in float32, relative to the largest value of an output."""
HALF_TOLERANCE = 0.05
"""The same in half precision, beyond which a file is of no use; the JSON states what it is."""


@dataclass(frozen=True)
class Sample:
    """Inputs on which file and model are compared.

    Attributes:
        kind: what they are: "random", or the name of the file that they are from.
        inputs: tensors as the model takes them.
    """

    kind: str
    inputs: tuple[Tensor, ...]

    @property
    def shapes(self) -> list[list[int]]:
        """Of each input."""
        return [list(value.shape) for value in self.inputs]


@dataclass(frozen=True)
class Request:
    """A model to be exported.

    Attributes:
        module: from float32 tensors to a tensor or a tuple of tensors, on the CPU.
        inputs: names of its inputs.
        outputs: names of its outputs.
        axes: for each input, which axes may have any length; several such, tried in this order.
        samples: to compare on; the graph is made from the first that fits.
        halves: the module in half precision, with float32 inputs and outputs; None for the module itself, halved.
        fixed: whose sizes are taken where the model allows no others; None for the first sample.
        described: further entries of the JSON.
    """

    module: nn.Module
    inputs: Sequence[str]
    outputs: Sequence[str]
    axes: Sequence[Axes]
    samples: Sequence[Sample]
    described: Mapping[str, Any]
    halves: nn.Module | None = None
    fixed: Sample | None = None


@dataclass(frozen=True)
class Summary:
    """What was written and how near it is."""

    file: Path
    error: float
    compared: int
    sizes: str
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        lines = [
            f"{self.file} and {beside(self.file).name}: within {self.error:.1e} of the model on {self.compared} inputs",
            self.sizes,
            *self.notes,
        ]
        return "\n".join(lines)


def target(to: Path | None, format: Format) -> Path:
    """Where the file goes: `outputs/model.onnx` and its like by default.

    A name must say the format, by which `predict` knows an exported file.

    Raises:
        UserError: another suffix, or a folder.
    """
    place = paths.MODEL.with_suffix(SUFFIXES[format]) if to is None else to
    if place.suffix != SUFFIXES[format] or place.is_dir():
        raise UserError(f"--to {place}: give a file name that ends in {SUFFIXES[format]} for the format {format}.")
    return place


def write(request: Request, to: Path, format: Format, *, opset: int | None = None, half: bool = False) -> Summary:
    """Write a model as a file and a JSON beside it, whole or not at all.

    Lengths of axes are left open where the model allows it; else the file takes the first sample's sizes alone, and
    the JSON says why.

    Args:
        request: the model, and what to compare on.
        to: the file, as `target` has it.
        format: of the file.
        opset: of ONNX; None for `DEFAULT_OPSET`.
        half: weights and arithmetic in float16; inputs and outputs stay float32.

    Raises:
        UserError: an operation is in the way (named), the file's results differ from the model's, a library is
            missing, or the place cannot be written.
    """
    if opset is not None and format != "onnx":
        raise UserError(f"--opset is a matter of ONNX, not of {format}: leave it out.")
    if format == "onnx":
        library("onnxruntime")
    plain = request.module.eval().requires_grad_(False)
    expected = [_outputs(plain, sample) for sample in request.samples]
    module = (request.halves or Halved(copy.deepcopy(plain))).eval().requires_grad_(False) if half else plain
    bound = HALF_TOLERANCE if half else TOLERANCE
    with replacing(to) as scratch:
        chosen, told, compared = _written(request, module, expected, scratch, format, opset or DEFAULT_OPSET, bound)
        error = max(entry["error"] for entry in compared)
        described = {
            "file": to.name,
            "format": format,
            **({"opset": opset or DEFAULT_OPSET} if format == "onnx" else {}),
            "blake2b": file_hash(scratch),
            "precision": "float16 inside, float32 inputs and outputs" if half else "float32",
            "inputs": [
                port.model_dump()
                for port in _ports(request.inputs, (request.fixed or request.samples[0]).inputs, chosen)
            ],
            "outputs": [_output(name, value) for name, value in zip(request.outputs, expected[0], strict=True)],
            "axes": [axis.model_dump() for axis in _distinct(chosen)],
            "sizes": told,
            "error": error,
            "tolerance": bound,
            "error_means": "largest difference to the model, relative to the largest value of the output",
            "compared": compared,
            "versions": _versions(format),
            **request.described,
        }
    write_json(beside(to), described)
    return Summary(to, error, len(compared), told)


class Halved(nn.Module):
    """A module in half precision whose inputs and outputs stay float32."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net.half()

    def forward(self, *inputs: Tensor) -> Any:
        """What the module makes of the inputs."""
        found = self.net(*(value.half() for value in inputs))
        if isinstance(found, Tensor):
            return found.float()
        return tuple(value.float() for value in found)


def _written(
    request: Request,
    module: nn.Module,
    expected: Sequence[Sequence[Tensor]],
    file: Path,
    format: Format,
    opset: int,
    bound: float,
) -> tuple[Axes, str, list[dict[str, Any]]]:
    """Write with free axes if that can be, else for one size: the axes, the sizes in words, what was compared."""
    like, names = request.fixed or request.samples[0], (request.inputs, request.outputs)
    last = request.axes[-1]
    reason = ""
    for axes in (*request.axes, _only_batch(last), _none(last)):
        pairs = zip(request.samples, expected, strict=True)
        fitting = [(sample, truth) for sample, truth in pairs if _fits(axes, sample, like)]
        if not fitting:
            continue
        # One image alone would be taken for a length that cannot be another.
        first = max((sample for sample, _ in fitting), key=lambda sample: min(sample.inputs[0].shape[0], 2))
        try:
            convert(module, first.inputs, axes, names, file, format, opset)
            compared = _compared(file, format, fitting, request.outputs, bound)
        except ConversionError as error:
            reason = reason or str(error)
            continue
        free = _distinct(axes)
        told = f"any {', '.join(_said(axis) for axis in free)}" if free else "one size alone"
        if len(free) < len(_distinct(last)):
            told += f"; all else as in {first.shapes}, since {reason}"
        return axes, told, compared
    raise UserError(f"This model cannot be exported as {format}: {reason}. Nothing was written.")


def _said(axis: Axis) -> str:
    return axis.name if axis.multiple == 1 else f"{axis.name} that is a multiple of {axis.multiple}"


def _only_batch(axes: Axes) -> Axes:
    return [{place: axis for place, axis in own.items() if place == 0} for own in axes]


def _none(axes: Axes) -> Axes:
    return [{} for _ in axes]


def _fits(axes: Axes, sample: Sample, like: Sample) -> bool:
    """Whether a sample has another's sizes, and on the free axes one that is allowed."""
    return all(
        length % own[place].multiple == 0 and length >= own[place].least if place in own else length == wanted
        for own, shape, shape_like in zip(axes, sample.shapes, like.shapes, strict=True)
        for place, (length, wanted) in enumerate(zip(shape, shape_like, strict=True))
    )


def _compared(
    file: Path,
    format: Format,
    pairs: Sequence[tuple[Sample, Sequence[Tensor]]],
    names: Sequence[str],
    bound: float,
) -> list[dict[str, Any]]:
    """How far the file's outputs are from the model's on each sample.

    Raises:
        ConversionError: it does not run on a sample's size, or gives something else there.
    """
    try:
        call = opened(file, format)
    except UserError as error:
        raise ConversionError(str(error)) from None
    entries = []
    for sample, truth in pairs:
        try:
            with torch.no_grad():
                found = call(sample.inputs)
        except Exception as error:  # whatever the runtime raises
            raise ConversionError(f"the file does not run on {sample.shapes} ({_first(error)})") from error
        errors = {name: _error(one, other) for name, one, other in zip(names, found, truth, strict=True)}
        worst = max(errors, key=lambda name: errors[name])
        if not errors[worst] <= bound:
            raise ConversionError(
                f"the file gives other results than the model: '{worst}' differs by {errors[worst]:.1e} of its largest "
                f"value on {sample.kind} inputs {sample.shapes}, more than {bound:g}"
            )
        entries.append({"input": sample.kind, "shapes": sample.shapes, "error": errors[worst], "errors": errors})
    return entries


def _error(found: Tensor, truth: Tensor) -> float:
    if found.shape != truth.shape:
        return float("inf")
    scale = max(float(truth.abs().max()), torch.finfo(torch.float32).tiny) if truth.numel() else 1.0
    difference = float((found.float() - truth).abs().max()) if truth.numel() else 0.0
    return difference / scale if difference == difference else float("inf")


def _outputs(module: nn.Module, sample: Sample) -> list[Tensor]:
    with torch.no_grad():
        found = module(*sample.inputs)
    outputs = [found] if isinstance(found, Tensor) else list(found)
    if not all(bool(torch.isfinite(value).all()) for value in outputs):
        raise UserError(
            f"The model gives values that are no numbers on {sample.kind} inputs: there is nothing to export."
        )
    return [value.float() for value in outputs]


def _ports(names: Sequence[str], inputs: Sequence[Tensor], axes: Axes) -> list[Port]:
    return [
        Port(name=name, shape=[own[place].name if place in own else length for place, length in enumerate(value.shape)])
        for name, value, own in zip(names, inputs, axes, strict=True)
    ]


def _output(name: str, value: Tensor) -> dict[str, Any]:
    return {"name": name, "shape": ["*"] * value.ndim, "type": "float32"}


def _distinct(axes: Axes) -> list[Axis]:
    found: dict[str, Axis] = {}
    for axis in (axis for own in axes for axis in own.values()):
        found.setdefault(axis.name, axis)
    return list(found.values())


def _versions(format: Format) -> dict[str, str]:
    names = ["torch", *(("onnx", "onnxscript", "onnxruntime") if format == "onnx" else ())]
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1][:300] if lines else type(error).__name__
