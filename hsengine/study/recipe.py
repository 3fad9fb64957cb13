"""Recipes: named sets of parameters, each file holding only what differs from `params.yaml`."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hsengine.base.params import read_yaml, validated
from hsmodels.params import Params

FOLDER = Path("recipes")
_NULL = "tag:yaml.org,2002:null"
# Tables, whose keys are values too: one that is set takes the place of the old one.
_TABLES = ("augment.crop_steps",)


@dataclass(frozen=True)
class Recipe:
    """A recipe's name, its first comment line, and the parameters it sets."""

    name: str
    purpose: str
    values: dict[str, Any]
    text: str


def names(folder: str | os.PathLike[str] = FOLDER) -> list[str]:
    """The names of the recipes in `folder`, sorted."""
    return sorted(path.stem for path in Path(folder).glob("*.yaml"))


def read(name: str, folder: str | os.PathLike[str] = FOLDER) -> Recipe:
    """Read a recipe and check every key of it against the parameters that exist.

    Raises:
        UserError: there is no such recipe, or it sets a key or value that does not exist.
    """
    file = Path(folder) / f"{name}.yaml"
    if not file.is_file():
        known = names(folder)
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known) or 'none'}."
        raise UserError(f"There is no recipe '{name}' in {folder}; {hint}")
    text = file.read_text(encoding="utf-8")
    values = read_yaml(file)
    validated(Params, values, str(file))
    first = text.splitlines()[0] if text else ""
    return Recipe(name, first.removeprefix("#").strip() if first.startswith("#") else "", values, text)


def apply(
    name: str, params_file: str | os.PathLike[str] = "params.yaml", folder: str | os.PathLike[str] = FOLDER
) -> list[str]:
    """Set a recipe's values in `params.yaml`; comments, order and all other keys stay.

    A mapping is merged key by key; a list, a number or a table such as `augment.crop_steps` is replaced.

    Returns:
        One line for each value that changed: `train.epochs: 60 -> 1000`.

    Raises:
        UserError: see `read`; or the parameters that would result are not valid. Nothing is written then.
    """
    return set_values(read(name, folder).values, params_file, f"recipe '{name}'")


def set_values(values: Mapping[str, Any], params_file: str | os.PathLike[str], source: str) -> list[str]:
    """Set nested values in `params.yaml` as `apply` does.

    Args:
        values: what to set, with the nesting of `params.yaml`.
        params_file: the file to change.
        source: where the values come from, for messages.

    Returns:
        One line for each value that changed.

    Raises:
        UserError: the parameters that would result are not valid. Nothing is written then.
    """
    read_yaml(params_file)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(type(None), lambda writer, _: writer.represent_scalar(_NULL, "null"))
    document = yaml.load(Path(params_file))
    changes: list[str] = []
    _merge(document, values, "", changes)
    stream = StringIO()
    yaml.dump(document, stream)
    validated(Params, YAML(typ="safe").load(stream.getvalue()), f"{params_file} with {source}")
    if changes:
        write_text(params_file, stream.getvalue())
    return changes


def _merge(target: MutableMapping[str, Any], source: Mapping[str, Any], where: str, changes: list[str]) -> None:
    for key, value in source.items():
        place, held = f"{where}{key}", target.get(key)
        if isinstance(value, Mapping) and isinstance(held, MutableMapping) and place not in _TABLES:
            _merge(held, value, f"{place}.", changes)
        elif key not in target or held != value:
            changes.append(f"{place}: {_plain(held) if key in target else 'not set'} -> {_plain(value)}")
            target[key] = _on_one_line(value) if isinstance(value, Mapping) else value


def _on_one_line(value: Mapping[str, Any]) -> CommentedMap:
    """A mapping that is written as {key: value}."""
    mapping = CommentedMap(value)
    mapping.fa.set_flow_style()
    return mapping


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(part)}" for key, part in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
