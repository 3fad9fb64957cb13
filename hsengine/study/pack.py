"""What a study leaves to hand on: the best model of each variant, the table and the picture, and archives of both."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import check_own, replacing, write_json, write_text
from hsengine.study import experiments, table
from hsengine.study.experiments import Status
from hsengine.study.plan import Experiment, Plan

RECORD, TABLE = "pack.json", "table.md"
MODELS, RESULTS, SUBMISSION = "models", "results", "submission"
MODEL = "best_model_{label}"
# Archives of the same files are the same bytes.
_WHEN = (1980, 1, 1, 0, 0, 0)


def run(
    plan: Plan,
    planned: Sequence[Experiment],
    records: Mapping[str, Status],
    to: Path,
    *,
    text: str,
    picture: str,
) -> list[str]:
    """Write what a study leaves into a folder, whole or not at all.

    `models/best_model_<label>/` is the model of each label's best experiment, `results/` holds the table and the
    picture, `models.zip` and `results.zip` the same packed; `submission/` is the best experiment's where the study's
    target made one, and `pack.json` says which experiment each is of.

    Args:
        plan: the study.
        planned: its experiments.
        records: what DVC knows of them.
        to: the folder; one that this wrote before is replaced.
        text: the table in Markdown.
        picture: the name of the picture's file.

    Returns:
        Lines: which experiment is best, and what was written.

    Raises:
        UserError: no experiment has a result, a model is not in DVC's cache, or `to` holds something else.
    """
    check_own(to, RECORD, "a packed study", (MODELS, RESULTS, SUBMISSION, f"{MODELS}.zip", f"{RESULTS}.zip"))
    best = _best(plan, planned, records)
    if not best:
        raise UserError(
            f"No experiment of study '{plan.study.name}' has a result: run '{plan.project.program} study run' first."
        )
    first = max(best, key=lambda label: plan.sign * best[label][1])
    with replacing(to) as scratch:
        scratch.mkdir()
        for label, (record, _) in best.items():
            place = scratch / MODELS / MODEL.format(label=label)
            if not experiments.fetch(record.revision, paths.MODEL, place):
                raise UserError(
                    f"The model of {record.name} is not in DVC's cache: 'dvc exp pull' gets it where it was pushed."
                )
        (scratch / RESULTS).mkdir()
        write_text(scratch / RESULTS / TABLE, text + "\n")
        table.draw(plan, planned, records, scratch / RESULTS / picture)
        submitted = experiments.fetch(best[first][0].revision, paths.SUBMISSION, scratch / SUBMISSION)
        for name in (MODELS, RESULTS):
            _archive(scratch / name, scratch / f"{name}.zip")
        write_json(
            scratch / RECORD,
            {
                "study": plan.study.name,
                "measure": plan.measure,
                "best": first,
                "experiments": {label: {"name": one.name, plan.measure: value} for label, (one, value) in best.items()},
            },
        )
    lines = [f"{first} is best: {plan.measure} {best[first][1]:.4f}"]
    lines += [f"wrote {to}: {len(best)} models, {TABLE} and {picture}, as folders and packed"]
    return lines + ([f"its submission is in {to / SUBMISSION}"] if submitted else [])


def _best(plan: Plan, planned: Sequence[Experiment], records: Mapping[str, Status]) -> dict[str, tuple[Status, float]]:
    """The best experiment of each label that has one, and its measure."""
    found: dict[str, tuple[Status, float]] = {}
    for one in planned:
        record = records.get(one.name)
        value = None if record is None else record.measure(plan.study.metrics, plan.measure)
        if record is None or value is None or record.state != "done":
            continue
        if one.label not in found or plan.sign * value > plan.sign * found[one.label][1]:
            found[one.label] = record, value
    return found


def _archive(folder: Path, file: Path) -> None:
    """Pack a folder under its own name, in the order of the names."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder.parent).as_posix(), _WHEN)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
