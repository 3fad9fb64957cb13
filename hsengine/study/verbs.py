"""What `hsmodels study` does, verb by verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml
from hsengine.base.wording import some
from hsengine.study import experiments, plan, recipe, search, table
from hsengine.study import run as running
from hsengine.study.experiments import Record
from hsengine.study.plan import Experiment, Study
from hsengine.study.run import Outcome
from hsengine.study.table import Row
from hsmodels import pictures


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


def run(file: Path, params_file: Path, *, jobs: int, say: Callable[[str], None]) -> Outcome:
    """Run those experiments of a study that have not run; see `hsengine.study.run` and `hsengine.study.search`."""
    study = plan.load(file)
    runner = search.run if study.search else running.run
    return runner(study, params_file, jobs=jobs, say=say)


def show(file: Path, params_file: Path, *, picture: Path | None = None) -> Shown:
    """The table of a study.

    Args:
        file: the study.
        params_file: what its experiments start from.
        picture: where to draw the course of the measure.

    Raises:
        UserError: the study is not valid, or DVC cannot list its experiments.
    """
    study, planned, records = _read(file, params_file)
    if picture is not None:
        pictures.save(table.picture(study, planned, records), picture)
    found = table.rows(study, planned, records)
    if study.search:
        titles, lines = _trials(study, table.ranked(study, found), records)
    else:
        titles, lines = table.header(study, found), table.cells(study, found)
    stopped = search.pruned(study) if study.search else ()
    remarks = table.remarks(study, planned, records, stopped)
    return Shown(titles, lines, table.made(study.name, titles, lines), remarks)


def best(file: Path, params_file: Path) -> list[str]:
    """Set the values of a study's best variant in `params.yaml`, comments kept; its seed and fold are not set.

    Returns:
        Lines: which one is best, and what changed.

    Raises:
        UserError: no experiment has a result, or the parameters that would result are not valid.
    """
    study, planned, records = _read(file, params_file)
    ranked = table.ranked(study, table.rows(study, planned, records))
    measured = [row for row in ranked if row.value is not None]
    if not measured:
        raise UserError(f"No experiment of study '{study.name}' has a result: run 'hsmodels study run {file}' first.")
    winner = measured[0].label
    if study.search:
        values = next(one.values for one in planned if one.label == winner)
    else:
        values = plan.settings(study)[winner]
    lines = [f"{winner} is best: {study.measure} {measured[0].value}"]
    lines += [f"next is {row.label}: {row.value}" for row in measured[1:2]]
    incomplete = [row.label for row in ranked if (row.value.n if row.value else 0) < row.expected]
    if incomplete and not study.search:
        lines.append(f"not all experiments are done of {some(incomplete)}")
    changes = recipe.set_values(plan.nested(values), params_file, f"study '{study.name}'")
    return [*lines, *(changes or [f"{params_file} holds its values already"])]


def _read(file: Path, params_file: Path) -> tuple[Study, list[Experiment], dict[str, Record]]:
    """A study, its experiments, and what DVC knows of them."""
    study, raw = plan.load(file), read_yaml(params_file)
    experiments.check_project()
    if study.search is None:
        planned = plan.expand(study, raw)
        return study, planned, experiments.read(experiment.name for experiment in planned)
    records = experiments.read(search.names(study))
    planned = [
        plan.trial(study, number, search.values_of(study, records[name]) if name in records else {})
        for number, name in enumerate(search.names(study))
    ]
    return study, planned, records


def _trials(study: Study, ranked: Sequence[Row], records: Mapping[str, Record]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the trials that have begun: the measure, and what was tried."""
    keys = list(study.search.space) if study.search else []
    stopped = search.pruned(study)
    lines = []
    for row in ranked:
        name = f"{study.name}-{row.label}"
        record = records.get(name)
        if record is not None and record.state != "failed":
            values, word = search.values_of(study, record), str(record.state)
        elif name in stopped:
            values, word = stopped[name]["values"], "stopped early"
        elif record is not None:
            values, word = search.values_of(study, record), "failed"
        else:
            continue
        also = [str(row.also[key] or table.NONE) for key in study.also]
        tried = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in map(values.get, keys)]
        lines.append([row.label, str(row.value or (table.NONE if word == "done" else word)), *also, *tried])
    return ["", study.measure, *study.also, *keys], lines
