"""What stands in the report of any project: what was run, how it scored beside others, what it cost."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml
from hsengine.base.reading import parsed_json
from hsengine.project import Project
from hsengine.report.page import Block, Chart, Note, Section, Table
from hsengine.study import experiments, recipe
from hsengine.study.calls import git

_EXPERIMENTS = 20
_SAMPLES = 10
_UNSET = "–"


def read_json(path: Path, made_by: str) -> dict[str, Any]:
    """A stage's JSON file.

    Raises:
        UserError: it is missing or damaged; `made_by` is the stage that makes it.
    """
    content = parsed_json(path, f"what the stage {made_by} writes", f"make it with 'dvc repro {made_by}'.")
    if not isinstance(content, dict):
        raise UserError(f"{path} is not what the stage {made_by} writes: make it again with 'dvc repro {made_by}'.")
    return content


def scores(metrics: Mapping[str, Any], count: str, weights: str | None = None) -> Section:
    """The measures beside the baselines', the last commit's and other experiments', and by group.

    Ends of an interval, `<measure>_low` and `<measure>_high`, stand beside their measure.

    Args:
        metrics: the content of `metrics.json`.
        count: what it calls the number of samples.
        weights: hash of the model's weights; None: as the metrics have it.
    """
    run = metrics["run"]
    leading = run["leading"]
    source = (
        f"{paths.METRICS}: {metrics[count]} held-out samples, model {run['model']}, {run['checkpoint']} checkpoint, "
        f"weights {weights or run['weights_blake2b']}"
    )
    before = _committed(paths.METRICS)
    names = [name for name, value in metrics.items() if _is_number(value) and name != count]
    ends = {name for name in names for end in _ENDS if name.endswith(end) and name.removesuffix(end) in names}
    rows = []
    for name in names:
        if name not in ends:
            value, old = metrics[name], before.get(name)
            change = number(value - old, sign=True) if _is_number(old) else _UNSET
            interval = [_interval(metrics, name)] if ends else []
            rows.append([name, number(value), *interval, number(old), change])
    heads = ["measure", "this run", *(["95 % interval"] if ends else []), "last commit", "difference"]
    blocks: list[Block] = [Table(heads, rows, _versus(source, before))]
    beside = [[f"{run['model']} (this run)", number(metrics[leading])]]
    beside += [[f"baseline {name}", number(part.get(leading))] for name, part in metrics.get("baseline", {}).items()]
    if leading in before:
        beside.append([f"{before.get('run', {}).get('model', 'model')} (last commit)", number(before[leading])])
    others = list(_experiments(leading))
    said = f"{leading} on the same held-out samples"
    if "baseline" in metrics:
        said += "; baselines fitted on the training samples by the stage evaluate"
    if others:
        said += f"; experiments: the last {len(others)} in DVC, each with its own parameters and held-out samples"
    beside += others
    if len(beside) > 1:
        blocks.append(Table(["model", leading], beside, said, f"{leading} beside others"))
    for group, parts in metrics.items():
        if isinstance(parts, Mapping) and group not in ("run", "baseline") and parts:
            blocks.append(_by_group(group, parts, leading, count))
    if run.get("same_division") is False:
        blocks.insert(0, Note("WARNING: the model may have seen samples that are held out now."))
    return Section("Scores", blocks)


_ENDS = ("_low", "_high")
# Groups of which more is known are shown by the leading measure alone.
_FEW = 4


def _interval(metrics: Mapping[str, Any], name: str) -> str:
    low, high = (metrics.get(f"{name}{end}") for end in _ENDS)
    return f"{number(low)} to {number(high)}" if _is_number(low) and _is_number(high) else ""


def _by_group(group: str, parts: Mapping[str, Any], leading: str, count: str) -> Table:
    measures = [name for name, value in next(iter(parts.values())).items() if name != count and _is_number(value)]
    if leading not in measures or len(measures) > _FEW:
        measures = [leading]
    counted = any(count in part for part in parts.values())
    rows = [
        [
            name,
            *(number(part.get(measure)) for measure in measures),
            *([str(part.get(count, _UNSET))] if counted else []),
        ]
        for name, part in sorted(parts.items(), key=lambda pair: _order(pair[0]))
    ]
    heads = [group, *measures, *([count] if counted else [])]
    return Table(heads, rows, f"{paths.METRICS}, over the held-out samples of each", f"By {group.replace('_', ' ')}")


def _order(name: str) -> tuple[bool, int]:
    """Numbers by their size, after names, which keep their order."""
    return name.isdigit(), int(name) if name.isdigit() else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def samples(table: Path, leading: str, *, best_is_high: bool = True) -> tuple[Section, list[dict[str, str]]]:
    """The worst and best samples, and all rows from worst to best.

    Args:
        table: CSV with a row a sample, `id` and measures.
        leading: the measure that orders them.
        best_is_high: whether more of it is better.

    Raises:
        UserError: the table is missing or has no such column.
    """
    rows = [row for row in read_table(table, ("id", leading)) if row[leading]]
    rows.sort(key=lambda row: float(row[leading]), reverse=not best_is_high)
    return ranked(rows, f"{table}, ordered by {leading}", ["id", leading]), rows


def ranked(rows: Sequence[Mapping[str, str]], source: str, columns: Sequence[str] = ("id",)) -> Section:
    """The first and last of samples that go from the worst to the best.

    Args:
        rows: of one set of columns.
        source: where the rows are from, and what orders them.
        columns: shown where there is no row.
    """
    heads = list(rows[0]) if rows else list(columns)

    def shown(part: Sequence[Mapping[str, str]], title: str) -> Table:
        cells = [[row[column] if column == "id" else _short(row[column]) for column in heads] for row in part]
        return Table(heads, cells, source, title)

    blocks = [shown(rows[:_SAMPLES], "Worst" if len(rows) > _SAMPLES else "All, worst first")]
    if len(rows) > _SAMPLES:
        blocks.append(shown(rows[: -_SAMPLES - 1 : -1], "Best"))
    return Section("Samples", blocks)


def read_table(table: Path, columns: Sequence[str], made_by: str = "evaluate") -> list[dict[str, str]]:
    """The rows of a stage's CSV file.

    Raises:
        UserError: it is missing, or lacks a column; `made_by` is the stage that makes it.
    """
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            rows, heads = list(reader), reader.fieldnames or []
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{table} cannot be read ({error}): make it with 'dvc repro {made_by}'.") from None
    lacking = [column for column in columns if column not in heads]
    if lacking:
        raise UserError(f"{table} has no column '{lacking[0]}': make it again with 'dvc repro {made_by}'.")
    return rows


def curves(leading: str, folder: Path = paths.CURVES) -> Section:
    """What training logged, a chart a measure; groups of samples in one chart.

    Args:
        leading: the measure that is shown first, after the loss.
        folder: of the curves.
    """
    place = folder / "plots" / "metrics"
    charts: dict[str, list[dict[str, Any]]] = {}
    flat_ones = []
    for file in sorted(place.rglob("*.tsv")):
        parts = file.relative_to(place).with_suffix("").parts
        points = experiments.growing_curve(folder, "/".join(parts))
        if len(points) < 2:
            continue
        if len(set(points.values())) == 1:
            flat_ones.append(f"{'/'.join(parts)} {number(next(iter(points.values())))}")
            continue
        # part/measure, or part/by_<group>/<name>/measure
        grouped = len(parts) == 4
        title = f"{parts[3]} {parts[1].replace('_', ' ')}, {parts[0]}" if grouped else parts[-1]
        name = parts[2] if grouped else parts[0]
        trace = {"x": list(points), "y": list(points.values()), "name": name, "mode": "lines"}
        charts.setdefault(title, []).append(trace)
    first = ("loss", leading)
    source = f"{folder}, logged by the training of this model"
    blocks: list[Block] = [
        Chart(
            {
                "data": charts[title],
                "layout": {"xaxis": {"title": {"text": "epoch"}}},
            },
            title=title,
        )
        for title in sorted(charts, key=lambda title: (title not in first, first.index(title) if title in first else 0))
    ]
    if flat_ones:
        blocks.append(Note(f"The same at each step: {', '.join(flat_ones)}."))
    return Section("Curves", [Note(f"From {source}."), *blocks] if blocks else [Note("There are no curves.")])


def run(project: Project, config: Mapping[str, Any], params_file: Path = Path("params.yaml")) -> Section:
    """What was run: the model's record, and parameters that differ from the last commit and the nearest recipe.

    Args:
        project: whose recipes.
        config: the model's record.
        params_file: the parameters as they are now.
    """
    now = dict(flat(read_yaml(params_file)))
    committed = dict(flat(_committed(params_file)))
    data, best = config.get("data", {}), config.get("checkpoints", {}).get("best", {})
    facts = {
        "model": config.get("title", config["model"]["name"]),
        "model parameters": json.dumps(config["model"].get("params", {})),
        "best epoch": " ".join([_of(best, "epoch"), "of", _of(config, "epochs"), "by", _of(config, "watch")]),
        "ended by": config.get("ended_by"),
        "samples": f"{_of(data, 'training')} to learn from, {_of(data, 'held_out')} held out",
        "hash of the data": data.get("hash"),
        "hash of the code": config.get("code"),
        "hash of the training": config.get("training"),
        "git revision": f"{config.get('git_revision')}{' with changes' if config.get('git_dirty') else ''}",
        "command": config.get("command"),
        "Python": config.get("python"),
        "packages": ", ".join(f"{name} {version}" for name, version in config.get("packages", {}).items()),
    }
    blocks: list[Block] = [
        Table(
            ["what", "value"],
            [[name, str(value)] for name, value in facts.items() if value],
            f"{paths.MODEL / 'config.json'}, written by the training",
        )
    ]
    if committed:
        blocks.append(_changes(now, committed, "last commit", f"{params_file} now, and in the last commit"))
    nearest = _nearest(project, now)
    if nearest is not None:
        blocks.append(_changes(now, dict(flat(nearest.values)), f"recipe {nearest.name}", _NEAREST))
    return Section("What was run", blocks)


_NEAREST = "The recipe whose keys agree best with params.yaml; keys that it does not set are left out"


def cost(file: Path = paths.THROUGHPUT) -> Section:
    """What the training cost, from what it measured of itself.

    Raises:
        UserError: there is no such file.
    """
    speed = read_json(file, "train")
    rows = [[name, number(value) if isinstance(value, float) else str(value)] for name, value in flat(speed)]
    return Section("Cost", [Table(["what", "value"], rows, f"{file}: measured by the training of this model")])


def number(value: Any, *, sign: bool = False) -> str:
    """A measure as text; whole numbers are counts."""
    if not _is_number(value):
        return _UNSET
    if isinstance(value, int):
        return f"{value:+d}" if sign else str(value)
    return f"{value:+.4f}" if sign else f"{value:.4f}"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by dotted key."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _of(record: Mapping[str, Any], key: str) -> str:
    return str(record.get(key, _UNSET))


def _short(text: str) -> str:
    try:
        return text if text.lstrip("-").isdigit() else f"{float(text):.4f}"
    except ValueError:
        return text


def _changes(now: Mapping[str, Any], other: Mapping[str, Any], name: str, source: str) -> Block:
    keys = [key for key in other if now.get(key) != other[key]]
    if name == "last commit":
        keys += [key for key in now if key not in other]
    if not keys:
        return Note(f"No parameter differs from the {name}.")
    rows = [[key, str(now.get(key, _UNSET)), str(other.get(key, _UNSET))] for key in keys]
    return Table(["parameter", "now", name], rows, source, f"Parameters that differ from the {name}")


def _nearest(project: Project, now: Mapping[str, Any]) -> recipe.Recipe | None:
    """The recipe of which the greatest share of keys agrees; the longer one of two alike."""
    found = []
    for name in recipe.names(project.recipes):
        one = recipe.read(project, name)
        keys = dict(flat(one.values))
        if keys:
            same = sum(now.get(key) == value for key, value in keys.items())
            found.append(((same / len(keys), len(keys)), one))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _committed(file: Path) -> dict[str, Any]:
    """A file of YAML or JSON in the last commit; empty where there is none."""
    content = experiments.content("HEAD", file.as_posix()) if git("rev-parse", "HEAD") else {}
    return dict(content) if isinstance(content, Mapping) else {}


def _versus(source: str, before: Mapping[str, Any]) -> str:
    if not before:
        return f"{source}; the last commit has no scores"
    revision = git("rev-parse", "--short", "HEAD")
    return f"{source}; last commit: {revision}, model {before.get('run', {}).get('model', 'unknown')}"


def _experiments(leading: str) -> Iterator[list[str]]:
    """The last experiments that are done, and their measure."""
    done = list(experiments.finished())[-_EXPERIMENTS:]
    for name, record in experiments.read(done).items():
        yield [f"experiment {name}", number(record.measure(paths.METRICS.as_posix(), leading))]
