"""An exported file as a module: ONNX by onnxruntime, TorchScript and torch.export by torch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.export.description import Format, check_shapes, read

_Call = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
_INSTALL = "pip install 'hyperobject-toolkit[export]'"


class Exported(nn.Module):
    """An exported file that is called as the model was; its outputs come as a tuple.

    Args:
        file: what `write` wrote, with its JSON beside it.

    Raises:
        UserError: the file or its JSON cannot be read, or a library is missing.
    """

    def __init__(self, file: str | os.PathLike[str]):
        super().__init__()
        self.file, self.said = Path(file), read(file)
        self.place: Tensor
        self.register_buffer("place", torch.empty(0), persistent=False)
        self._calls = {torch.device("cpu"): opened(self.file, self.said.format)}

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs, float32 where the inputs are.

        Raises:
            UserError: the file does not take inputs of these sizes.
        """
        check_shapes(self.said, [tuple(value.shape) for value in inputs], self.file)
        device = self.place.device
        if device not in self._calls:
            self._calls[device] = opened(self.file, self.said.format, device)
        # Whatever surrounds the call, the file computes as it was exported.
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            return self._calls[device](tuple(value.float() for value in inputs))


def opened(file: Path, format: Format, device: torch.device | None = None) -> _Call:
    """What computes the outputs of a file from its inputs, on a device.

    Raises:
        UserError: it cannot be read, or a library is missing.
    """
    place = device or torch.device("cpu")
    try:
        return {"onnx": _onnx, "torchscript": _torchscript, "torch-export": _torch_export}[format](file, place)
    except UserError:
        raise
    except Exception as error:  # of the runtime: damaged bytes make it raise anything
        said = str(error).strip().splitlines()
        raise UserError(f"{file} cannot be read as {format} ({said[0] if said else error!r}): export again.") from None


def library(name: str) -> ModuleType:
    """A library of the extra `export`.

    Raises:
        UserError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"ONNX needs the package {name}, which is not installed: {_INSTALL}.") from None


# Only libraries are imported by name.
__loads__ = ()


def _onnx(file: Path, device: torch.device) -> _Call:
    runtime: Any = library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    own = ["CUDAExecutionProvider"] if device.type == "cuda" else []
    providers = [name for name in (*own, "CPUExecutionProvider") if name in runtime.get_available_providers()]
    session = runtime.InferenceSession(os.fspath(file), options, providers=providers)
    names = [port.name for port in session.get_inputs()]

    def call(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given = {name: value.cpu().contiguous().numpy() for name, value in zip(names, inputs, strict=True)}
        return tuple(torch.from_numpy(value).to(device) for value in session.run(None, given))

    return call


def _torchscript(file: Path, device: torch.device) -> _Call:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: Any = torch.jit.load(os.fspath(file), map_location=device)  # type: ignore[no-untyped-call]

    def call(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # The interpreter's own optimisation costs seconds for each new size of image.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined, no-untyped-call]
            return _as_tuple(module(*(value.to(device) for value in inputs)))

    return call


def _torch_export(file: Path, device: torch.device) -> _Call:
    from torch.export.passes import move_to_device_pass

    program = torch.export.load(file)
    if device.type != "cpu":
        program = move_to_device_pass(program, device)
    module = program.module()

    def call(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return _as_tuple(module(*(value.to(device) for value in inputs)))

    return call


def _as_tuple(output: Any) -> tuple[Tensor, ...]:
    return (output,) if isinstance(output, Tensor) else tuple(output)
