"""The JSON beside an exported file: what must be done before and after, and what was compared; without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ConfigDict, Field

from hsengine.base import reading
from hsengine.base.errors import UserError
from hsengine.base.files import file_hash
from hsengine.base.params import Section, validated

Format = Literal["onnx", "torchscript", "torch-export"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: Mapping[Format, str] = {"onnx": ".onnx", "torchscript": ".pt", "torch-export": ".pt2"}


class _Open(Section):
    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


class Axis(_Open):
    """An axis of an input whose length may differ from call to call.

    Attributes:
        name: what it is called, the same on every input that shares it.
        multiple: the length is a multiple of this.
        least: the smallest length.
    """

    name: str
    multiple: int = Field(1, ge=1)
    least: int = Field(1, ge=1)


class Port(_Open):
    """An input or output of the file.

    Attributes:
        name: by which the runtime knows it.
        shape: lengths, or the names of axes whose length may differ.
        type: of its numbers.
    """

    name: str
    shape: list[int | str]
    type: str = "float32"


class Description(_Open):
    """What is read of the JSON; there is more in it, for people.

    Attributes:
        format: of the file.
        blake2b: hash of the file.
        inputs: in their order.
        outputs: in their order.
        axes: those whose length may differ.
        record: `config.json` of the model's folder.
    """

    format: Format
    blake2b: str
    inputs: list[Port] = Field(min_length=1)
    outputs: list[Port] = Field(min_length=1)
    axes: list[Axis]
    record: dict[str, Any]


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of an exported file, not of a model's folder."""
    place = Path(path)
    return place.suffix in SUFFIXES.values() and not place.is_dir()


def beside(file: str | os.PathLike[str]) -> Path:
    """The place of the JSON of an exported file."""
    return Path(f"{os.fspath(file)}.json")


def content(file: str | os.PathLike[str]) -> dict[str, Any]:
    """All of the JSON beside an exported file.

    Raises:
        UserError: there is none, it cannot be read, or it is another file's.
    """
    place = Path(file)
    if not place.is_file():
        raise UserError(f"There is no exported model {place}: check the path.")
    found = reading.parsed_json(beside(place), "what 'export' says of the file beside it")
    said = validated(Description, found, f"{beside(place)} does not say what {place.name} is: it")
    if said.blake2b != file_hash(place):
        raise UserError(
            f"{beside(place)} is of another file than {place.name} beside it: put the two files of one export together."
        )
    checked: dict[str, Any] = found
    return checked


def read(file: str | os.PathLike[str]) -> Description:
    """What the JSON beside an exported file says of it; see `content`."""
    return Description.model_validate(content(file))


def check_shapes(said: Description, shapes: Sequence[Sequence[int]], source: object) -> None:
    """Refuse inputs that the file does not take.

    Raises:
        UserError: says which axis of which input has what length, and what is allowed.
    """
    axes = {axis.name: axis for axis in said.axes}
    if len(shapes) != len(said.inputs):
        raise UserError(f"{source} takes {len(said.inputs)} inputs, not {len(shapes)}.")
    for port, shape in zip(said.inputs, shapes, strict=True):
        whole = f"{source} takes '{port.name}' of shape ({', '.join(map(str, port.shape))}), not {tuple(shape)}"
        if len(shape) != len(port.shape):
            raise UserError(f"{whole}.")
        for length, wanted in zip(shape, port.shape, strict=True):
            if isinstance(wanted, int):
                if length != wanted:
                    raise UserError(f"{whole}: it was exported for this size alone.")
                continue
            axis = axes[wanted]
            if length % axis.multiple or length < axis.least:
                raise UserError(f"{whole}: '{wanted}' is a multiple of {axis.multiple} from {axis.least} on.")
