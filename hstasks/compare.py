"""The verb `compare`: the rows that `evaluate` wrote for several models, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hsengine import compare as engine
from hsengine.base import paths
from hsengine.compare import Difference
from hsengine.report import comparison
from hsengine.report.page import Page

FOLDER = paths.OUTPUTS / "comparison"


@dataclass(frozen=True)
class Summary:
    """What was found, and the folder of the page."""

    measure: str
    found: Sequence[Difference]
    folder: Path

    def __str__(self) -> str:
        lines = [f"{self.measure} of {len(self.found[0].each)} samples, 95 % intervals by bootstrap"]
        return "\n".join(
            [*lines, *map(str, self.found), f"wrote {self.folder / comparison.PAGE}: open it in a browser"]
        )


def run(
    named: Sequence[Path],
    measure: str,
    *,
    group: str | None = None,
    direction: Literal["max", "min"] = "max",
    folder: Path = FOLDER,
) -> Summary:
    """Compare tables with a row a held-out sample.

    Args:
        named: two or more tables, or folders of evaluations with one table each that has the measure.
        measure: the column that is compared.
        group: the column of what samples are drawn together with; None for none.
        direction: whether more of the measure is better; differences are above 0 where the second is better.
        folder: for `comparison.html` and `comparison.json`, replaced as a whole.

    Raises:
        UserError: a table or column is missing, their samples differ, or something else stands in `folder`.
    """
    comparison.check_place(folder)
    read = [engine.of_table(source, measure, group, direction) for source in named]
    results = [result for result, _ in read]
    found = engine.differences(results, {name: part for _, groups in read for name, part in groups.items()})
    called = measure if direction == "max" else f"-{measure}"
    source = f"hstasks compare on {len(found[0].each)} samples" + (f", groups by {group}" if group else "")
    page = Page(
        title=f"Comparison of {' and '.join(result.name for result in results)}",
        lead=f"{called} of the same held-out samples, sample by sample; above 0 the second is better.",
        sections=[
            comparison.differences(called, results, found, source),
            comparison.deciding(called, found, source),
        ],
    )
    comparison.save(folder, page, comparison.record(called, results, found))
    return Summary(called, found, folder)
