"""What the experiments of a study found: a row a variant, with mean, spread and distance from a baseline."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from hsengine.base.files import replacing
from hsengine.base.wording import some
from hsengine.study import experiments
from hsengine.study.experiments import Status
from hsengine.study.plan import Experiment, Plan
from hsengine.values import Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999933", "#000000")
NONE = "–"
UNSURE = "n.s."
PUBLISHED = "published"


@dataclass(frozen=True)
class Standing:
    """A variant, stage or grid point.

    Attributes:
        label: its name.
        expected: how many experiments it has, done or not.
        value: the measure.
        reference: the label that it is compared with; None for the baseline itself.
        difference: the measure minus the reference's, seed by seed and fold by fold.
        also: further measures.
    """

    label: str
    expected: int
    value: Value | None
    reference: str | None = None
    difference: Value | None = None
    also: Mapping[str, Value | None] = field(default_factory=dict)


def rows(plan: Plan, planned: Sequence[Experiment], records: Mapping[str, Status]) -> list[Standing]:
    """A row a label: the best first, those without a result last; stages stay in their order.

    A stage is compared with the one before, any other label with the baseline, which is the first one unless the
    study names another.
    """
    labels = list(dict.fromkeys(experiment.label for experiment in planned))
    found = []
    values = {label: _values(plan, planned, records, label, plan.measure) for label in labels}
    for position, label in enumerate(labels):
        reference: str | None = plan.study.baseline or labels[0]
        if plan.study.stages and plan.study.baseline is None:
            reference = labels[max(position - 1, 0)]
        common = [] if reference is None else [key for key in values[label] if key in values[reference]]
        differences = [values[label][key] - values[reference][key] for key in common if reference is not None]
        same = reference == label
        found.append(
            Standing(
                label,
                sum(experiment.label == label for experiment in planned),
                Value.of(list(values[label].values())),
                None if same else reference,
                None if same else Value.of(differences),
                {
                    name: Value.of(list(_values(plan, planned, records, label, name).values()))
                    for name in plan.study.also
                },
            )
        )
    return found if plan.study.stages else ranked(plan, found)


def ranked(plan: Plan, found: Sequence[Standing]) -> list[Standing]:
    """Rows with the best first, and those without a result last; equal ones keep their order."""
    return sorted(found, key=lambda row: float("inf") if row.value is None else -plan.sign * row.value.mean)


def header(plan: Plan, found: Sequence[Standing]) -> list[str]:
    """The titles of the columns."""
    against = sorted({row.reference for row in found if row.reference is not None})
    word = "the one before" if plan.study.stages and plan.study.baseline is None else "".join(against[:1])
    measure = f"{plan.measure} ({'less' if plan.sign < 0 else 'more'} is better)"
    known = [PUBLISHED] if plan.study.published else []
    return ["", measure, *known, *([f"to {word}"] if against else []), *plan.study.also, "n"]


def cells(plan: Plan, found: Sequence[Standing]) -> list[list[str]]:
    """The texts of the rows, column by column as in `header`."""
    compared = any(row.reference is not None for row in found)
    lines = []
    for row in found:
        n = row.value.n if row.value else 0
        difference = NONE if row.difference is None else ("+" if row.difference.mean >= 0 else "") + str(row.difference)
        if row.difference is not None and row.difference.n > 1 and not row.difference.is_told_from_zero:
            difference += f" {UNSURE}"
        also = [str(row.also[name] or NONE) for name in plan.study.also]
        count = str(n) if n == row.expected else f"{n} of {row.expected}"
        given = plan.study.published.get(row.label)
        known = [NONE if given is None else f"{given:.4f}"] if plan.study.published else []
        lines.append([row.label, str(row.value or NONE), *known, *([difference] if compared else []), *also, count])
    return lines


def made(title: str, titles: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """A table for the terminal; the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left")
    for position, name in enumerate(titles):
        table.add_column(name, justify="right" if position else "left", overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def markdown(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    parts = [titles, ["---", *["---:"] * (len(titles) - 1)], *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in parts)


def remarks(
    plan: Plan, planned: Sequence[Experiment], records: Mapping[str, Status], stopped: Collection[str] = ()
) -> list[str]:
    """What a reader of the table should know: how the spread is meant, what is missing, what was mixed.

    Args:
        plan: the study.
        planned: its experiments.
        records: what DVC knows of them.
        stopped: names of trials that were stopped early.
    """
    found = [] if plan.study.note is None else [" ".join(plan.study.note.split())]
    if len({experiment.repeat for experiment in planned}) > 1:
        found.append(
            "± is the standard deviation over seeds and folds; differences are taken one seed and fold at a time. "
            f"{UNSURE}: Student's t test of these pairs does not tell their mean from 0 (two-sided, 5 %, each row by "
            "itself)."
        )
    by_state: dict[str, list[str]] = {}
    for experiment in planned:
        record = records.get(experiment.name)
        if experiment.name in stopped:
            state = "stopped early"
        elif record is None:
            state = "not run yet"
        elif record.state == "done" and record.measure(plan.study.metrics, plan.measure) is None:
            state = f"without {plan.measure} in {plan.study.metrics}"
        else:
            state = record.state
        by_state.setdefault(state, []).append(experiment.name)
    found += [f"{len(names)} {state}: {some(names, 5)}" for state, names in by_state.items() if state != "done"]
    if by_state.get("failed"):
        found.append(f"{experiments.log('NAME')} shows why one failed; running the study again tries it again.")
    baselines = Counter(record.baseline[:7] for record in records.values() if record.state == "done")
    if len(baselines) > 1:
        parts = ", ".join(f"{count} from {commit}" for commit, count in baselines.items())
        found.append(f"The experiments were made from different commits: {parts}. Compare them with care.")
    return found


def picture(plan: Plan, planned: Sequence[Experiment], records: Mapping[str, Status]) -> Figure:
    """The course of the measure over the epochs: the mean of each label, and from its least to its greatest."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    labels = list(dict.fromkeys(experiment.label for experiment in planned))
    for position, label in enumerate(labels):
        revisions = [
            records[one.name].revision
            for one in planned
            if one.label == label and one.name in records and records[one.name].state == "done"
        ]
        curves = [curve for curve in (experiments.curve(revision, plan.curve) for revision in revisions) if curve]
        if not curves:
            continue
        tint, dashes = _COLOURS[position % len(_COLOURS)], ("-", "--", ":", "-.")[position // len(_COLOURS) % 4]
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        points = [[curve[step] for curve in curves] for step in steps]
        means = [statistics.fmean(values) for values in points]
        top = f"{label} (best {max(means) if plan.sign > 0 else min(means):.4f})" if means else label
        axis.plot(steps, means, color=tint, linestyle=dashes, marker="o" if len(steps) < 30 else "", label=top)
        if len(curves) > 1:
            axis.fill_between(steps, [min(v) for v in points], [max(v) for v in points], color=tint, alpha=0.2, lw=0)
    axis.set_xlabel("epoch")
    axis.set_ylabel(plan.curve)
    axis.set_title(plan.study.name)
    axis.grid(alpha=0.3)
    if axis.has_data():
        axis.legend(fontsize="small")
    else:
        axis.text(0.5, 0.5, f"no curve '{plan.curve}' yet", ha="center", transform=axis.transAxes)
    return figure


def draw(plan: Plan, planned: Sequence[Experiment], records: Mapping[str, Status], file: Path) -> None:
    """Write the `picture` as PNG, whole or not at all."""
    with replacing(file) as scratch:
        picture(plan, planned, records).savefig(scratch, format="png")


def _values(
    plan: Plan, planned: Sequence[Experiment], records: Mapping[str, Status], label: str, name: str
) -> dict[tuple[int | None, int | None], float]:
    """A measure of each experiment of a label, by seed and fold."""
    found = {}
    for experiment in planned:
        record = records.get(experiment.name)
        value = None if record is None or record.state != "done" else record.measure(plan.study.metrics, name)
        if experiment.label == label and value is not None:
            found[experiment.repeat] = value
    return found
