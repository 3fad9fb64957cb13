"""The page of a challenge: its own part, then what every report has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hsengine import folder as folders
from hsengine.base import paths
from hsengine.base.files import file_hash
from hsengine.project import Project
from hsengine.report import content
from hsengine.report.page import Note, Page, Part, Section, asset, filled, write

_PACKAGE = "hstasks.report"
PARAMS = Path("params.yaml")
_UNMEASURED = Section("Cost", [Note("The training of this model did not note what it cost.")])

__loads__ = ("hstasks/report/assets/tasks.css", "hstasks/report/assets/gallery.js")


@dataclass(frozen=True)
class Summary:
    """What was made: the page, its size, and how many samples it shows as pictures."""

    file: Path
    bytes: int
    pictures: int

    def __str__(self) -> str:
        size = f"{self.bytes / 1e6:.1f} MB, {self.pictures} samples as pictures"
        return f"wrote {self.file} ({size}): open it in a browser"


@dataclass(frozen=True)
class Own:
    """What a challenge shows of its results.

    Attributes:
        section: it stands first on the page.
        script: the name of a file of `assets`; "": none.
        data: see `hsengine.report.page.Page`.
        pictures: how many samples it shows.
    """

    section: Section
    script: str
    data: Mapping[str, str] = field(default_factory=dict, repr=False)
    pictures: int = 0


@dataclass(frozen=True)
class Places:
    """Where a training and its scores lie."""

    model: Path = paths.MODEL
    curves: Path = paths.CURVES
    throughput: Path = paths.THROUGHPUT


def part(template: str, **values: Any) -> Part:
    """A filled-in template of this package."""
    return Part(filled(_PACKAGE, template, **values))


def make(
    project: Project,
    metrics: Mapping[str, Any],
    count: str,
    own: Own,
    samples: Section,
    *,
    lead: str,
    places: Places | None = None,
    further: Sequence[Section] = (),
    watched: str | None = None,
    file: Path = paths.REPORT,
    params_file: Path = PARAMS,
) -> Summary:
    """Write the page.

    Args:
        project: whose recipes the parameters are compared with.
        metrics: the content of `metrics.json`, as far as it is shown.
        count: what it calls the number of samples.
        own: the challenge's part.
        samples: the best and the worst.
        lead: under the title.
        places: of the training that was scored.
        further: sections after the scores.
        watched: the curve that is shown first after the loss; None: the leading measure.
        file: the HTML file.
        params_file: the parameters, as they are compared with the last commit's.

    Raises:
        UserError: an earlier stage's result is missing or damaged.
    """
    where = places or Places()
    run = metrics["run"]
    leading = run["leading"]
    used = where.model / folders.file_of(run["checkpoint"])
    sections = [
        own.section,
        content.scores(metrics, count, file_hash(used)),
        *further,
        samples,
        content.curves(watched or leading, where.curves),
        content.run(project, folders.record(where.model), params_file),
        content.cost(where.throughput) if where.throughput.is_file() else _UNMEASURED,
    ]
    page = Page(
        title=f"{run['model']}, {project.name}: {leading} {content.number(metrics[leading])}",
        lead=lead,
        sections=sections,
        styles=[asset(_PACKAGE, "assets", "tasks.css")],
        scripts=[asset(_PACKAGE, "assets", name) for name in ("gallery.js", own.script) if name],
        data=own.data,
    )
    write(page, file)
    return Summary(file, file.stat().st_size, own.pictures)


def chosen(worst_first: Sequence[Any], most: int) -> list[Any]:
    """Of samples from worst to best: half the worst, a quarter at equal distances between, a quarter the best."""
    if len(worst_first) <= most:
        return list(worst_first)
    worst, best = most // 2, most // 4
    between = np.linspace(worst, len(worst_first) - best, most - worst - best, endpoint=False).round().astype(int)
    places = [*range(worst), *between.tolist(), *range(len(worst_first) - best, len(worst_first))]
    return [worst_first[place] for place in places]
