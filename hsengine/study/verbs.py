"""What `study` does on the command line, verb by verb."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.wording import some
from hsengine.project import Project
from hsengine.study import experiments, plan, recipe, search, snapshot, table
from hsengine.study import pack as packing
from hsengine.study import run as running
from hsengine.study.calls import git
from hsengine.study.experiments import Status
from hsengine.study.plan import Experiment, Plan
from hsengine.study.run import Outcome
from hsengine.study.table import Standing


@dataclass(frozen=True)
class Shown:
    """The table of a study.

    Attributes:
        titles: of the columns.
        lines: the cells of each row.
        table: the same for the terminal.
        remarks: what a reader should know.
    """

    titles: Sequence[str]
    lines: Sequence[Sequence[str]]
    table: Table
    remarks: Sequence[str]

    def markdown(self) -> str:
        """The table and the remarks in Markdown."""
        return "\n\n".join([table.markdown(self.titles, self.lines), *self.remarks])


def run(project: Project, file: Path, params_file: Path, *, jobs: int, say: Callable[[str], None]) -> Outcome:
    """Run those experiments of a study that have not run; see `hsengine.study.run` and `hsengine.study.search`."""
    found = _load(project, file, params_file)
    return (search.run if found.study.search else running.run)(found, jobs=jobs, say=say)


def show(project: Project, file: Path, params_file: Path, *, picture: Path | None = None) -> Shown:
    """The table of a study.

    Args:
        project: whose study.
        file: the study.
        params_file: what its experiments start from.
        picture: where to draw the course of the measure.

    Raises:
        UserError: the study is not valid.
    """
    found, planned, records, stopped = _read(project, file, params_file)
    if picture is not None:
        table.draw(found, planned, records, picture)
    rows = table.rows(found, planned, records)
    if found.study.search:
        titles, lines = _trials(found, planned, table.ranked(found, rows), records, stopped)
    else:
        titles, lines = table.header(found, rows), table.cells(found, rows)
    remarks = table.remarks(found, planned, records, stopped)
    return Shown(titles, lines, table.made(found.study.name, titles, lines), remarks)


def best(project: Project, file: Path, params_file: Path) -> list[str]:
    """Set the values of a study's best variant in `params.yaml`, comments kept; its seed and fold are not set.

    Returns:
        Lines: which one is best, and what changed.

    Raises:
        UserError: no experiment has a result, or the parameters that would result are not valid.
    """
    found, planned, records, _ = _read(project, file, params_file)
    ranked = table.ranked(found, table.rows(found, planned, records))
    measured = [row for row in ranked if row.value is not None]
    if not measured:
        raise UserError(
            f"No experiment of study '{found.study.name}' has a result: run '{project.program} study run {file}' first."
        )
    winner = measured[0].label
    if found.study.search:
        values = next(one.values for one in planned if one.label == winner)
    else:
        values = found.settings()[winner]
    lines = [f"{winner} is best: {found.measure} {measured[0].value}"]
    lines += [f"next is {row.label}: {row.value}" for row in measured[1:2]]
    incomplete = [row.label for row in ranked if (row.value.n if row.value else 0) < row.expected]
    if incomplete and not found.study.search:
        lines.append(f"not all experiments are done of {some(incomplete)}")
    changes = recipe.set_values(project, plan.nested(values), params_file, f"study '{found.study.name}'")
    return [*lines, *(changes or [f"{params_file} holds its values already"])]


def pack(project: Project, file: Path, params_file: Path, to: Path | None = None, *, picture: str) -> list[str]:
    """Write the models, table and picture of a study into a folder; see `hsengine.study.pack`.

    Args:
        project: whose study.
        file: the study.
        params_file: what its experiments start from.
        to: the folder; None: the study's name beside the other outputs.
        picture: the name of the picture's file.

    Raises:
        UserError: the study is not valid, or see `hsengine.study.pack.run`.
    """
    if Path(picture).name != picture or Path(picture).suffix.lower() != ".png":
        raise UserError(f"--picture: '{picture}' is no name of a PNG file, such as curves.png.")
    found, planned, records, _ = _read(project, file, params_file)
    text = show(project, file, params_file).markdown()
    place = to or paths.OUTPUTS / found.study.name
    return packing.run(found, planned, records, place, text=text, picture=picture)


def _load(project: Project, file: Path, params_file: Path) -> Plan:
    snapshot.check()
    # Below the root, other projects of the git repository may have studies of the same names.
    below = git("rev-parse", "--show-prefix")
    return plan.load(file, params_file, project, f"{project.name}-" if below else "")


def _read(
    project: Project, file: Path, params_file: Path
) -> tuple[Plan, list[Experiment], dict[str, Status], Collection[str]]:
    """A study, its experiments, what is known of them, and which were stopped early."""
    found = _load(project, file, params_file)
    if found.study.search:
        return found, *search.trials(found)
    planned = found.experiments()
    return found, planned, experiments.read(one.name for one in planned), ()


def _trials(
    found: Plan,
    planned: Sequence[Experiment],
    ranked: Sequence[Standing],
    records: Mapping[str, Status],
    stopped: Collection[str],
) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the trials that have begun: the measure, and what was tried."""
    keys = list(found.study.search.space) if found.study.search else []
    by_label = {one.label: one for one in planned}
    lines = []
    for row in ranked:
        one = by_label[row.label]
        if one.name in stopped:
            word = "stopped early"
        elif one.name in records:
            word = table.NONE if records[one.name].state == "done" else records[one.name].state
        else:
            continue
        also = [str(row.also[key] or table.NONE) for key in found.study.also]
        tried = [search.short(one.values.get(key)) for key in keys]
        lines.append([row.label, str(row.value or word), *also, *tried])
    return ["", found.measure, *found.study.also, *keys], lines
