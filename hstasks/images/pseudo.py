"""What the stages `pseudo` share: where the labels lie, who may make them, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsengine.base import paths
from hsengine.base.errors import UserError

FOLDER = paths.DERIVED / "pseudo"
TABLE = "pseudo.csv"
SPLIT = "pseudo"
"""The split that pseudo-labelled samples are of."""


@dataclass(frozen=True)
class Summary:
    """How many samples were labelled, and of how many.

    Attributes:
        taken: samples with labels now.
        of: samples that were looked at; 0 where there is no model.
        what: the samples' name, such as "tiles".
        folder: where the labels are.
    """

    taken: int
    of: int
    what: str
    folder: Path = FOLDER

    def __str__(self) -> str:
        if not self.of:
            return f"pseudo.models is empty: no pseudo-labels\nwritten to {self.folder}"
        return f"{self.taken} of {self.of} test {self.what} get pseudo-labels\nwritten to {self.folder}"


def check(
    models: Sequence[str | Path], records: Sequence[Mapping[str, Any]], split: str, fold: int | None, what: str
) -> None:
    """See that models held out what is held out now: else that would reach the training through their labels.

    Args:
        models: their folders.
        records: their records.
        split: hash of the split.
        fold: the fold that is held out.
        what: the samples' name.

    Raises:
        UserError: one was trained with another split or fold; names it.
    """
    for folder, record in zip(models, records, strict=True):
        if (record.get("split"), record.get("fold")) != (split, fold):
            raise UserError(
                f"pseudo.models: {folder} was trained with another split or fold, and may have seen {what} that are "
                f"held out now (fold {fold}): take a model of this fold."
            )
