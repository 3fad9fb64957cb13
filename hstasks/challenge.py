"""The challenges of this package, and what each says of itself."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml, validated
from hsengine.base.wording import close_matches
from hsengine.project import Project

# Stages name each other here, and each has a hash of its own.
__loads__ = ()

NAMES = ("salt", "landcover", "lenses", "biomass")
KEY = "challenge"
"""The key of `params.yaml` that says which challenge it belongs to."""


@dataclass(frozen=True)
class Challenge:
    """A challenge: its project, and where its stages are.

    Attributes:
        project: what the engine asks.
        stages: the module of each verb, in the pipeline's order; its function is `run(params, ...)`.
        tools: the module of each verb that is no stage of the pipeline, such as `sample` and `predict`.
    """

    project: Project
    stages: Mapping[str, str]
    tools: Mapping[str, str]

    def run(self, verb: str) -> Callable[..., Any]:
        """The function of a verb.

        Raises:
            UserError: this challenge has no such verb.
        """
        known = {**self.stages, **self.tools}
        if verb not in known:
            raise UserError(
                f"The challenge '{self.project.name}' has no '{verb}'{close_matches(verb, known)}. It has: "
                f"{', '.join(known)}."
            )
        function: Callable[..., Any] = importlib.import_module(known[verb]).run
        return function


def named(name: object) -> Challenge:
    """The challenge of a name.

    Raises:
        UserError: there is none.
    """
    if name not in NAMES:
        raise UserError(f"There is no challenge {name!r}{close_matches(str(name), NAMES)}: {', '.join(NAMES)}.")
    found: Challenge = importlib.import_module(f"hstasks.{name}.challenge").CHALLENGE
    return found


def of(params_file: str | os.PathLike[str] = "params.yaml") -> Challenge:
    """The challenge that a parameter file names.

    Raises:
        UserError: the file is missing or names none.
    """
    raw = read_yaml(params_file)
    if KEY not in raw:
        raise UserError(f"{params_file} names no challenge: add a line '{KEY}: NAME' with one of {', '.join(NAMES)}.")
    return named(raw[KEY])


def load(params_file: str | os.PathLike[str] = "params.yaml") -> tuple[Challenge, Any]:
    """A parameter file's challenge and its parameters.

    Raises:
        UserError: see `of` and `hsengine.base.params.validated`.
    """
    challenge = of(params_file)
    return challenge, validated(challenge.project.schema, read_yaml(params_file), str(params_file))
