"""Recipes: named sets of parameters, each file holding only what differs from another one or from `params.yaml`."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from hsengine.base.errors import UserError
from hsengine.base.files import clear_beside, write_text
from hsengine.base.params import read_yaml, validated, written
from hsengine.base.wording import meant
from hsengine.project import Project

BASE = "base"
"""The key of a recipe that names the one it is built on."""
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class Recipe:
    """A recipe.

    Attributes:
        name: that of its file.
        comments: the lines before its first key; the first one says what it is for.
        values: the parameters that it sets, those of the recipes that it is built on among them.
    """

    name: str
    comments: Sequence[str]
    values: dict[str, Any]

    @property
    def purpose(self) -> str:
        """What it is for."""
        return self.comments[0].removeprefix("#").strip() if self.comments else ""

    def __str__(self) -> str:
        lines = list(self.comments)
        for key, value in self.values.items():
            nested = isinstance(value, Mapping) and value
            lines.append(f"{key}:" if nested else f"{key}: {written(value)}")
            lines += [f"  {part}: {written(held)}" for part, held in value.items()] if nested else []
        return "\n".join(lines) + "\n"


def names(folder: str | os.PathLike[str]) -> list[str]:
    """The names of the recipes in `folder`, sorted; those that begin with '_' are there to build on only."""
    return sorted(path.stem for path in Path(folder).glob("*.yaml") if not path.stem.startswith("_"))


def read(project: Project, name: str, folder: str | os.PathLike[str] | None = None) -> Recipe:
    """Read a recipe and check every key of it against the parameters that exist.

    Args:
        project: whose recipe.
        name: of the recipe.
        folder: where it is, if not in the project's folder of recipes.

    Raises:
        UserError: there is no such recipe, or it sets a key or value that does not exist.
    """
    place = Path(project.recipes if folder is None else folder)
    values: dict[str, Any] = {}
    chain: list[str] = []
    wanted: Any = name
    while wanted is not None:
        if wanted in chain:
            raise UserError(f"{place / chain[-1]}.yaml: {BASE}: {wanted} is built on this recipe itself.")
        content = _content(place, wanted, chain)
        chain.append(wanted)
        wanted = content.pop(BASE, None)
        validated(project.schema, content, f"{place / chain[-1]}.yaml")
        # What a recipe says itself comes first and wins over what it is built on.
        merged = copy.deepcopy(content)
        merge(merged, values, project.schema.tables)
        values = merged
    lines = (place / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    first = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return Recipe(name, lines[:first], values)


def apply(
    project: Project,
    name: str,
    params_file: str | os.PathLike[str] = "params.yaml",
    folder: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Set a recipe's values in `params.yaml`; comments, order and all other keys stay.

    A mapping is merged key by key; a list, a number or a table such as `augment.crop_steps` is replaced.

    Returns:
        One line for each value that changed: `train.epochs: 60 -> 1000`.

    Raises:
        UserError: see `read`; or the parameters that would result are not valid. Nothing is written then.
    """
    return set_values(project, read(project, name, folder).values, params_file, f"recipe '{name}'")


def set_values(
    project: Project, values: Mapping[str, Any], params_file: str | os.PathLike[str], source: str
) -> list[str]:
    """Set nested values in `params.yaml` as `apply` does.

    Args:
        project: whose parameters.
        values: what to set, with the nesting of `params.yaml`.
        params_file: the file to change.
        source: where the values come from, for messages.

    Returns:
        One line for each value that changed.

    Raises:
        UserError: the parameters that would result are not valid. Nothing is written then.
    """
    read_yaml(params_file)
    clear_beside(params_file)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(type(None), lambda writer, _: writer.represent_scalar(_NULL, "null"))
    document = yaml.load(Path(params_file))
    changes = merge(document, values, project.schema.tables)
    stream = StringIO()
    yaml.dump(document, stream)
    validated(project.schema, YAML(typ="safe").load(stream.getvalue()), f"{params_file} with {source}")
    if changes:
        write_text(params_file, stream.getvalue())
    return changes


def merge(
    target: MutableMapping[str, Any], source: Mapping[str, Any], tables: Sequence[str] = (), where: str = ""
) -> list[str]:
    """Set values of `source` in `target`, key by key; `tables` are replaced as a whole.

    Returns:
        One line for each value that changed.
    """
    changes: list[str] = []
    for key, value in source.items():
        place, held = f"{where}{key}", target.get(key)
        if isinstance(value, Mapping) and isinstance(held, MutableMapping) and place not in tables:
            changes += merge(held, value, tables, f"{place}.")
        elif key not in target or held != value:
            changes.append(f"{place}: {written(held) if key in target else 'not set'} -> {written(value)}")
            target[key] = _on_one_line(value) if isinstance(value, Mapping) else value
    return changes


def _content(folder: Path, name: Any, chain: Sequence[str]) -> dict[str, Any]:
    file = folder / f"{name}.yaml"
    if file.is_file():
        return read_yaml(file)
    known = names(folder)
    hint = meant(name, known) or f"known here: {', '.join(known) or 'none'}."
    wanted = f" as '{chain[-1]}' wants to be built on" if chain else ""
    raise UserError(f"There is no recipe '{name}' in {folder}{wanted}; {hint}")


def _on_one_line(value: Mapping[str, Any]) -> CommentedMap:
    """A mapping that is written as {key: value}."""
    mapping = CommentedMap(value)
    mapping.fa.set_flow_style()
    return mapping
