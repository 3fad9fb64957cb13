"""The verb `summary`: the scores of the last evaluation as a table, and where to look next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.reading import parsed_json

NEXT = f"All of it on one page, with the samples to look at: {paths.REPORT}, in a browser."

_REMEDY = "make them with 'dvc repro' or 'hstasks evaluate'."


def table(file: Path = paths.METRICS) -> Table:
    """Every measure of a challenge's `metrics.json`, and the leading one of its groups and baselines.

    Raises:
        UserError: there are no metrics yet, or the file is damaged.
    """
    try:
        metrics: dict[str, Any] = parsed_json(file, "the scores of a model", _REMEDY)
        run = metrics["run"]
        leading = run["leading"]
        found = Table(f"{run['model']}, {run['checkpoint']} checkpoint", "value")
        values = {name: value for name, value in metrics.items() if not isinstance(value, Mapping)}
        for name, value in values.items():
            found.add_row(name, _shown(value), end_section=name == list(values)[-1])
        groups = {name: parts for name, parts in metrics.items() if isinstance(parts, Mapping) and name != "run"}
        for group, parts in groups.items():
            for name in sorted(parts, key=_order):
                found.add_row(f"{leading} of {group} {name}", _shown(parts[name][leading]))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is not what 'hstasks evaluate' writes ({error!r}): {_REMEDY}") from None
    return found


def _shown(value: Any) -> str:
    return "undefined" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _order(name: str) -> tuple[bool, int, str]:
    """Numbers by their size, after names."""
    return name.isdigit(), int(name) if name.isdigit() else 0, name
