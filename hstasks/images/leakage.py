"""Leaks: what held-out and trained samples share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from hsengine.base.errors import UserError
from hsengine.base.wording import listed, some


@dataclass(frozen=True)
class Leak:
    """What stands on both sides of a split.

    Attributes:
        kind: `id`, `group` or `content`.
        value: the id, group or hash.
        held_out: ids held out that have it.
        train: ids trained on that have it.
    """

    kind: str
    value: str
    held_out: list[str]
    train: list[str]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}: {some(self.held_out, 3)} held out, {some(self.train, 3)} trained on"


def leaks(frame: pd.DataFrame, held_out: Iterable[str], train: Iterable[str]) -> list[Leak]:
    """What held-out and trained samples share: ids, groups and images.

    Args:
        frame: a catalog with both.
        held_out: ids held out.
        train: ids trained on.
    """
    held, trained = set(held_out), set(train)
    found = [Leak("id", name, [name], [name]) for name in sorted(held & trained)]
    for kind in ("group", "content"):
        values = dict(zip(frame["id"], frame[kind], strict=True))
        sides = [_by_value(values, names) for names in (held - trained, trained - held)]
        shared = sorted(sides[0].keys() & sides[1].keys())
        found += [Leak(kind, value, sides[0][value], sides[1][value]) for value in shared]
    return found


def check(
    frame: pd.DataFrame,
    held_out: Iterable[str],
    train: Iterable[str],
    kinds: Sequence[str] = ("id", "group", "content"),
) -> None:
    """Refuse a split that leaks.

    Args:
        frame: a catalog with all samples.
        held_out: ids held out.
        train: ids trained on.
        kinds: what must not be on both sides.

    Raises:
        UserError: names the ids that leak, or that the catalog does not have.
    """
    held, trained = list(held_out), list(train)
    unknown = sorted({*held, *trained} - set(frame["id"]))
    if unknown:
        raise UserError(f"The split names samples that the catalog does not have: {some(unknown)}. Make it anew.")
    found = [leak for leak in leaks(frame, held, trained) if leak.kind in kinds]
    if found:
        raise UserError(
            f"The split leaks: held-out samples are known from training.\n{listed([str(leak) for leak in found])}\n"
            "Hold out whole groups (split.strategy 'grouped') or remove the doubles."
        )


def _by_value(values: Mapping[str, str], names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        value = values.get(name, "")
        if value:
            found.setdefault(value, []).append(name)
    return found
