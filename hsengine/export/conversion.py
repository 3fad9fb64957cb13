"""A module as a file of a format, and which operation is in the way where that fails."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hsengine.base.errors import UserError
from hsengine.export.description import Axis, Format
from hsengine.export.runtime import library

DEFAULT_OPSET = 20
"""Of ONNX, where none is said; onnxruntime reads it since 1.17."""

Axes = Sequence[Mapping[int, Axis]]
"""For each input, which of its axes may have other lengths than the samples."""


class ConversionError(Exception):
    """Why a module cannot be written, in words: which operation is in the way, and where it stands."""


def convert(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    axes: Axes,
    names: tuple[Sequence[str], Sequence[str]],
    file: Path,
    format: Format,
    opset: int = DEFAULT_OPSET,
) -> None:
    """Write a module in evaluation mode, without gradients.

    Args:
        module: from tensors to a tensor or a tuple of them.
        inputs: samples, from which the graph is made.
        axes: whose lengths may differ.
        names: of the inputs and of the outputs.
        file: the file to write.
        format: of the file.
        opset: of ONNX.

    Raises:
        ConversionError: an operation has no counterpart in the format, or depends on the data or the size.
        UserError: a library is missing.
    """
    if format == "onnx":
        for name in ("onnx", "onnxscript"):
            library(name)
    try:
        with torch.no_grad(), _quiet():
            if format == "torchscript":
                traced = torch.jit.trace(module, inputs, check_trace=False)  # type: ignore[no-untyped-call]
                file.write_bytes(traced.save_to_buffer())
                return
            program = torch.export.export(module, inputs, dynamic_shapes=_dynamic(axes), strict=False)
            if format == "torch-export":
                # Torch's own writer of files does not say why it fails.
                content = io.BytesIO()
                torch.export.save(program, content)
                file.write_bytes(content.getbuffer())
            else:
                _write_onnx(program, names, file, opset)
    except (UserError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # whatever the exporters raise of a model
        if isinstance(error, OSError) and error.errno:
            raise
        raise ConversionError(explained(error)) from error


def _write_onnx(program: Any, names: tuple[Sequence[str], Sequence[str]], file: Path, opset: int) -> None:
    import onnx

    made = torch.onnx.export(
        program, input_names=list(names[0]), output_names=list(names[1]), opset_version=opset, verbose=False
    )
    assert made is not None
    made.save(os.fspath(file), external_data=False)
    found = {entry.domain: entry.version for entry in onnx.load(os.fspath(file), load_external_data=False).opset_import}
    if found.get("", opset) != opset:
        raise UserError(
            f"--opset {opset}: this model needs operations of opset {found['']}, which cannot be put into {opset}; "
            f"leave --opset out ({DEFAULT_OPSET}), or give one from {found['']} on."
        )


def _dynamic(axes: Axes) -> tuple[dict[int, Any], ...]:
    dims: dict[str, Any] = {}
    for axis in (axis for own in axes for axis in own.values()):
        if axis.name not in dims:
            base = torch.export.Dim(f"_{axis.name}", min=-(-axis.least // axis.multiple))
            dims[axis.name] = axis.multiple * base if axis.multiple > 1 else base
    return tuple({place: dims[axis.name] for place, axis in own.items()} for own in axes)


def explained(error: BaseException) -> str:
    """Which operation an exporter's error is about, where that stands in the code, and what is wrong with it."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    texts = [_plain(str(cause)) for cause in causes]
    whole = "\n".join(texts)
    operation = next((found[1] for pattern in _OPERATIONS if (found := re.search(pattern, whole))), "")
    place = _place(causes, whole)
    reason = next(
        (line for text in reversed(texts) for line in text.splitlines() if line.strip()), type(error).__name__
    )
    about = f"the operation {operation}" if operation else "an operation"
    return f"{about}{place} is in the way: {reason.strip()[:300]}"


_OPERATIONS = (
    r"No ONNX function found for <OpOverload\(op='([\w.]+)'",
    r"target=torch\.ops\.([\w.]+)\]",
    r"(?:Unsupported|unsupported|missing).{0,40}?((?:aten|prims|torchvision|higher_order)[.:]{1,2}[\w.]+)",
    r"\b(aten::\w+)",
)
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\w+)')


def _place(causes: Sequence[BaseException], text: str) -> str:
    """The last line of code of a model that led to an error, not of torch itself."""
    frames = [
        (frame.filename, frame.lineno or 0, frame.line or "")
        for cause in causes
        for frame in traceback.extract_tb(cause.__traceback__)
    ]
    frames += [(found[1], int(found[2]), "") for found in _FRAME.finditer(text)]
    own = [frame for frame in frames if not _is_library(frame[0])]
    if not own:
        return ""
    file, line, code = own[-1]
    return f" in {Path(file).parent.name}/{Path(file).name}, line {line}{f' ({code.strip()})' if code else ''}"


def _is_library(file: str) -> bool:
    parts = Path(file).parts
    return (
        file.startswith("<")
        or any(name in parts for name in ("torch", "onnxscript", "onnx_ir", "onnx"))
        or (Path(file).parent == Path(__file__).parent)
    )


def _plain(text: str) -> str:
    """Text without the colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' progress and warnings to themselves: what matters is compared afterwards."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
