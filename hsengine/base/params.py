"""`params.yaml`, read once into typed, validated, frozen objects."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.parser import Parser

from hsengine.base import reading
from hsengine.base.errors import UserError
from hsengine.base.filling import check_filled
from hsengine.base.wording import meant

# Values in a file of parameters, and how deep they may nest.
_MOST = 100_000
_DEEPEST = 50


class Section(BaseModel):
    """A block of `params.yaml`: frozen, and closed to keys that it does not name; numbers are finite.

    Attributes:
        moved: where keys have gone that earlier versions had, old to new, dotted from this section.
        tables: dotted keys of mappings whose keys are values too: a recipe that sets one replaces it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    moved: ClassVar[Mapping[str, str]] = {}
    tables: ClassVar[tuple[str, ...]] = ()


Schema = TypeVar("Schema", bound=Section)


class _Shallow(Parser):  # type: ignore[misc]
    """Ends at what nests too deep, before anything is made of it: the parser takes ever longer the deeper it is."""

    depth = 0

    def get_event(self) -> Any:
        event = super().get_event()
        self.depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if self.depth > _DEEPEST:
            raise RecursionError
        return event


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Parse a YAML 1.2 mapping.

    Raises:
        UserError: the file is missing, is not YAML or is not a mapping.
    """
    file = Path(path)
    if not os.path.lexists(file):
        check_filled(file.parent)
        raise UserError(f"There is no {file} here: run the command in the project's folder.")
    return yaml_mapping(reading.text(file, "a YAML file"), file)


def yaml_mapping(written: str, source: object) -> dict[str, Any]:
    """The mapping in a text of YAML 1.2; {} where it is empty.

    Args:
        written: the text.
        source: where it is from, for the message.

    Raises:
        UserError: it is not YAML or not a mapping.
    """
    try:
        parser = YAML(typ="safe")
        parser.Parser = _Shallow
        content = parser.load(written)
        _count(content)
    except YAMLError as error:
        raise UserError(f"{source} is not valid YAML: {error}") from None
    # The parser and its dates raise what Python raises.
    except Exception as error:
        raise UserError(f"{source} is not valid YAML: {reading.reason(error)}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{source} must hold 'key: value' lines, not a {type(content).__name__}.")
    return content


def _count(value: Any, depth: int = 0, left: int = _MOST) -> int:
    """Entries that may still come: anchors let a few lines stand for more than any memory holds, or for themselves."""
    if depth > _DEEPEST:
        raise RecursionError
    left -= 1
    if left < 0:
        raise ValueError(f"it stands for more than {_MOST:,} values")
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        left = _count(part, depth + 1, left)
    return left


def validated(schema: type[Schema], raw: dict[str, Any], source: str) -> Schema:
    """`raw` as a `schema` object.

    Raises:
        UserError: names each key that is unknown or ill-typed, its value and what is allowed.
    """
    try:
        checked = schema.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(schema, problem) for problem in error.errors()]
        raise UserError(f"{source} cannot be used:\n" + "\n".join(f"  {line}" for line in lines)) from None
    # Also in tables whose keys are not known here.
    for where, value in _numbers(raw):
        if not math.isfinite(value):
            raise UserError(f"{source} cannot be used:\n  {where}: {value} is not allowed: a finite number is needed")
    return checked


def _numbers(value: Any, where: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(part, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part, where)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested or dotted keys as dotted ones down to numbers, texts and lists.

    A mapping that is empty or whose keys are not all text stays as it is.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        deeper = isinstance(value, Mapping) and value and all(isinstance(part, str) for part in value)
        found |= flat(value, f"{prefix}{key}.") if deeper else {f"{prefix}{key}": value}
    return found


def written(value: Any) -> str:
    """A value as `params.yaml` holds it, in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {written(part)}" for key, part in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _explain(schema: type[Section], problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        if where in schema.moved:
            return f"{where}: it is called '{schema.moved[where]}' now; move it there"
        known = _known_keys(schema, problem["loc"][:-1])
        hint = meant(problem["loc"][-1], known) or f"allowed here: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {problem['input']!r} is not allowed: {message}" if where else message


def _known_keys(schema: type[Section], location: tuple[Any, ...]) -> list[str]:
    current: Any = schema
    for part in location:
        info = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        if info is None:
            return []
        choices = [part for part in get_args(info.annotation) if hasattr(part, "model_fields")]
        current = choices[0] if choices else info.annotation
    return sorted(current.model_fields) if hasattr(current, "model_fields") else []
